"""What the process that runs the tests has open itself, for tests that nothing is left open."""

from __future__ import annotations

import gc
import os


def own_descriptors() -> list[str]:
    """Those of this process, without what garbage of earlier tests still holds: it may be collected
    at any moment."""
    gc.collect()
    return os.listdir("/proc/self/fd")
