"""/proc/<pid> and /proc/<pid>/task/<tid> (proc(5)): directories, links to files, writable files.

The texts are in ``proc_pid_texts``, descriptors in ``proc_pid_fd``. Inodes are made at each lookup
(proc revalidates names), with numbers that follow from the task and the name; what a task left
behind answers ESRCH or ENOENT once it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EINVAL, EIO, ENOENT, ESRCH, LinuxError
from wardian.sentry.fs import proc_pid_texts as texts
from wardian.sentry.fs.proc_pid_fd import FdDir, FdInfoDir
from wardian.sentry.fs.proc_pid_inode import (
    TaskLink,
    TaskPart,
    check_access,
    give_owner,
    inode_number,
    is_gone,
    nameless,
    parse_number,
)
from wardian.sentry.fs.proc_pid_status import dead
from wardian.sentry.fs.pseudo import (
    FixedDir,
    PseudoFS,
    PseudoInode,
    TextInode,
)
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.dentry import Path
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.inode import S_IFDIR, S_IFLNK, S_IFREG, Inode
from wardian.sentry.vfs.seek import SEEK_CUR, SEEK_SET

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup

TASK_LEVEL: Final = 500  # added to the numbers of files in task directories
NS_BASE: Final = 2000
MEM_STEP: Final = 1 << 18
COMM_LENGTH: Final = 15

NAMESPACES: Final = [
    (b"cgroup", 0xEFFFFFFB),
    (b"ipc", 0xEFFFFFFF),
    (b"mnt", 0xF0000000),
    (b"net", 0xF0000075),
    (b"pid", 0xEFFFFFFC),
    (b"pid_for_children", 0xEFFFFFFC),
    (b"time", 0xEFFFFFFA),
    (b"time_for_children", 0xEFFFFFFA),
    (b"user", 0xEFFFFFFD),
    (b"uts", 0xEFFFFFFE),
]


class TaskDirFS(PseudoFS):
    """What the directories of tasks need of their file system: the common net directory."""

    def __init__(self, kernel: Kernel, name: str, magic: int) -> None:
        super().__init__(kernel, name, magic)
        self.net = FixedDir(self)


# -- text files ------------------------------------------------------------------------------------
class TaskText(TextInode):
    """A read-only text about a task."""

    def __init__(
        self,
        fs: PseudoFS,
        code: int,
        permissions: int,
        task: Task,
        function: texts.Render,
        protected: bool,
    ) -> None:
        super().__init__(fs, inode_number(task, code), permissions)
        self.task = task
        self.function = function
        self.protected = protected
        give_owner(self, task)

    def check_open(self, task: Task, flags: int) -> None:
        if self.protected:
            check_access(task, self.task)

    def render(self) -> bytes:
        if is_gone(self.task):
            raise ESRCH("the task is gone")
        return self.function(self.task)


class CommText(TaskText):
    """comm: a thread may rename itself and its siblings."""

    def store(self, task: Task, data: bytes) -> None:
        if task.group is not self.task.group:
            raise EINVAL("not a thread of the same process")
        self.task.name = data.rstrip(b"\n").partition(b"\0")[0][:COMM_LENGTH]


class OomScoreText(TaskText):
    """oom_score_adj and oom_adj: kept and shown."""

    def store(self, task: Task, data: bytes) -> None:
        value = parse_int(data)
        if not -1000 <= value <= 1000:
            raise EINVAL("from -1000 to 1000")
        if value < self.task.group.oom_score_adj and not task.credentials.has_cap(24):
            raise EACCES("only CAP_SYS_RESOURCE may lower it")
        self.task.group.oom_score_adj = value


class IgnoredText(TaskText):
    """Files that take what is written and do nothing (loginuid, coredump_filter, clear_refs)."""

    def store(self, task: Task, data: bytes) -> None:
        pass


def parse_int(data: bytes) -> int:
    """A decimal number with blanks around; EINVAL."""
    try:
        return int(data.split(b"\0")[0].strip()[:32])
    except ValueError:
        raise EINVAL("not a number") from None


# -- memory ----------------------------------------------------------------------------------------
class MemInode(PseudoInode):
    """mem: the address space as a file."""

    def __init__(self, fs: PseudoFS, code: int, task: Task) -> None:
        super().__init__(fs, inode_number(task, code), S_IFREG | 0o600)
        self.task = task
        give_owner(self, task)

    def open(self, task: Task, flags: int) -> File:
        check_access(task, self.task)
        return MemFile(self, flags, self.task)


class MemFile(File):
    """An open mem file; keeps the address space it was opened on, as Linux does."""

    def __init__(self, inode: MemInode, flags: int, task: Task) -> None:
        super().__init__(inode, flags)
        self.memory = task.memory
        self.target = task

    def read(self, sink: Sink, offset: int) -> int:
        if dead(self.target):
            return 0
        data = self.memory.process.read_some(offset, min(sink.left, MEM_STEP))
        if not data and sink.left > 0:
            raise EIO("nothing mapped there")
        return sink.put(data)

    def write(self, source: Source, offset: int) -> int:
        if dead(self.target):
            return 0
        data = source.take(min(source.left, MEM_STEP))
        try:
            self.memory.process.write(offset, data)
        except LinuxError:
            raise EIO("nothing mapped there") from None
        return len(data)

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.offset
        elif whence != SEEK_SET:
            raise EINVAL("whence")
        self.offset = offset
        return offset

    def pollable(self) -> bool:
        return False


# -- links -----------------------------------------------------------------------------------------
class ExeLink(TaskLink):
    """exe."""

    def target(self) -> Path:
        self.check_alive()
        path = self.task.memory.exe
        if path is None:
            path = self.task.group.exe
        if path is None:
            raise ENOENT("no program")
        return path


class CwdLink(TaskLink):
    """cwd."""

    def target(self) -> Path:
        self.check_alive()
        return self.task.fs.cwd


class RootLink(TaskLink):
    """root."""

    def target(self) -> Path:
        self.check_alive()
        return self.task.fs.root


class NamespaceLink(TaskLink):
    """ns/<name>: one namespace of each kind."""

    def __init__(self, fs: PseudoFS, task: Task, code: int, name: bytes, number: int) -> None:
        super().__init__(fs, NS_BASE + code, task)
        self.namespace = name.partition(b"_")[0]
        self.number = number

    def target(self) -> Path:
        inode = NamespaceInode(self.fs, self.number)
        return nameless(inode, b"%s:[%d]" % (self.namespace, self.number))


class NamespaceInode(PseudoInode):
    """What ns/ links lead to; setns(2) is not offered, comparing st_ino works."""

    def __init__(self, fs: PseudoFS, number: int) -> None:
        super().__init__(fs, number, S_IFREG | 0o444)

    def open(self, task: Task, flags: int) -> File:
        return NamespaceFile(self, flags)


class NamespaceFile(File):
    """An open namespace."""

    def pollable(self) -> bool:
        return False


# -- directories -----------------------------------------------------------------------------------
class NamespaceDir(TaskPart):
    """ns."""

    def lookup(self, name: bytes) -> Inode | None:
        for code, (known, number) in enumerate(NAMESPACES):
            if known == name:
                return NamespaceLink(self.fs, self.task, code, name, number)
        return None

    def names(self) -> list[tuple[int, bytes, int, int]]:
        return [
            (code, name, inode_number(self.task, NS_BASE + code), S_IFLNK)
            for code, (name, _) in enumerate(NAMESPACES)
        ]


class ThreadsDir(TaskPart):
    """task: one directory per thread."""

    def links(self) -> int:
        return 2 + len(self.task.group.tasks)

    def lookup(self, name: bytes) -> Inode | None:
        tid = parse_number(name)
        for task in self.tasks():
            if task.tid == tid:
                return TaskDir(self.fs, task, False)
        return None

    def tasks(self) -> list[Task]:
        """Live threads; a zombie's leader."""
        group = self.task.group
        leader = group.leader
        if leader is not None and leader not in group.tasks and not group.reaped:
            return [leader, *group.tasks]
        return group.tasks

    def names(self) -> list[tuple[int, bytes, int, int]]:
        return [
            (tid, b"%d" % tid, tid << 24 | TASK_LEVEL, S_IFDIR)
            for tid in sorted([task.tid for task in self.tasks()])
        ]


