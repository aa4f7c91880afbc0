"""Namespaces and the empty root of a sandbox's host processes (namespaces(7)).

All of it is optional: what the host refuses raises ``OSError`` and the caller goes on without it
(``confine`` says which). Call from a single-threaded process: user_namespaces(7) demands it.

Order: :func:`enter_user`, :func:`enter_others`, then in the Sentry :func:`hide` and
:func:`clone_grant` for every directory it may use, :func:`empty_root` last.
"""

from __future__ import annotations

import errno
import os
import stat

from wardian.host import syscalls

KINDS = {
    "mount": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}

_MOUNT_POINTS = ("/mnt", "/tmp", "/run", "/proc", "/dev", "/usr")
_SHUT = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
_CLOSED = _SHUT | syscalls.MOUNT_ATTR_RDONLY


# -- user namespace ------------------------------------------------------------------------------


def enter_user() -> None:
    """Enter a new user namespace in which every id means what it means on the host.

    A helper process makes the namespace and we join it only once its maps are written: where that
    is refused we stay as we are. (After a failed unshare(2) of our own we would be nobody.)
    """
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    done_read, done_write = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        _helper(ready_write, done_read, (ready_read, done_write))
    os.close(ready_write)
    os.close(done_read)
    try:
        answer = os.read(ready_read, 1)
        if answer != b"\0":
            number = answer[0] if answer else 5
            raise OSError(number, os.strerror(number), "unshare(CLONE_NEWUSER)")
        _write_maps(helper)
        namespace = os.open(f"/proc/{helper}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(namespace, syscalls.CLONE_NEWUSER)
        finally:
            os.close(namespace)
    finally:
        os.close(ready_read)
        os.close(done_write)
        os.waitpid(helper, 0)


def _helper(ready: int, done: int, others: tuple[int, int]) -> None:
    """In the helper: never returns."""
    try:
        for fd in others:
            os.close(fd)
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(ready, b"\0")
        os.read(done, 1)  # until the parent closes its end
    except OSError as error:
        os.write(ready, bytes([error.errno or 1]))
    finally:
        os._exit(0)


def _write_maps(pid: int) -> None:
    """Identity maps: all we have ourselves for root, the one id that is allowed for others."""
    if os.geteuid() == 0 and _write_map(pid, "gid_map", _identity("gid_map")):
        if _write_map(pid, "uid_map", _identity("uid_map")):
            return
        raise PermissionError(1, "the host refused the map", f"/proc/{pid}/uid_map")
    with open(f"/proc/{pid}/setgroups", "w") as file:
        file.write("deny")
    uid, gid = os.geteuid(), os.getegid()
    for name, number in (("uid_map", uid), ("gid_map", gid)):
        if not _write_map(pid, name, f"{number} {number} 1\n"):
            raise PermissionError(1, "the host refused the map", f"/proc/{pid}/{name}")


def _write_map(pid: int, name: str, text: str) -> bool:
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _identity(name: str) -> str:
    """A map of every id that our own namespace has."""
    with open(f"/proc/self/{name}") as file:
        extents = [line.split() for line in file]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in extents)


# -- the others ----------------------------------------------------------------------------------


def enter_others(kinds: list[str]) -> dict[str, str]:
    """unshare(2) each of ``kinds`` (names of :data:`KINDS`); what failed, with the host's words.

    A new pid namespace is for the next child: it becomes its first process, and all others in it
    die with it.
    """
    flags = 0
    for kind in kinds:
        flags |= KINDS[kind]
    try:
        syscalls.unshare(flags)
        return {}
    except OSError:
        pass
    failed: dict[str, str] = {}
    for kind in kinds:
        try:
            syscalls.unshare(KINDS[kind])
        except OSError as error:
            failed[kind] = error.strerror or str(error)
    return failed


def private_mounts() -> None:
    """Nothing mounted here shows outside, nor the other way round."""
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)


# -- files ---------------------------------------------------------------------------------------


def hide(directories: tuple[str, ...]) -> list[str]:
    """Cover directories with nothing, so that copies of a tree above them do not lead there. Gives
    those covered; missing ones are skipped."""
    covered = []
    for directory in directories:
        if os.path.isdir(directory) and not os.path.islink(directory):
            _mount_empty(directory)
            covered.append(directory)
    return covered


def _mount_empty(directory: str) -> None:
    fd = syscalls.new_tmpfs("4k", _CLOSED)
    try:
        syscalls.attach(fd, directory)
    finally:
        os.close(fd)


