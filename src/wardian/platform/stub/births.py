"""What a forked process gets of its own before it exists: a channel, and a socket on which only the
Sentry speaks to it. The parent receives both ahead of its fork and the child inherits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.hostfds import MOST
from wardian.platform.stub import sockets
from wardian.platform.stub.process import Space
from wardian.sentry.errno import EAGAIN

if TYPE_CHECKING:
    from wardian.platform.stub.engine import StubEngine

SPARE: Final = 1


class Kit:
    """Channel and socket of one process to come; OSError when the host has no more."""

    def __init__(self, engine: StubEngine) -> None:
        self.space = Space(engine.hub)
        try:
            ours, self.theirs = sockets.pair()
        except OSError:
            self.space.close()
            raise
        self.control = sockets.Control(ours)

    def fits(self) -> bool:
        """False for the last spaces and descriptors, which are kept for programs to be loaded."""
        return self.space.is_spare() and self.theirs.fileno() < MOST

    def send(self, to: sockets.Control, parent: object) -> None:
        """Hand it to the parent; OSError. ``theirs`` is then the caller's to close."""
        to.send(parent, [self.space.memfd, self.theirs.fileno()])

    def close(self) -> None:
        self.control.drop()
        self.theirs.close()
        self.space.close()


class Kits:
    """The kits of one engine: one is made ahead while there is nothing more urgent to do."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.spare: list[Kit] = []
        self.due = False

    def fill(self) -> None:
        """Make what is wanted; nothing when the host has no more."""
        self.due = False
        try:
            while len(self.spare) < SPARE:
                self.spare.append(Kit(self.engine))
        except OSError:
            pass

    def take(self) -> Kit:
        """One for a fork; EAGAIN when there is no room for one more process."""
        self.due = True
        try:
            kit = self.spare.pop() if self.spare else Kit(self.engine)
            if kit.fits():
                return kit
            kit.close()
        except OSError:
            pass
        if not self.engine.departed:
            raise EAGAIN("the host has no room for one more process")
        self.engine.take_apart()
        return self.take()

    def close(self) -> None:
        for kit in self.spare:
            kit.close()
        self.spare.clear()