WRITABLE: Final[list[tuple[bytes, int, texts.Render]]] = [
    (b"comm", 0o644, texts.comm),
    (b"oom_score_adj", 0o644, texts.oom_score_adj),
    (b"oom_adj", 0o644, texts.oom_adj),
    (b"loginuid", 0o644, texts.no_login),
    (b"coredump_filter", 0o644, texts.coredump_filter),
    (b"clear_refs", 0o200, texts.zero),
    (b"timerslack_ns", 0o666, texts.timerslack),
    (b"autogroup", 0o644, texts.zero),
]
SPECIAL: Final = [
    (b"fd", S_IFDIR),
    (b"fdinfo", S_IFDIR),
    (b"ns", S_IFDIR),
    (b"task", S_IFDIR),
    (b"net", S_IFDIR),
    (b"exe", S_IFLNK),
    (b"cwd", S_IFLNK),
    (b"root", S_IFLNK),
    (b"mem", S_IFREG),
]
"""Links, directories and mem; an entry's number is its place here after SPECIAL_BASE."""
SPECIAL_BASE: Final = 100


class TaskDir(TaskPart):
    """/proc/<pid> (``whole``) or /proc/<pid>/task/<tid>."""

    def __init__(self, fs: PseudoFS, task: Task, whole: bool) -> None:
        self.base = 0 if whole else TASK_LEVEL
        super().__init__(fs, self.base, task, 0o555)
        self.whole = whole
        self.read_only = texts.COMMON + (texts.ONLY_GROUP if whole else texts.ONLY_TASK)

    def links(self) -> int:
        return 7

    def lookup(self, name: bytes) -> Inode | None:
        if is_gone(self.task):
            raise ESRCH("the task is gone")
        code = self.base
        for entry, permissions, function in self.read_only:
            code += 1
            if entry == name:
                protected = name in texts.PROTECTED
                return TaskText(self.fs, code, permissions, self.task, function, protected)
        for entry, permissions, function in WRITABLE:
            code += 1
            if entry == name:
                return self.writable(name, code, permissions, function)
        return self.special(name)

    def writable(self, name: bytes, code: int, permissions: int, function: texts.Render) -> Inode:
        """A file that can be written."""
        if name == b"comm":
            return CommText(self.fs, code, permissions, self.task, function, False)
        if name == b"oom_score_adj":
            return OomScoreText(self.fs, code, permissions, self.task, function, False)
        return IgnoredText(self.fs, code, permissions, self.task, function, False)

    def special(self, name: bytes) -> Inode | None:
        """Links, directories and mem."""
        fs, task, base = self.fs, self.task, self.base + SPECIAL_BASE
        if name == b"fd":
            return FdDir(fs, base, task, 0o500)
        if name == b"fdinfo":
            return FdInfoDir(fs, base + 1, task, 0o555)
        if name == b"ns":
            return NamespaceDir(fs, base + 2, task, 0o511)
        if name == b"task" and self.whole:
            return ThreadsDir(fs, base + 3, task, 0o555)
        if name == b"net":
            return self.net()
        if name == b"exe":
            return ExeLink(fs, base + 5, task)
        if name == b"cwd":
            return CwdLink(fs, base + 6, task)
        if name == b"root":
            return RootLink(fs, base + 7, task)
        if name == b"mem":
            return MemInode(fs, base + 8, task)
        return None

    def net(self) -> Inode:
        """The same directory for all tasks: there is one network namespace."""
        fs = self.fs
        assert isinstance(fs, TaskDirFS)
        return fs.net

    def names(self) -> list[tuple[int, bytes, int, int]]:
        base, task = self.base, self.task
        found: list[tuple[int, bytes, int, int]] = []
        code = base
        for entry, _, _ in self.read_only + WRITABLE:
            code += 1
            found.append((code - base, entry, inode_number(task, code), S_IFREG))
        for index, (name, kind) in enumerate(SPECIAL):
            if self.whole or name != b"task":
                key = SPECIAL_BASE + index
                ino = self.net().ino if name == b"net" else inode_number(task, base + key)
                found.append((key, name, ino, kind))
        return found


def group_directory(fs: PseudoFS, group: ThreadGroup) -> Inode | None:
    """/proc/<pid>, or None once it was waited for."""
    leader = group.leader
    if leader is None or group.reaped:
        return None
    return TaskDir(fs, leader, True)
