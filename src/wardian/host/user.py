"""Who the first program runs as."""

from __future__ import annotations

import os

from wardian.host.config import ConfigError
from wardian.sentry.kernel.credentials import Credentials, user_credentials


def guest_user(text: str) -> Credentials:
    """``UID[:GID]`` or empty for the caller's own ids; root inside has root's capabilities over
    the sandbox."""
    if not text:
        return with_groups(user_credentials(os.getuid(), os.getgid()), os.getgroups())
    uid, colon, gid = text.partition(":")
    if not uid.isdigit() or (colon and not gid.isdigit()):
        raise ConfigError(f"bad user {text!r}: write UID or UID:GID as numbers")
    if int(uid) >= 1 << 32 or (colon and int(gid) >= 1 << 32):
        raise ConfigError(f"bad user {text!r}: ids are 32-bit numbers")
    return user_credentials(int(uid), int(gid) if colon else 0)


def with_groups(credentials: Credentials, groups: list[int]) -> Credentials:
    """The same with supplementary groups."""
    credentials.groups = list(groups)
    return credentials
