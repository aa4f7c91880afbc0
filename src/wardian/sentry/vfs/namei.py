"""The path walk (path_resolution(7), Documentation/filesystems/path-lookup.rst): names to dentries.

One loop over a stack of components; a symbolic link pushes its target's components, so nothing
recurses. Bounded by :data:`MAX_LINKS` links of at most PATH_MAX bytes. This is the hottest code
after dispatch: the common step (a cached child of a directory everybody may search) stays in
:meth:`Walk.run` and calls nothing.

The cache of names is ``vfs.dcache``, opening ``vfs.open``, changing names ``vfs.names``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EACCES,
    EBADF,
    EEXIST,
    EINVAL,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ESTALE,
    EXDEV,
)
from wardian.sentry.vfs.dcache import NAME_MAX, child_of, look_again, lookup_child
from wardian.sentry.vfs.dcache import instantiate as instantiate
from wardian.sentry.vfs.dentry import Dentry, Mount, Path
from wardian.sentry.vfs.inode import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from wardian.sentry.vfs.permissions import (
    MAY_EXEC,
    MAY_WRITE,
    check,
    check_follow,
    check_mount_writable,
    new_owner,
    permitted,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Attributes, Inode
    from wardian.sentry.vfs.trust import Trust

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_REMOVEDIR: Final = 0x200
AT_EACCESS: Final = 0x200
AT_SYMLINK_FOLLOW: Final = 0x400
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20
RESOLVE_SCOPED: Final = 0x18

MAX_LINKS: Final = 40
PATH_MAX: Final = 4096

MS_NOSYMFOLLOW: Final = 256


class Walk:
    """One path walk in progress; afterwards ``mount`` and ``dentry`` say where it ended."""

    def __init__(self, task: Task, dirfd: int, path: bytes, resolve: int) -> None:
        if len(path) >= PATH_MAX:
            raise ENAMETOOLONG("path longer than PATH_MAX")
        self.task = task
        self.credentials: Credentials = task.credentials
        self.resolve = resolve
        self.links = 0
        self.stack: list[bytes] = path.split(b"/")
        self.stack.reverse()
        root = task.fs.root
        if path.startswith(b"/") and not resolve & RESOLVE_SCOPED:
            start = root
        else:
            start = directory_of(task, dirfd)
            if resolve & RESOLVE_SCOPED:
                root = start
                if path.startswith(b"/") and resolve & RESOLVE_BENEATH:
                    raise EXDEV("absolute path with RESOLVE_BENEATH")
        self.root_mount: Mount = root.mount
        self.root_dentry: Dentry = root.dentry
        self.mount: Mount = start.mount
        self.dentry: Dentry = start.dentry
        self.looked_at: Dentry | None = None  # its attributes are fresh
        self.trust: Trust | None = None  # the one that ``floor_ns`` is about
        self.floor_ns = 0

    def where(self) -> Path:
        """The place reached."""
        return Path(self.mount, self.dentry)

    # -- the loop ----------------------------------------------------------------------------------
    def run(self, follow: bool) -> None:
        """Walk all components; a final symbolic link is followed when ``follow``. ENOENT,
        ENOTDIR, ..."""
        stack = self.stack
        while stack:
            name = stack.pop()
            directory = self.dentry
            inode = directory.inode
            if inode is None or inode.mode & S_IFMT != S_IFDIR:
                raise ENOTDIR("a component is not a directory")
            if name == b"":
                continue
            if inode.mode & 0o111 != 0o111 and not permitted(self.credentials, inode, MAY_EXEC):
                raise EACCES("no search permission")
            if name == b".":
                continue
            if name == b"..":
                self.up()
                continue
            children = directory.children
            child = children.get(name) if children is not None else None
            if child is None:
                child = lookup_child(directory, name)
            else:
                trust = inode.sb.trust
                if trust is not None and child.checked_ns <= self.floor(trust):
                    child = look_again(directory, child, trust)
            self.looked_at = child
            found = child.inode
            if found is None:
                raise ENOENT("no such name")
            if child.mounts:
                self.down(self.mount, child)
                continue
            if found.mode & S_IFMT == S_IFLNK and (stack or follow):
                self.follow(found)
                continue
            self.dentry = child

    def up(self) -> None:
        """``..``: to the parent, out of mounts, but never above the root."""
        mount, dentry = self.mount, self.dentry
        while True:
            if dentry is self.root_dentry and mount is self.root_mount:
                if self.resolve & RESOLVE_BENEATH:
                    raise EXDEV(".. above the start with RESOLVE_BENEATH")
                break
            if dentry is not mount.root:
                dentry = dentry.parent
                break
            above, place = mount.parent, mount.mountpoint
            if above is None or place is None:
                break
            mount, dentry = above, place
        self.down(mount, dentry)

    def down(self, mount: Mount, dentry: Dentry) -> None:
        """Stand on ``dentry``, or on what is mounted there."""
        while dentry.mounts:
            over = mount.submounts.get(dentry)
            if over is None:
                break
            mount, dentry = over, over.root
        if mount is not self.mount and self.resolve & RESOLVE_NO_XDEV:
            raise EXDEV("mount crossing with RESOLVE_NO_XDEV")
        self.mount, self.dentry = mount, dentry

    def floor(self, trust: Trust) -> int:
        """Older looks do not count; the clock is read once for each file system on the way."""
        if trust is not self.trust:
            self.trust = trust
            self.floor_ns = trust.floor()
        return self.floor_ns

    def attributes(self) -> Attributes:
        """Of where the walk ended, without asking the host twice."""
        inode = self.dentry.inode
        assert inode is not None
        return inode.seen_attributes() if self.dentry is self.looked_at else inode.getattr()

    # -- symbolic links ----------------------------------------------------------------------------
    def follow(self, link: Inode) -> None:
        """Jump to, or push the target of, the symbolic link found in the current directory."""
        self.links += 1
        if self.links > MAX_LINKS:
            raise ELOOP(f"more than {MAX_LINKS} symbolic links")
        if self.resolve & RESOLVE_NO_SYMLINKS or self.mount.flags & MS_NOSYMFOLLOW:
            raise ELOOP("symbolic link with RESOLVE_NO_SYMLINKS")
        directory = self.dentry.inode
        assert directory is not None
        if not self.stack:
            check_follow(self.task.kernel.protected, self.credentials, directory, link)
        place = link.magic_link(self.task)
        if place is not None:
            self.jump(place)
            return
        target = link.readlink()
        if not target:
            raise ENOENT("empty symbolic link")
        if target.startswith(b"/"):
            if self.resolve & RESOLVE_BENEATH:
                raise EXDEV("absolute link with RESOLVE_BENEATH")
            if self.root_mount is not self.mount and self.resolve & RESOLVE_NO_XDEV:
                raise EXDEV("mount crossing with RESOLVE_NO_XDEV")
            self.mount, self.dentry = self.root_mount, self.root_dentry
        components = target.split(b"/")
        components.reverse()
        self.stack.extend(components)

    def jump(self, place: object) -> None:
        """A magic link of /proc: go where the object is, whatever its name."""
        if self.resolve & RESOLVE_NO_MAGICLINKS:
            raise ELOOP("magic link with RESOLVE_NO_MAGICLINKS")
        if self.resolve & RESOLVE_SCOPED:
            raise EXDEV("magic link in a scoped walk")
        assert isinstance(place, Path)
        if place.mount is not self.mount and self.resolve & RESOLVE_NO_XDEV:
            raise EXDEV("mount crossing with RESOLVE_NO_XDEV")
        self.mount, self.dentry = place.mount, place.dentry


# -- entry points --------------------------------------------------------------------------------
def resolve(
    task: Task, dirfd: int, path: bytes, follow: bool = True, empty: bool = False, resolve: int = 0
) -> Path:
    """The existing object ``path`` names, relative to ``dirfd``; ``empty`` allows ""
    (AT_EMPTY_PATH)."""
    if not path:
        if not empty:
            raise ENOENT("empty path")
        return path_of(task, dirfd)
    return walk_to(task, dirfd, path, follow, resolve).where()


def walk_to(task: Task, dirfd: int, path: bytes, follow: bool, resolve: int = 0) -> Walk:
    """The finished walk to the existing object ``path`` names; ENOENT for an empty path."""
    if not path:
        raise ENOENT("empty path")
    walk = Walk(task, dirfd, path, resolve)
    try:
        walk.run(follow)
    except ESTALE:
        # The host replaced something: once more, asking about each name (LOOKUP_REVAL of Linux).
        walk = Walk(task, dirfd, path, resolve)
        walk.run(follow)
    return walk


class LastName:
    """A directory and a name in it that may or may not exist."""

    def __init__(self, parent: Path, name: bytes, slash: bool) -> None:
        self.parent = parent
        self.name = name  # b"" when the path was "/"; may be "." or ".."
        self.slash = slash  # the path ended in a slash: only a directory will do

    @property
    def ordinary(self) -> bool:
        """False for ``/``, ``.`` and ``..``."""
        return self.name not in (b"", b".", b"..")

    def lookup(self) -> Dentry:
        """The dentry of the name, maybe negative, without what is mounted there."""
        return child_of(self.parent.dentry, self.name)


def resolve_parent(task: Task, dirfd: int, path: bytes, resolve: int = 0) -> LastName:
    """Walk all but the last component, which is returned unresolved; checks search permission."""
    if not path:
        raise ENOENT("empty path")
    try:
        return last_name(Walk(task, dirfd, path, resolve))
    except ESTALE:
        return last_name(Walk(task, dirfd, path, resolve))


def last_name(walk: Walk) -> LastName:
    """Run ``walk`` up to its last component."""
    stack = walk.stack  # reversed: the last component comes first
    slashes = 0
    while slashes < len(stack) and stack[slashes] == b"":
        slashes += 1
    if slashes == len(stack):  # only slashes: the root
        walk.stack = []
        return LastName(walk.where(), b"", True)
    name = stack[slashes]
    del stack[: slashes + 1]
    walk.run(True)
    directory = walk.dentry.inode
    if directory is None or not directory.is_dir:
        raise ENOTDIR("a component is not a directory")
    if directory.mode & 0o111 != 0o111 and not permitted(walk.credentials, directory, MAY_EXEC):
        raise EACCES("no search permission")
    if len(name) > NAME_MAX:
        raise ENAMETOOLONG("name longer than NAME_MAX")
    return LastName(walk.where(), name, slashes > 0)


def directory_of(task: Task, dirfd: int) -> Path:
    """Where a relative path begins: the working directory or the place behind ``dirfd``."""
    if dirfd == AT_FDCWD:
        return task.fs.cwd
    path = task.files.get(dirfd).path
    if path is None or path.dentry.inode is None or not path.dentry.inode.is_dir:
        raise ENOTDIR("the descriptor is not a directory")
    return path


def path_of(task: Task, fd: int) -> Path:
    """The place behind a descriptor itself (AT_EMPTY_PATH); EBADF when it has none."""
    if fd == AT_FDCWD:
        return task.fs.cwd
    path = task.files.get(fd).path
    if path is None:
        raise EBADF("the descriptor has no path")
    return path


# -- back to text --------------------------------------------------------------------------------
def path_text(path: Path, root: Path) -> bytes:
    """The name of ``path`` seen from ``root``, for getcwd(2) and /proc (Linux d_path)."""
    mount, dentry = path.mount, path.dentry
    names: list[bytes] = []
    reachable = True
    while not (dentry is root.dentry and mount is root.mount):
        if dentry is mount.root:
            above, place = mount.parent, mount.mountpoint
            if above is None or place is None:
                reachable = False
                break
            mount, dentry = above, place
            continue
        if dentry.is_root:
            reachable = False
            break
        names.append(dentry.name)
        dentry = dentry.parent
    names.reverse()
    text = b"/" + b"/".join(names)
    if not names and path.dentry.is_root and not path.dentry.name.startswith(b"/"):
        return path.dentry.name  # nameless objects: pipe:[5], anon_inode:[eventfd]
    if path.dentry.unlinked:
        text += b" (deleted)"
    return text if reachable else b"(unreachable)" + text


def check_resolve_flags(flags: int) -> None:
    """openat2(2): the RESOLVE_* bits must be known, and BENEATH excludes IN_ROOT."""
    if flags & ~0x3F or flags & RESOLVE_SCOPED == RESOLVE_SCOPED:
        raise EINVAL("RESOLVE_* flags")


def make_node(task: Task, dirfd: int, path: bytes, mode: int, rdev: int) -> Path:
    """mknod(2) of any kind but directories, for bind(2) too; ``mode`` is cut by the umask here."""
    last = resolve_parent(task, dirfd, path)
    check_free(last, False)
    check_may_create(task, last)
    parent = last.parent.inode
    mode &= ~(task.fs.umask & 0o777)
    mode, uid, gid = new_owner(task.credentials, parent, mode)
    if mode & S_IFMT == S_IFREG or mode & S_IFMT == 0:
        inode = parent.create(last.name, mode & 0o7777, uid, gid)
    else:
        inode = parent.mknod(last.name, mode, rdev, uid, gid)
    return Path(last.parent.mount, instantiate(last.parent.dentry, last.name, inode))


def check_free(last: LastName, directory: bool) -> None:
    """The name must be free, and only a new directory may have a trailing slash; EROFS comes
    after."""
    if not last.ordinary or last.lookup().inode is not None:
        raise EEXIST("the name is taken")
    if last.slash and not directory:
        raise ENOENT("trailing slash after a new file")
    check_mount_writable(last.parent.mount)


def check_may_create(task: Task, last: LastName) -> None:
    """ENOENT in a removed directory, EACCES in one that may not be written."""
    if last.parent.dentry.unlinked:
        raise ENOENT("the directory was removed")
    check(task.credentials, last.parent.inode, MAY_WRITE | MAY_EXEC)
