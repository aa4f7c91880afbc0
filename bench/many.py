#!/usr/bin/env python3
"""What sandboxes cost through the Python API: their start, and their memory when many run at once.

    bench/many.py            # 100 sandboxes
    bench/many.py 20

Prints medians: "ready" is the time that making a sandbox takes, "and true" until its first command
has ended as well. Memory is the sum of PSS of every process of all sandboxes (of the pool's server
too), divided by their number, while each runs a sleep(1).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import wardian
from run import descendants, processes, proportional_bytes

STARTS = 20
PAUSE = 0.1
"""Between two starts, in which the pool makes the next one ready."""


def starts(name: str, make: Callable[[], wardian.Sandbox]) -> None:
    """One by one."""
    ready, first = [], []
    for _ in range(STARTS):
        time.sleep(PAUSE)
        begin = time.perf_counter()
        with make() as box:
            made = time.perf_counter()
            box.run(["/bin/true"], check=True)
            first.append(time.perf_counter() - begin)
            ready.append(made - begin)
    print(f"{name:<16}", *(f"{statistics.median(x) * 1e3:8.1f} ms" for x in (ready, first)))


def memory(name: str, count: int, make: Callable[[], wardian.Sandbox], pool: int = 0) -> None:
    """All at once."""
    before = set(processes())
    begin = time.perf_counter()
    boxes = [make() for _ in range(count)]
    for box in boxes:
        process = box.spawn(["sh", "-c", "echo; exec sleep 1000"])
        assert process.stdout is not None
        process.stdout.readline()
    took = time.perf_counter() - begin
    time.sleep(1)
    tops = [pool] if pool else [box._connection.process.pid for box in boxes]
    family = set().union(*(descendants(pid, before) for pid in tops))
    each = sum(map(proportional_bytes, family)) / count / (1 << 20)
    print(f"{name:<16} {each:8.1f} MiB   {count} started in {took:.1f} s")
    for box in boxes:
        box.close()


def main() -> None:
    """Print four lines."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"{'':<16} {'ready':>11} {'and true':>11}")
    starts("start_api", wardian.Sandbox)
    with wardian.Pool(2) as pool:
        starts("start_pool", pool.sandbox)
    with wardian.Pool(0) as pool:
        starts("start_pool_0", pool.sandbox)
    memory(f"memory_{count}", count, wardian.Sandbox)
    with wardian.Pool(0) as pool:
        memory(f"memory_{count}_pool", count, pool.sandbox, pool._connection.process.pid)


if __name__ == "__main__":
    main()
