"""The dispatcher: what happens between a message from a guest thread and its answer (design D5).

A task's host thread is in one of three states, kept in ``task.host_state``: it runs guest code
(:data:`RUNNING`, or :data:`MAPPING` when it has a file or a program to map first), it made a system
call that is not answered yet (:data:`IN_CALL`), or it stands at an interruption or fault
(:data:`INTERRUPTED`). Every way back to guest code leads through
:meth:`Dispatcher.answer`, where pending signals are acted on and stopped tasks are held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import (
    RESTART,
    CloneRequest,
    Events,
    HostProcess,
    HostThread,
)
from wardian.platform.log import Log
from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel import clone, exec
from wardian.sentry.kernel.exit import exit_group, exit_task
from wardian.sentry.kernel.hooks import TaskHooks
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_delivery import (
    Delivery,
    call_restarts,
    frame_fault,
    next_delivery,
)
from wardian.sentry.kernel.signal_numbers import SIGKILL
from wardian.sentry.kernel.signal_sending import force
from wardian.sentry.kernel.signals import lease_mask, set_blocked
from wardian.sentry.kernel.task import (
    IN_CALL,
    INTERRUPTED,
    MAPPING,
    NO_REPLY,
    PARKED,
    RUNNING,
    Call,
    CallState,
    Task,
)
from wardian.sentry.syscalls.dispatch_gen import (
    RESTART_AUTO,
    RESTART_NEVER,
    RESTARTS,
    dispatch,
)
from wardian.sentry.syscalls.observe import CallObserver

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.thread_group import ThreadGroup

LOG: Final = Log("wardian.dispatch")
EINTR_RESULT: Final = -4
SIGSEGV: Final = 11


class KernelBug(Exception):
    """A handler raised something that is not a ``LinuxError``: our
    fault, and the end of the sandbox."""


class Dispatcher(Events, TaskHooks):
    """Runs handlers, parks and wakes tasks, and sends every answer."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.observer: CallObserver | None = None  # strace, a profile

    # -- system calls ------------------------------------------------------------------------------
    def syscall(self, thread: HostThread, raw: bytes) -> None:
        owner = thread.owner
        if not isinstance(owner, Task):
            return
        task: Task = owner
        call = Call(raw)
        task.call = call
        task.host_state = IN_CALL
        if self.observer is not None:
            self.observer.arrived(task, call)
        self.run(task, call)

    def run(self, task: Task, call: Call) -> None:
        """Run the handler of the task's call, for the first time or again."""
        kernel = self.kernel
        kernel.current = task
        try:
            result = dispatch(task, call.raw)
        except LinuxError as error:
            result = -error.number
        except (
            AssertionError,
            AttributeError,
            IndexError,
            KeyError,
            NotImplementedError,
            OSError,
            OverflowError,
            RecursionError,
            TypeError,
            UnicodeError,
            ValueError,
        ) as bug:
            raise KernelBug(f"system call {call.nr} of task {task.tid}") from bug
        finally:
            kernel.current = None
        if result == PARKED and not task.exited:
            self.parked(task)
        elif result == NO_REPLY or task.exited:
            if self.observer is not None:
                self.observer.finished(task, call, None)
            if task.signals.attention and task.is_away():
                self.signal_pending(task)
        else:
            self.finish(task, result)

    def parked(self, task: Task) -> None:
        """The handler waits for something: let the guest thread sleep, unless a signal is due."""
        host = task.host
        if host is not None:
            host.drop_outs()
            host.park()
        if task.signals.attention:
            self.interrupt_call(task)

    def finish(self, task: Task, result: int) -> None:
        """The call is over with ``result``: answer it."""
        call = task.call
        if call is None or task.exited:
            return
        task.parked = False
        if task.registrations or task.wake_timer.armed:
            task.forget_waits()
        if call.file is not None:
            call.finish()
        if self.observer is not None:
            self.observer.finished(task, call, result)
        signals = task.signals
        if signals.attention or signals.saved_mask >= 0 or task.group.stopped:
            self.answer(task, result)
            return
        task.host_state = RUNNING
        host = task.host
        if host is not None:
            host.complete(result)  # first: what follows is done while the guest runs
        task.call = None

    # -- the way back to guest code ----------------------------------------------------------------
    def answer(self, task: Task, result: int) -> None:
        """Go back with ``result`` (of a call; ignored after an interruption), signals first."""
        delivery = self.due(task)
        if task.exited:
            return
        host = task.host
        if host is None:
            return
        in_call = task.host_state == IN_CALL
        if task.group.stopped and delivery is None:
            task.held = True
            task.held_result = result
            return
        task.call = None
        task.host_state = RUNNING
        if delivery is not None:
            if self.observer is not None:
                self.observer.signal(task, delivery.frame.signo, delivery.frame.siginfo)
            host.deliver(delivery.frame, result, in_call, task.signals.attention)
        elif in_call:
            host.complete(result)
        else:
            host.resume()

    def due(self, task: Task) -> Delivery | None:
        """The handler to enter before going back, with a temporary
        mask put back when there is none."""
        delivery = next_delivery(task) if task.signals.attention else None
        if delivery is None and task.signals.saved_mask >= 0 and not task.exited:
            mask = task.signals.saved_mask
            task.signals.saved_mask = -1
            set_blocked(task, mask)
            if task.signals.attention:
                delivery = next_delivery(task)
        return delivery

    def interrupt_call(self, task: Task) -> None:
        """A signal came for a waiting call: enter a handler now, or leave the call waiting."""
        delivery = next_delivery(task)
        if delivery is None or task.exited:
            return
        call = task.call
        host = task.host
        if call is None or host is None:
            return
        done = call.done  # a partly done transfer is a short count, not EINTR (vfs.io)
        # a socket call whose time-out runs never restarts (signal(7))
        restarts = (
            done == 0 and call.deadline_ns < 0 and call_restarts(restart_kind(call.nr), delivery)
        )
        if call.on_interrupt is not None:
            call.on_interrupt.interrupted(task, restarts)
        abandon_call(task)
        if self.observer is not None:
            self.observer.interrupted(task, call)
            self.observer.signal(task, delivery.frame.signo, delivery.frame.siginfo)
        task.call = None
        task.host_state = RUNNING
        result = done if done else EINTR_RESULT
        host.deliver(delivery.frame, RESTART if restarts else result, True, task.signals.attention)

    # -- interruptions and faults ------------------------------------------------------------------
    def interrupted(self, thread: HostThread) -> None:
        task = thread.owner
        if isinstance(task, Task):
            task.host_state = INTERRUPTED
            self.answer(task, 0)

    def fault(
        self, thread: HostThread, signo: int, code: int, address: int, siginfo: bytes
    ) -> None:
        task = thread.owner
        if not isinstance(task, Task):
            return
        task.host_state = INTERRUPTED
        info = SigInfo(signo, code)
        info.addr = address
        LOG.debug("task %d: signal %d at %#x", task.tid, signo, address)
        force(task, info)
        self.answer(task, 0)

    def frame_fault(self, thread: HostThread) -> None:
        task = thread.owner
        if isinstance(task, Task):
            task.host_state = INTERRUPTED
            frame_fault(task)

    def process_died(self, process: HostProcess, killed_by: int) -> None:
        """The host process of some tasks is gone: killed from outside, or for want of memory."""
        for group in self.kernel.pids.groups():
            for task in list(group.tasks):
                if task.host is not None and task.host.process is process:
                    self.note_host_kill(group)
                    exit_group(group, SIGKILL)
                    break

    def note_host_kill(self, group: ThreadGroup) -> None:
        """Let whoever asks why a command failed know that the host killed some of it."""
        victim: ThreadGroup | None = group
        for _ in range(len(self.kernel.pids.groups_by_pid)):
            if victim is None:
                return
            victim.host_kills += 1
            victim = victim.parent

    # -- memory, clone, exec -----------------------------------------------------------------------
    def map_answered(self, thread: HostThread) -> None:
        task = thread.owner
        if isinstance(task, Task):
            task.call = None
            task.host_state = MAPPING

    def mapped(self, thread: HostThread, result: int) -> None:
        task = thread.owner
        if isinstance(task, Task):
            self.finish(task, result)

    def cloned(self, parent: HostThread, child: HostThread, request: CloneRequest) -> None:
        task = parent.owner
        state = request.cookie
        if isinstance(task, Task) and isinstance(state, clone.CloneState):
            clone.child_exists(task, child, state)

    def clone_answered(self, parent: HostThread, request: CloneRequest) -> None:
        task = parent.owner
        if not isinstance(task, Task):
            return
        if self.observer is not None and task.call is not None:
            self.observer.finished(task, task.call, request.tid)
        task.call = None
        task.host_state = RUNNING

    def clone_finished(self, parent: HostThread, number: int, request: CloneRequest) -> None:
        task = parent.owner
        state = request.cookie
        if not isinstance(task, Task) or not isinstance(state, clone.CloneState):
            return
        if number:
            clone.undo(task, state)
            if task.call is None:  # it was answered already
                parent.complete(-number)
            self.finish(task, -number)
        elif not state.wait_for_child():
            self.finish(task, state.tid)

    def exec_done(self, thread: HostThread) -> None:
        task = thread.owner
        if not isinstance(task, Task):
            return
        exec.program_runs(task)
        lease_mask(task)
        if self.observer is not None and task.call is not None:
            self.observer.finished(task, task.call, 0)
        task.call = None
        task.host_state = MAPPING
        self.release_vfork(task)
        if task.signals.attention:
            self.signal_pending(task)

    def launched(self, thread: HostThread, owner: object | None) -> None:
        if not isinstance(owner, Task) or owner.exited:
            thread.process.kill()
            return
        thread.owner = owner
        owner.host = thread
        owner.host_state = MAPPING
        exec.first_program_runs(owner)
        if owner.signals.attention or owner.group.stopped:
            thread.interrupt()

    def engine_lost(self) -> None:
        init = self.kernel.init
        if init is not None:
            exit_group(init, SIGKILL)

    def release_vfork(self, task: Task) -> None:
        """The child has a program of its own or is gone: the vfork(2) parent goes on."""
        state = task.vfork
        task.vfork = None
        if isinstance(state, clone.CloneState) and state.release():
            self.finish(state.parent, state.tid)

    # -- TaskHooks ---------------------------------------------------------------------------------
    def signal_pending(self, task: Task) -> None:
        if task.exited or task is self.kernel.current or task.host is None:
            return
        if task.is_away():
            task.host.interrupt()
        elif task.host_state == IN_CALL and task.parked:
            self.interrupt_call(task)
        elif task.held and not task.group.stopped:
            self.continue_(task)

    def group_exit(self, group: ThreadGroup) -> None:
        for task in list(group.tasks):
            exit_task(task, group.exit_code)

    def stop(self, task: Task) -> None:
        if task is not self.kernel.current and task.is_away() and task.host is not None:
            task.host.interrupt()

    def continue_(self, task: Task) -> None:
        if task.aside:
            task.aside = False
            self.kernel.run_list.append(task)
        elif task.held:
            task.held = False
            self.answer(task, task.held_result)
        elif task.signals.attention:
            self.signal_pending(task)

    def task_exited(self, task: Task) -> None:
        """Let go of the host thread: it ends by itself, or with its whole process."""
        exec.forget_image(task)
        host = task.host
        task.host = None
        if host is not None:
            host.owner = None
            if not task.group.tasks:
                if task is not self.kernel.current or not host.exit_process():
                    host.process.kill()
            elif task is self.kernel.current:
                host.exit(task.clear_child_tid)
            else:
                host.abandon()
        self.release_vfork(task)
        if self.observer is not None:
            self.observer.ended(task)

    # -- the run list ------------------------------------------------------------------------------
    def run_woken(self) -> None:
        """Run the handlers of all tasks that were woken, once each."""
        woken = self.kernel.run_list
        self.kernel.run_list = []
        for task in woken:
            call = task.call
            if task.exited or call is None or task.parked:
                continue
            if task.group.stopped:
                task.aside = True
                continue
            if self.observer is not None:
                self.observer.resumed(task)
            self.run(task, call)


def restart_kind(nr: int) -> str:
    """The table's word for what a signal handler does to the waiting call ``nr``."""
    kind = RESTARTS[nr] if 0 <= nr < len(RESTARTS) else RESTART_AUTO
    return "auto" if kind == RESTART_AUTO else "never" if kind == RESTART_NEVER else "nohand"


def abandon_call(task: Task) -> None:
    """Take a waiting call off every queue and give back what its handler kept."""
    call = task.call
    if call is not None:
        if isinstance(call.state, CallState):
            call.state.abandon()
            call.state = None
        call.finish()
    task.parked = False
    task.forget_waits()
    if task in task.kernel.run_list:
        task.kernel.run_list.remove(task)
