"""Programs on their way into host processes: execve(2) and what runs without a parent on the host
(design D9).

A pool process is fresh and trusted, and needed where the new program may do more than the old one,
or where others still use the old one's memory. Otherwise the program is loaded in place: its host
process is told what to map, as a guest is that maps a file. A hostile one need not obey, and has
gained nothing: it goes on with the rights that it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import ExecImage
from wardian.platform.stub import sockets
from wardian.platform.stub.image import EncodedImage
from wardian.platform.stub.pool import PoolProcess
from wardian.platform.stub.process import StubProcess
from wardian.platform.stub.thread import StubThread, opened_for_writing
from wardian.platform.stub.wire import ACTION_EXEC, DATA_OFFSET, WORDS

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine


MOST_DESCRIPTORS: Final = 8
"""That the stub takes at once (MAX_RECEIVED)."""


class Start:
    """A program on its way into a pool process: for a thread that has one
    already (execve), or for ``owner``."""

    def __init__(self, image: ExecImage, thread: StubThread | None, owner: object | None) -> None:
        self.image = image
        self.thread = thread
        self.owner = owner


class Programs:
    """Those of one engine."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.waiting: list[Start] = []  # without a pool process yet, in order

    def begin_next(self) -> None:
        """A pool process became ready: for the first that waits and was not killed meanwhile."""
        while self.waiting:
            start = self.waiting.pop(0)
            if start.thread is None or start.thread.owner is not None:
                self.begin(start)
                return

    def exec(self, thread: StubThread, image: ExecImage) -> None:
        """Run ``image`` as ``thread``."""
        if not self.stays(thread, image) or not self.load_in_place(thread, image):
            self.begin(Start(image, thread, None))

    def stays(self, thread: StubThread, image: ExecImage) -> bool:
        """Whether the old program's host process will do."""
        process = thread.stub_process
        return (
            image.same_rights
            and not process.threaded
            and process.space.users == 1
            and len(process.threads) == 1
            and not self.engine.validated
            and process.can_send(thread)
        )

    def load_in_place(self, thread: StubThread, image: ExecImage) -> bool:
        """False when it cannot be: nothing has happened then."""
        process = thread.stub_process
        encoded = EncodedImage(image)
        fds = encoded.fds
        if encoded.rest or len(fds) > MOST_DESCRIPTORS:
            return False
        if any(opened_for_writing(fd) for fd in fds if fd not in image.sealed):
            return False
        assert process.control is not None
        try:
            if fds:
                process.control.send(thread, fds)
        except OSError:
            return False
        process.new_program(image)
        self.engine.hub.put(thread.key, DATA_OFFSET, encoded.data)
        self.engine.hub.reply(thread.key, ACTION_EXEC, 0, WORDS[1].pack(len(fds)))
        self.engine.events.exec_done(thread)
        return True

    def begin(self, start: Start) -> None:
        """Move in, or wait for a pool process to move into."""
        fresh: PoolProcess | None = None
        process: StubProcess | None = None
        while process is None:
            fresh = self.engine.pool.take()
            if fresh is None:
                self.waiting.append(start)
                self.engine.pool.grow()
                return
            try:
                process = self.engine.new_process(fresh.space, fresh.pid, fresh.take_pidfd())
            except OSError:  # killed from outside while it waited, or we are out of descriptors
                self.engine.pool.stop_listening(fresh)
                fresh.control.close()
                fresh.space.close()
        assert fresh is not None
        fresh.space.claim(1)
        if start.thread is None:
            thread = StubThread(self.engine, process, 1, fresh.pid)
            self.load(fresh, thread, process, start.image)
            self.engine.events.launched(thread, start.owner)
        else:
            thread = start.thread
            self.engine.hub.host_thread(process.space.key(1), fresh.pid, fresh.pid)
            self.load(fresh, thread, process, start.image)
            self.move(thread, process, fresh.pid)
            self.engine.events.exec_done(thread)
        self.engine.pool.due = True

    def move(self, thread: StubThread, process: StubProcess, tid: int) -> None:
        """``thread`` leaves its old host process for slot 1 of a fresh one, which is loading its
        program meanwhile."""
        self.leave_process(thread)
        thread.process = process
        thread.stub_process = process
        thread.stand_on(1)
        thread.host_tid = tid
        thread.tid_is_fact = True
        thread.reports_end = False
        thread.interrupt_sent = False
        process.threads.append(thread)
        self.engine.threads.add(thread.key, thread)

    def forget_start(self, owner: object) -> None:
        """``owner`` ended before its program had a process."""
        self.waiting = [
            start for start in self.waiting if start.owner is not owner or start.thread is not None
        ]

    def leave_process(self, thread: StubThread) -> None:
        """Part with the old program's host process."""
        if thread.exit_process():
            return
        old = thread.stub_process
        self.engine.forget_thread(thread)
        if thread in old.threads:
            old.threads.remove(thread)
        old.space.retire(thread.slot, thread.reports_end)
        if not old.threads:
            old.kill()

    def load(
        self, fresh: PoolProcess, thread: StubThread, process: StubProcess, image: ExecImage
    ) -> None:
        """Send the pool process, ``process`` from now on, the image that ``thread`` runs next."""
        process.brk_start = image.brk_start
        process.text.load(image)
        fresh.taken_by = thread
        encoded = EncodedImage(image)
        fresh.rest = encoded.rest
        process.control = sockets.Control(fresh.control)
        key = process.space.key(1)
        self.engine.hub.put(key, DATA_OFFSET, encoded.data)
        self.engine.hub.placed(key, fresh.apart)
        self.engine.hub.place(key)
        try:
            sockets.send_fds(fresh.control, b"W" if fresh.rest else b"G", encoded.fds)
        except OSError:
            process.end()  # killed from outside, or too much is under way
        if not fresh.rest:
            self.engine.pool.stop_listening(fresh)
