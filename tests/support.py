"""Fixtures for unit tests: a kernel on fakes, tasks on it, guest memory, and a little dispatcher.

    kernel = make_kernel()
    task = make_task(kernel)                      # pid 1 at first
    address = put(task, b"/etc/passwd\\0")         # bytes in guest memory
    assert call(task, getpid) == 1                # result or -errno, as the guest sees it
    parked = call(task, pause)                    # PARKED; later: task.host.results[-1]
    advance(kernel, 10**9)                        # time passes, timers fire, parked calls go on

A handler may also be called directly (``openat(task, AT_FDCWD, b"/x", 0, 0)``) with
``pytest.raises``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_host import FakeClock, FakePoller
from fake_platform import RESTART, FakeProcess, FakeThread
from wardian.platform.interface import message
from wardian.sentry.errno import LinuxError
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.fdtable import FDTable
from wardian.sentry.kernel.fscontext import FSContext
from wardian.sentry.kernel.hooks import TaskHooks
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.pids import PidTable
from wardian.sentry.kernel.process_group import ProcessGroup, Session
from wardian.sentry.kernel.rlimits import Rlimits
from wardian.sentry.kernel.signal_delivery import Delivery, call_restarts, next_delivery
from wardian.sentry.kernel.signals import SignalActions, TaskSignals
from wardian.sentry.kernel.task import NO_REPLY, PARKED, Call, CallState, Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.kernel.uts import UTSNamespace
from wardian.sentry.mm.memory import Memory
from wardian.sentry.vfs.mount_tree import MountNamespace

Handler = Callable[..., int]

__all__ = [
    "NO_REPLY",
    "PARKED",
    "Dispatcher",
    "advance",
    "call",
    "clock",
    "fork",
    "get",
    "host",
    "make_kernel",
    "make_task",
    "make_thread",
    "memory",
    "put",
    "room",
    "run",
]


class Running:
    """A handler in progress on a task."""

    def __init__(self, handler: Handler, args: tuple[Any, ...], restart: str) -> None:
        self.handler = handler
        self.args = args
        self.restart = restart


class Dispatcher(TaskHooks):
    """The rules of ``kernel.dispatch`` in small: run, park, run again, interrupt, deliver."""

    def __init__(self) -> None:
        self.running: dict[Task, Running] = {}
        self.aside: list[Task] = []  # woken while stopped
        self.exited: list[Task] = []
        self.in_handler: Task | None = None

    # -- calls -----------------------------------------------------------------------------------
    def start(self, task: Task, handler: Handler, args: tuple[Any, ...], restart: str) -> int:
        """A new system call; its result, or PARKED."""
        task.call = Call(message(0, (0, 0, 0, 0, 0, 0)))
        self.running[task] = Running(handler, args, restart)
        return self.step(task)

    def step(self, task: Task) -> int:
        """Run the task's handler once."""
        running = self.running[task]
        self.in_handler = task.kernel.current = task
        try:
            result = running.handler(task, *running.args)
        except LinuxError as error:
            result = -error.number
        finally:
            self.in_handler = task.kernel.current = None
        if task.exited:
            return NO_REPLY
        if result == PARKED:
            if task.signals.attention:
                self.signal_pending(task)
            return PARKED
        if result == NO_REPLY:
            return result
        return self.finish(task, result)

    def finish(self, task: Task, result: int) -> int:
        """End the call: a signal frame first when one is due."""
        self.running.pop(task, None)
        task.forget_waits()
        task.parked = False
        if task.call is not None:
            task.call.finish()
        delivery = next_delivery(task)
        if task.exited:
            return NO_REPLY
        if delivery is None:
            host(task).complete(result)
        else:
            host(task).deliver(delivery.frame, result, True)
        return result

    def run(self, kernel: Kernel) -> None:
        """Run woken tasks until none is left (bounded)."""
        for _ in range(1000):
            if not kernel.run_list:
                return
            task = kernel.run_list.pop(0)
            if task.exited:
                continue
            if task.group.stopped:
                self.aside.append(task)
            else:
                self.step(task)
        raise AssertionError("tasks keep waking each other")

    # -- TaskHooks -------------------------------------------------------------------------------
    def signal_pending(self, task: Task) -> None:
        if task.exited or task is self.in_handler:
            return
        if task in self.running:
            if task.parked:
                self.interrupt(task)
            return
        host(task).interrupt()

    def interrupt(self, task: Task) -> None:
        """A signal arrived for a parked call: deliver when there is a handler, else stay parked."""
        delivery = next_delivery(task)
        if delivery is None or task.exited:
            return
        self.end_call(task, delivery)

    def end_call(self, task: Task, delivery: Delivery) -> None:
        running = self.running.pop(task)
        task_call = task.call
        assert task_call is not None
        restarts = call_restarts(running.restart, delivery)
        if task_call.on_interrupt is not None:
            task_call.on_interrupt.interrupted(task, restarts)
        if isinstance(task_call.state, CallState):
            task_call.state.abandon()
        task_call.finish()
        task.parked = False
        task.forget_waits()
        if task in task.kernel.run_list:
            task.kernel.run_list.remove(task)
        host(task).deliver(delivery.frame, RESTART if restarts else -4, True)

    def group_exit(self, group: ThreadGroup) -> None:
        for task in list(group.tasks):
            exit_task(task, group.exit_code)

    def stop(self, task: Task) -> None:
        host(task).interrupt()

    def continue_(self, task: Task) -> None:
        if task in self.aside:
            self.aside.remove(task)
            task.kernel.run_list.append(task)

    def task_exited(self, task: Task) -> None:
        self.exited.append(task)
        self.running.pop(task, None)


