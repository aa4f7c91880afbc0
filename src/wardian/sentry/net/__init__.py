"""Sockets: Unix, TCP and UDP over a loopback of the sandbox's own or the host's, netlink."""
