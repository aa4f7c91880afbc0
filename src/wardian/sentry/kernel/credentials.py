"""Who a task is: user and group ids and capabilities (credentials(7), capabilities(7)).

Objects are shared between tasks and never changed in place once a task uses them: ``copy()`` first,
then assign ``task.credentials``. The rules of the set*id calls live in ``sentry.syscalls.ids``.
"""

from typing import Final

CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2
CAP_FOWNER: Final = 3
CAP_FSETID: Final = 4
CAP_KILL: Final = 5
CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SETPCAP: Final = 8
CAP_LINUX_IMMUTABLE: Final = 9
CAP_NET_BIND_SERVICE: Final = 10
CAP_NET_BROADCAST: Final = 11
CAP_NET_ADMIN: Final = 12
CAP_NET_RAW: Final = 13
CAP_IPC_LOCK: Final = 14
CAP_IPC_OWNER: Final = 15
CAP_SYS_MODULE: Final = 16
CAP_SYS_RAWIO: Final = 17
CAP_SYS_CHROOT: Final = 18
CAP_SYS_PTRACE: Final = 19
CAP_SYS_PACCT: Final = 20
CAP_SYS_ADMIN: Final = 21
CAP_SYS_BOOT: Final = 22
CAP_SYS_NICE: Final = 23
CAP_SYS_RESOURCE: Final = 24
CAP_SYS_TIME: Final = 25
CAP_SYS_TTY_CONFIG: Final = 26
CAP_MKNOD: Final = 27
CAP_LEASE: Final = 28
CAP_AUDIT_WRITE: Final = 29
CAP_AUDIT_CONTROL: Final = 30
CAP_SETFCAP: Final = 31
CAP_MAC_OVERRIDE: Final = 32
CAP_MAC_ADMIN: Final = 33
CAP_SYSLOG: Final = 34
CAP_WAKE_ALARM: Final = 35
CAP_BLOCK_SUSPEND: Final = 36
CAP_AUDIT_READ: Final = 37
CAP_PERFMON: Final = 38
CAP_BPF: Final = 39
CAP_CHECKPOINT_RESTORE: Final = 40
CAP_LAST_CAP: Final = 40

ALL_CAPS: Final = (1 << (CAP_LAST_CAP + 1)) - 1

FS_CAPS: Final = (
    1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << CAP_FSETID
    | 1 << CAP_LINUX_IMMUTABLE
    | 1 << CAP_MKNOD
    | 1 << CAP_MAC_OVERRIDE
)
"""Capabilities that follow the file system uid (capabilities(7), "Effect of user ID changes")."""

NGROUPS_MAX: Final = 65536

SECBIT_NOROOT: Final = 1 << 0
SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
SECBIT_KEEP_CAPS: Final = 1 << 4
SECBIT_NO_CAP_AMBIENT_RAISE: Final = 1 << 6


class Credentials:
    """One set of credentials; capability sets are integers with bit ``1 << CAP_X``."""

    def __init__(self, uid: int, gid: int) -> None:
        self.uid = uid
        self.euid = uid
        self.suid = uid
        self.fsuid = uid
        self.gid = gid
        self.egid = gid
        self.sgid = gid
        self.fsgid = gid
        self.groups: list[int] = []  # supplementary groups
        self.cap_permitted = 0
        self.cap_effective = 0
        self.cap_inheritable = 0
        self.cap_bounding = ALL_CAPS
        self.cap_ambient = 0
        self.keep_caps = False
        self.no_new_privs = False
        self.securebits = 0

    def same_rights(self, other: "Credentials") -> bool:
        """Whether whoever has these may do exactly what ``other`` allows."""
        return (
            (self.uid, self.euid, self.suid, self.fsuid)
            == (other.uid, other.euid, other.suid, other.fsuid)
            and (self.gid, self.egid, self.sgid, self.fsgid)
            == (other.gid, other.egid, other.sgid, other.fsgid)
            and self.groups == other.groups
            and self.cap_permitted == other.cap_permitted
            and self.cap_effective == other.cap_effective
            and self.cap_inheritable == other.cap_inheritable
            and self.cap_bounding == other.cap_bounding
            and self.cap_ambient == other.cap_ambient
            and self.securebits == other.securebits
        )

    def has_cap(self, cap: int) -> bool:
        """True when ``cap`` is effective."""
        return bool(self.cap_effective >> cap & 1)

    def in_group(self, gid: int) -> bool:
        """True when the file system gid or a supplementary group is ``gid``."""
        return gid == self.fsgid or gid in self.groups

    def in_effective_group(self, gid: int) -> bool:
        """True when the effective gid or a supplementary group is ``gid``."""
        return gid == self.egid or gid in self.groups

    def copy(self) -> "Credentials":
        """An independent copy, to change and then assign."""
        new = Credentials(self.uid, self.gid)
        new.euid, new.suid, new.fsuid = self.euid, self.suid, self.fsuid
        new.egid, new.sgid, new.fsgid = self.egid, self.sgid, self.fsgid
        new.groups = self.groups  # replaced as a whole by setgroups, never changed in place
        new.cap_permitted = self.cap_permitted
        new.cap_effective = self.cap_effective
        new.cap_inheritable = self.cap_inheritable
        new.cap_bounding = self.cap_bounding
        new.cap_ambient = self.cap_ambient
        new.keep_caps = self.keep_caps
        new.no_new_privs = self.no_new_privs
        new.securebits = self.securebits
        return new


