"""The UTS namespace: what uname(2) says (uts_namespaces(7))."""

from typing import Final

NAME_LENGTH: Final = 64  # __NEW_UTS_LEN

RELEASE: Final = b"6.12.0-wardian"
"""The Linux whose behaviour the Sentry follows; glibc and others refuse to run on too old a
kernel."""


class UTSNamespace:
    """Host name, domain name and the kernel's names."""

    def __init__(self, nodename: bytes = b"wardian", domainname: bytes = b"(none)") -> None:
        self.sysname = b"Linux"
        self.nodename = nodename
        self.release = RELEASE
        self.version = b"#1 SMP PREEMPT_DYNAMIC Wardian"
        self.machine = b"x86_64"
        self.domainname = domainname