def make_kernel() -> Kernel:
    """A kernel with fakes below it and an empty tmpfs as root."""
    kernel = Kernel(FakeClock(), FakePoller())
    kernel.hooks = Dispatcher()
    kernel.pids = PidTable()
    kernel.uts = UTSNamespace()
    mount_root(kernel)
    return kernel


def mount_root(kernel: Kernel) -> None:
    """Mount a tmpfs on ``/``."""
    kernel.mounts = MountNamespace(TmpFS(kernel.anonymous_dev(), kernel.clock), "tmpfs")


def make_task(
    kernel: Kernel | None = None, *, uid: int = 0, gid: int = 0, parent: Task | None = None
) -> Task:
    """A process with one thread: pid 1 in its own session at first, later children of pid 1.

    ``parent`` makes it a child of that task, in its process group (see also :func:`fork`).
    """
    if kernel is None:
        kernel = parent.kernel if parent is not None else make_kernel()
    pid = kernel.pids.allocate()
    above = parent.group if parent is not None else kernel.init
    if above is None:
        process_group = ProcessGroup(pid, Session(pid, None))
    else:
        process_group = above.process_group
    group = ThreadGroup(kernel, pid, above, process_group, SignalActions(), Rlimits())
    memory = Memory(FakeProcess(1000 + pid))
    if parent is not None:
        files, fs = parent.files.clone(), parent.fs.clone()
    else:
        files, fs = make_files(kernel)
    task = Task(kernel, pid, group, user_credentials(uid, gid), files, fs, memory, TaskSignals())
    enter(task)
    if above is None:
        kernel.init = group
        kernel.pids.new_session(group)
    else:
        above.children.append(group)
        process_group.members.append(group)
    return task


def make_files(kernel: Kernel) -> tuple[FDTable, FSContext]:
    """An empty descriptor table, and the root directory."""
    root = kernel.mounts.root_path()
    return FDTable(), FSContext(root, root, 0o022)


def make_thread(leader: Task) -> Task:
    """Another thread of ``leader``'s process."""
    kernel = leader.kernel
    leader.files.users += 1
    leader.fs.users += 1
    task = Task(
        kernel,
        kernel.pids.allocate(),
        leader.group,
        leader.credentials,
        leader.files,
        leader.fs,
        leader.memory.hold(),
        leader.signals.copy_for_clone(False),
    )
    enter(task)
    return task


def fork(parent: Task) -> Task:
    """A child as fork(2) makes it, except that its memory starts empty."""
    task = make_task(parent=parent)
    task.credentials = parent.credentials
    task.signals = parent.signals.copy_for_clone(True)
    task.group.actions = parent.group.actions.copy()
    task.group.rlimits = parent.group.rlimits.copy()
    return task


def enter(task: Task) -> None:
    """Into the pid table and its group, with a host thread and a call to park in."""
    process = task.memory.process
    assert isinstance(process, FakeProcess)
    task.host = FakeThread(process)
    task.name = b"test"
    task.call = Call(message(0, (0, 0, 0, 0, 0, 0)))
    if task.group.leader is None:
        task.group.leader = task
    task.group.tasks.append(task)
    task.kernel.pids.add_task(task)


# -- acting as the guest ----------------------------------------------------------------------
def host(task: Task) -> FakeThread:
    """The fake host thread of ``task``."""
    assert isinstance(task.host, FakeThread)
    return task.host


def memory(task: Task) -> FakeProcess:
    """The fake address space of ``task``."""
    assert isinstance(task.memory.process, FakeProcess)
    return task.memory.process


def dispatcher(kernel: Kernel) -> Dispatcher:
    assert isinstance(kernel.hooks, Dispatcher)
    return kernel.hooks


def clock(kernel: Kernel) -> FakeClock:
    assert isinstance(kernel.clock, FakeClock)
    return kernel.clock


def put(task: Task, data: bytes) -> int:
    """Place ``data`` in fresh guest memory; its address."""
    address = memory(task).map(max(len(data), 1))
    memory(task).write(address, data)
    return address


def room(task: Task, count: int) -> int:
    """``count`` zero bytes of fresh guest memory; the address."""
    return memory(task).map(max(count, 1))


def get(task: Task, address: int, count: int) -> bytes:
    """Guest memory as the guest sees it."""
    return memory(task).read(address, count)


def call(task: Task, handler: Handler, *args: Any, restart: str = "auto") -> int:
    """Make a system call: its result, ``-errno``, PARKED or NO_REPLY."""
    return dispatcher(task.kernel).start(task, handler, args, restart)


def run(kernel: Kernel) -> None:
    """Let woken tasks go on."""
    dispatcher(kernel).run(kernel)


def advance(kernel: Kernel, ns: int) -> None:
    """Let time pass: fire timers, then run what they woke."""
    clock(kernel).advance(ns)
    kernel.timers.run(kernel.clock.monotonic_ns())
    run(kernel)
