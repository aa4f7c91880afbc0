"""execve(2): a new program for a task, and the first program of a sandbox.

:func:`replace_program` does everything that can fail first; then comes the point of no return. The
engine calls back (``Events.exec_done``) when the fresh host process has the image, and
:func:`program_runs` settles the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.fs.proc_flush import flush_task
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.robust import release_robust_futexes
from wardian.sentry.kernel.signals import flush_for_exec
from wardian.sentry.kernel.task import NO_REPLY, Task
from wardian.sentry.mm.image import ProgramImage, build_image
from wardian.sentry.mm.memory import Memory
from wardian.sentry.mm.program_file import AT_FDCWD, open_exec
from wardian.sentry.mm.sizes import pass_limits

if TYPE_CHECKING:
    from wardian.sentry.vfs.file import File


def replace_program(
    task: Task, file: File, argv: list[bytes], envp: list[bytes], filename: bytes
) -> int:
    """Load ``file`` into ``task``; raises what execve(2) may, or ends in NO_REPLY."""
    image = build_image(task, file, argv, envp, filename, task.kernel.vdso)
    image.same_rights = keeps_rights(task, image)
    leave_other_threads(task)
    release_robust_futexes(task)
    task.signals.end_lease()
    become(task, image)
    task.image = image
    host = task.host
    assert host is not None
    host.forget_robust_list()
    host.exec(image)
    return NO_REPLY


def keeps_rights(task: Task, image: ProgramImage) -> bool:
    """Whether the old program might do all that the new one may: same credentials, files that it
    may read, and memory that it was allowed to see (PR_GET_DUMPABLE)."""
    return (
        not image.secure
        and task.group.dumpable == 1
        and image.readable
        and image.credentials.same_rights(task.credentials)
    )


def leave_other_threads(task: Task) -> None:
    """All other threads end; the caller takes over the process's number
    (execve(2), "Effect on process")."""
    group = task.group
    for other in list(group.tasks):
        if other is not task:
            exit_task(other, 0)
    if task.tid == group.pid:
        return
    pids = task.kernel.pids
    pids.remove_task(task)
    flush_task(task.kernel, group.pid, task.tid)
    task.tid = group.pid
    group.leader = task
    pids.add_task(task)


def become(task: Task, image: ProgramImage) -> None:
    """What execve(2) changes in the task besides its memory."""
    if task.files.users > 1:
        mine = task.files.clone()
        task.files.leave()
        task.files = mine
    task.files.exec_close()
    flush_for_exec(task)
    group = task.group
    group.exe = image.exe
    group.cmdline = image.cmdline
    group.environ = image.environ
    group.has_execed = True
    group.dumpable = 1 if image.readable and not image.secure else 0
    task.credentials = image.credentials
    task.name = image.name
    task.clear_child_tid = 0


def program_runs(task: Task) -> None:
    """The engine has the image in the task's process: the old address space is left."""
    image = task.image
    task.image = None
    host = task.host
    if not isinstance(image, ProgramImage) or host is None:
        return
    task.memory.drop()
    task.memory = Memory(host.process)
    task.coming = None
    image.settle(task.memory)
    image.release()
    pass_limits(task.memory, task.group.rlimits)


def load_first(task: Task, path: bytes, argv: list[bytes], envp: list[bytes]) -> ProgramImage:
    """Give a task that has no program yet the one at ``path``; raises what execve(2) may."""
    file = open_exec(task, AT_FDCWD, path)
    file.hold()
    try:
        image = build_image(task, file, argv, envp, path, task.kernel.vdso)
    finally:
        file.drop()
    group = task.group
    group.exe, group.cmdline, group.environ = image.exe, image.cmdline, image.environ
    group.has_execed = True
    task.name = image.name
    task.credentials = image.credentials
    task.image = image
    return image


def first_program_runs(task: Task) -> None:
    """The engine has the image of :func:`load_first` in a host process."""
    image = task.image
    task.image = None
    host = task.host
    if not isinstance(image, ProgramImage) or host is None:
        return
    task.memory.process = host.process
    image.settle(task.memory)
    image.release()


def forget_image(task: Task) -> None:
    """The task ended before its program had a host process."""
    image = task.image
    task.image = None
    if isinstance(image, ProgramImage):
        image.release()