def root_credentials() -> Credentials:
    """uid 0 with every capability."""
    credentials = Credentials(0, 0)
    credentials.cap_permitted = ALL_CAPS
    credentials.cap_effective = ALL_CAPS
    return credentials


def user_credentials(uid: int, gid: int) -> Credentials:
    """An ordinary user without capabilities (root gets them all)."""
    if uid == 0:
        credentials = root_credentials()
        credentials.gid = credentials.egid = credentials.sgid = credentials.fsgid = gid
        return credentials
    return Credentials(uid, gid)


def after_uid_change(old: Credentials, new: Credentials) -> None:
    """capabilities(7), "Effect of user ID changes on capabilities", for all but setfsuid."""
    if old.securebits & SECBIT_NO_SETUID_FIXUP:
        return
    was_root = 0 in (old.uid, old.euid, old.suid)
    if was_root and 0 not in (new.uid, new.euid, new.suid):
        if not old.keep_caps:
            new.cap_permitted = 0
            new.cap_effective = 0
        new.cap_ambient = 0
    if old.euid == 0 and new.euid != 0:
        new.cap_effective = 0
    elif old.euid != 0 and new.euid == 0:
        new.cap_effective = new.cap_permitted


def after_fsuid_change(old: Credentials, new: Credentials) -> None:
    """The same for setfsuid(2): only the file system capabilities follow."""
    if old.securebits & SECBIT_NO_SETUID_FIXUP:
        return
    if old.fsuid == 0 and new.fsuid != 0:
        new.cap_effective &= ~FS_CAPS
    elif old.fsuid != 0 and new.fsuid == 0:
        new.cap_effective |= new.cap_permitted & FS_CAPS


def credentials_after_exec(old: Credentials, set_uid: int, set_gid: int) -> Credentials:
    """What execve(2) makes of credentials; ``set_uid`` and ``set_gid`` are the program's owner when
    it has the set-id bits (and the mount allows them), else -1. File capabilities are not
    supported.

    The caller compares ``euid`` and ``egid`` with before for AT_SECURE and the dumpable flag.
    """
    new = old.copy()
    if not old.no_new_privs:
        if set_uid >= 0:
            new.euid = set_uid
        if set_gid >= 0:
            new.egid = set_gid
    new.suid = new.fsuid = new.euid
    new.sgid = new.fsgid = new.egid
    new.keep_caps = False
    if new.euid != old.euid or new.egid != old.egid:
        new.cap_ambient = 0
    inherited = old.cap_inheritable
    allowed = new.cap_ambient
    if not old.securebits & SECBIT_NOROOT and (new.euid == 0 or new.uid == 0):
        allowed |= old.cap_bounding | inherited
    if old.no_new_privs:
        allowed &= old.cap_permitted
    new.cap_permitted = allowed
    by_root = new.euid == 0 and not old.securebits & SECBIT_NOROOT
    new.cap_effective = allowed if by_root else new.cap_ambient
    return new