def clone_grant(directory: str, writable: bool) -> int:
    """A descriptor of a copy of the tree at ``directory``, mounts below it included, on which no
    device can be opened and, unless ``writable``, nothing written."""
    fd = syscalls.clone_tree(directory)
    try:
        attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
        syscalls.mount_setattr(fd, attributes | (0 if writable else syscalls.MOUNT_ATTR_RDONLY))
    except OSError:
        os.close(fd)
        raise
    return fd


def own_proc() -> int:
    """A descriptor of a /proc that shows just the processes of our own pid namespace."""
    return syscalls.new_proc(_SHUT)


def empty_root(files: dict[str, bytes], mounts: dict[str, int]) -> None:
    """Make a read-only root of our own, with nothing in it but these (executable) files and the
    mounts that these descriptors stand for, and let go of the host's."""
    target = next((d for d in _MOUNT_POINTS if os.path.isdir(d) and not os.path.islink(d)), None)
    if target is None:
        raise FileNotFoundError(2, "no directory to mount the empty root on")
    fd = syscalls.new_tmpfs("1m", syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV)
    try:
        _place(fd, files)
        _make_mount_points(fd, mounts)
        syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY, recursive=False)
        syscalls.attach(fd, target)
        for name, tree in mounts.items():
            syscalls.attach(tree, f"{target}/{name}")
        os.fchdir(fd)
        syscalls.pivot_root(".", ".")  # the old root now lies over the new one
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
    finally:
        os.close(fd)


def _make_mount_points(directory: int, mounts: dict[str, int]) -> None:
    for name, tree in mounts.items():
        parent = os.path.dirname(name)
        if parent:
            os.mkdir(parent, 0o555, dir_fd=directory)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(name, 0o555, dir_fd=directory)
        else:
            os.mknod(name, dir_fd=directory)


def _place(directory: int, files: dict[str, bytes]) -> None:
    for name, contents in files.items():
        fd = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o555, dir_fd=directory
        )
        try:
            if os.write(fd, contents) < len(contents):
                raise OSError(errno.ENOSPC, f"no room for {name} in the empty root")
        finally:
            os.close(fd)


def make_spare_root() -> int:
    """Second best, without a mount namespace: a descriptor of an empty directory to chroot(2) into.
    It has no name any more: nothing can be made in it, and it needs no cleaning up."""
    path = f"/tmp/wardian-{os.urandom(8).hex()}"
    os.mkdir(path, 0o500)
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    finally:
        os.rmdir(path)


def enter_spare_root(directory: int) -> None:
    """Be at home there."""
    os.fchdir(directory)
    os.chroot(".")
    os.close(directory)


# -- what is mounted -----------------------------------------------------------------------------

_KERNEL_FILE_SYSTEMS = {
    *(
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "cgroup",
        "cgroup2",
        "securityfs",
        "debugfs",
        "tracefs",
    ),
    *("configfs", "bpf", "pstore", "efivarfs", "mqueue", "fusectl", "binfmt_misc", "selinuxfs"),
    *("nsfs", "rpc_pipefs", "nfsd", "hugetlbfs"),
}
ALWAYS_HIDDEN = ("/proc", "/sys", "/dev")


def kernel_directories(mountinfo: str = "/proc/self/mountinfo") -> tuple[str, ...]:
    """Where kernel interfaces are mounted, topmost directories only: what :func:`hide` is for."""
    points = set(ALWAYS_HIDDEN)
    with open(mountinfo) as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.split()[0] in _KERNEL_FILE_SYSTEMS:
                points.add(_unescape(left.split()[4]))
    return tuple(
        sorted(p for p in points if not any(p != q and p.startswith(q + "/") for q in points))
    )


def _unescape(text: str) -> str:
    """proc(5): space, tab, newline and backslash are written in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def proc_is_covered(mountinfo: str = "/proc/self/mountinfo") -> bool:
    """Whether something is mounted below /proc, as container engines do: then only the host's root
    may mount a new one (the kernel's mount_too_revealing()). Automounted binfmt_misc does not
    count."""
    with open(mountinfo) as file:
        for line in file:
            left, _, right = line.partition(" - ")
            harmless = right.split()[0] in ("binfmt_misc", "autofs")
            if left.split()[4].startswith("/proc/") and not harmless:
                return True
    return False
