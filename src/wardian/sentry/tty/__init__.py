"""Terminals: the line discipline, pseudo-terminals, /dev/pts."""
