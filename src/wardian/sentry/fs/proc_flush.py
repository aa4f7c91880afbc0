"""/proc's dentries of a task that is gone are forgotten (proc_flush_pid in fs/proc/base.c).

A cached name holds its inode, and that its task. Without this, each process that was looked up in
/proc would stay in memory after its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.vfs.dcache import cached_child, invalidate

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.vfs.dentry import Dentry


def flush_task(kernel: Kernel, pid: int, tid: int) -> None:
    """Task ``tid`` of process ``pid`` has no directory any more."""
    proc = kernel.proc
    root = proc.root_dentry if proc is not None else None
    if root is None:
        return
    if tid != pid:
        process = cached_child(root, b"%d" % pid)
        threads = cached_child(process, b"task") if process is not None else None
        if threads is not None:
            drop(kernel, threads, tid)
    drop(kernel, root, tid)


def drop(kernel: Kernel, directory: Dentry, number: int) -> None:
    """Forget the directory of a task, and all below it, also what is mounted there."""
    dentry = cached_child(directory, b"%d" % number)
    if dentry is None:
        return
    mounted: list[Dentry] = []
    invalidate(dentry, mounted)
    if mounted:
        kernel.mounts.detach(mounted)
