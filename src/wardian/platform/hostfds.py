"""How many of our own descriptors guests may take: the last ones stay ours, so that the Sentry can
always fork, load a program and answer. Every host descriptor that lives as long as something a
guest holds passes :func:`for_guest`."""

import os
import resource
from typing import Final

from wardian.sentry.errno import ENFILE

KEPT: Final = 128


def most_for_guests(limit: int) -> int:
    """Of ``limit`` descriptors (RLIM_INFINITY: as many as there are numbers)."""
    if limit < 0:
        return 1 << 30
    return limit - KEPT if limit > 2 * KEPT else limit // 2


MOST: Final = most_for_guests(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
"""The Sentry's soft limit is raised to the hard one (host.launch)."""


def for_guest(fd: int) -> int:
    """``fd``, just opened; closed, and ENFILE, when only those that we keep are left."""
    if fd < MOST:
        return fd
    os.close(fd)
    raise ENFILE("the Sentry is out of descriptors")
