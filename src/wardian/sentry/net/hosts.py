"""The address of the host name: a sandbox without network still finds itself under its own name.

Runtimes ask for the address of gethostname(3), which libc takes from /etc/hosts, and bind to it.
Such an address is given to ``lo``, as if it had been configured there.
"""

from __future__ import annotations

from _socket import inet_pton
from typing import Final

from wardian.sentry.net.constants import AF_INET, AF_INET6
from wardian.sentry.net.interfaces import InterfaceAddress

HOSTS_MAX: Final = 1 << 16
ADDRESSES_MAX: Final = 16


def addresses_of(hosts: bytes, name: bytes) -> list[InterfaceAddress]:
    """The addresses that /etc/hosts text gives ``name`` (hosts(5))."""
    found: list[InterfaceAddress] = []
    for line in hosts[:HOSTS_MAX].split(b"\n"):
        words = line.split(b"#")[0].split()
        if len(words) < 2 or name not in words[1:] or len(found) >= ADDRESSES_MAX:
            continue
        address = numeric(words[0])
        if address is not None:
            found.append(address)
    return found


def numeric(text: bytes) -> InterfaceAddress | None:
    """A host address from its text, or None."""
    for family, length in ((AF_INET, 32), (AF_INET6, 128)):
        try:
            ip = inet_pton(family, text.decode("ascii"))
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        return InterfaceAddress(family, ip, length)
    return None
