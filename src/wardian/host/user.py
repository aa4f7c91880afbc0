"""Who programs run as."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.host.config import ConfigError
from wardian.sentry.kernel.credentials import Credentials, user_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

ID_MAX = (1 << 32) - 2
"""The largest number is "no user" (setresuid(2))."""


def guest_user(text: str, read: Callable[[bytes], bytes] = lambda path: b"") -> Credentials:
    """``UID[:GID]``, a name of the sandbox's own, or empty for the caller's own ids. Root inside
    has root's capabilities over the sandbox. ``read`` gives the contents of a file inside."""
    if not text:
        return with_groups(user_credentials(os.getuid(), os.getgid()), os.getgroups())
    user, colon, group = text.partition(":")
    entry = find(read(b"/etc/passwd"), user)
    if entry is None and not user.isdecimal():
        raise ConfigError(
            f"bad user {text!r}: no such name in the sandbox's /etc/passwd; write a name, UID or "
            "UID:GID"
        )
    uid = int(user) if user.isdecimal() else number(entry, 2)
    gid = number(entry, 3)
    if colon:
        gid = int(group) if group.isdecimal() else number(find(read(b"/etc/group"), group), 2)
        if not group.isdecimal() and find(read(b"/etc/group"), group) is None:
            raise ConfigError(f"bad user {text!r}: no such group in the sandbox's /etc/group")
    if not 0 <= uid <= ID_MAX or not 0 <= gid <= ID_MAX:
        raise ConfigError(f"bad user {text!r}: ids are 32-bit numbers")
    credentials = user_credentials(uid, gid)
    if entry is not None and not colon:
        credentials.groups = memberships(read(b"/etc/group"), entry[0])
    return credentials


def find(table: bytes, name: str) -> list[str] | None:
    """The line of passwd(5) or group(5) that is about ``name``, a name or a number."""
    lines = [line.split(":") for line in table.decode("utf-8", "surrogateescape").splitlines()]
    lines = [fields for fields in lines if len(fields) >= 4]
    for fields in lines:
        if fields[0] == name:
            return fields
    for fields in lines:
        if name.isdecimal() and fields[2] == name:
            return fields
    return None


def number(entry: list[str] | None, index: int) -> int:
    """A number of a line; 0 without a line, too large for an id when it is none."""
    if entry is None:
        return 0
    return int(entry[index]) if entry[index].isdecimal() else ID_MAX + 1


def memberships(table: bytes, name: str) -> list[int]:
    """The groups of group(5) that list ``name``."""
    found = []
    for line in table.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdecimal() and name in fields[3].split(","):
            found.append(int(fields[2]))
    return found


def with_groups(credentials: Credentials, groups: list[int]) -> Credentials:
    """The same with supplementary groups."""
    credentials.groups = list(groups)
    return credentials
