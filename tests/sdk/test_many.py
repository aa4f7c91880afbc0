"""A hundred sandboxes at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from host_processes import descendants, gone, launcher

import wardian

MANY = 100


def all_at_once(make: Callable[[], wardian.Sandbox]) -> None:
    """Start them, have something running in each, let each answer, end them."""
    with ThreadPoolExecutor(8) as threads:
        boxes = list(threads.map(lambda _: make(), range(MANY)))
        try:
            resident = [box.spawn(["sh", "-c", "echo $0; exec sleep 1000", "up"]) for box in boxes]
            for process in resident:
                assert process.stdout is not None
                assert process.stdout.readline() == b"up\n"
            family = [pid for box in boxes for pid in descendants(launcher(box))]
            assert len(family) >= 4 * MANY
            words = threads.map(
                lambda pair: pair[1].run(["echo", str(pair[0])]).stdout, enumerate(boxes)
            )
            assert list(words) == [b"%d\n" % i for i in range(MANY)]
            assert [process.poll() for process in resident] == [None] * MANY
        finally:
            list(threads.map(lambda box: box.close(), boxes))
    assert gone(family)


@pytest.mark.timeout(300)
def test_a_hundred_at_once() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    all_at_once(wardian.Sandbox)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.timeout(300)
def test_a_hundred_at_once_from_a_pool() -> None:
    with wardian.Pool(4) as pool:
        all_at_once(pool.sandbox)
