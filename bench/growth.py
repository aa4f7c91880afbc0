#!/usr/bin/env python3
"""How costs grow with what is there already: descriptors, tasks, path components, bytes, sockets.

    bench/growth.py                            all rows, natively and in Wardian
    bench/growth.py --rows '*epoll*' --rounds 3
    bench/growth.py --list

A figure is the best over the rounds of the median over the batches (bench/growth.c). A row that
grows more than twice as much inside as it does natively is marked with !.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys

from run import BUILD, ROOT, WORK, Failure, Runtime, last_json, run, runtime_of, shown

PROGRAM = BUILD / "growth"
SIZES = {
    "components": (1, 8, 32),
    "threads": (1, 30, 300),
    "processes": (1, 30, 300),
    "bytes": (4 << 10, 256 << 10, 16 << 20),
    "Unix": (10, 100, 1000),
    "TCP": (10, 100, 1000),
    "descriptors": (10, 1000, 10000),
    "files": (10, 1000, 10000),
    "timers": (10, 100, 1000),
    "mappings": (10, 1000, 10000),
}
"""N, by the word that follows it in the name of a row."""
DEEPEST = 32
SUSPICIOUS = 2.0


def build() -> None:
    """The program, and the files that it looks for."""
    BUILD.mkdir(parents=True, exist_ok=True)
    source = ROOT / "bench/growth.c"
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-static", "-pthread", "-o", str(PROGRAM)]
    subprocess.run([*words, str(source)], check=True)
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(WORK / "d", ignore_errors=True)
    place = WORK
    for _ in range(DEEPEST):
        (place / "f").touch()
        place /= "d"
        place.mkdir()
    with open(WORK / "big", "wb") as big:
        big.write(os.urandom(1 << 20) * 16)


def sizes_of(row: str) -> tuple[int, ...]:
    """N for a row."""
    words = row.replace(",", "").split()
    after = words[words.index("N") + 1]
    return SIZES[after]


def measure(runtime: Runtime, row: str, size: int, options: argparse.Namespace) -> float:
    """Nanoseconds; infinite when it did not work, which is told."""
    command = [str(PROGRAM), "-t", str(options.time), row, str(size)]
    try:
        answer = last_json(run(runtime, command, options.timeout)[0])
        if "error" in answer:
            raise Failure(str(answer["error"]))
        return float(str(answer["ns"]))
    except Failure as failure:
        print(f"{row}, {size}, {runtime.name}: {failure}", file=sys.stderr)
        return float("inf")


def best(runtime: Runtime, row: str, options: argparse.Namespace) -> list[float]:
    """One figure for each N. What a row leaves in /dev/shm goes."""
    figures = []
    for size in sizes_of(row):
        figures.append(min(measure(runtime, row, size, options) for _ in range(options.rounds)))
        for name in ("many", "d"):
            shutil.rmtree(f"/dev/shm/{name}", ignore_errors=True)
    return figures


def plain(size: int) -> str:
    """N with a unit where it is long."""
    for unit, step in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size >= step and size % step == 0:
            return f"{size // step} {unit}"
    return str(size)


def line(row: str, native: list[float], inside: list[float]) -> str:
    """One row of the Markdown table."""
    grew = [figures[-1] / figures[0] for figures in (native, inside)]
    mark = " !" if grew[1] > SUSPICIOUS * grew[0] else ""
    cells = [
        row,
        ", ".join(plain(size) for size in sizes_of(row)),
        ", ".join(shown(figure, False) for figure in native),
        ", ".join(shown(figure, False) for figure in inside),
        f"{grew[0]:.1f}x, {grew[1]:.1f}x{mark}",
    ]
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", default="*", help="comma-separated wildcards")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--time", type=int, default=40, help="milliseconds per batch, of 15")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one figure")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--wardian", default=f"{ROOT}/.venv/bin/wardian do --", metavar="COMMAND")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    return parser.parse_args()


def main() -> int:
    """Run and print, row by row."""
    options = arguments()
    build()
    rows = subprocess.check_output([PROGRAM, "-l"], text=True).splitlines()
    patterns = options.rows.split(";" if ";" in options.rows else ",")
    rows = [row for row in rows if any(fnmatch.fnmatch(row, p.strip()) for p in patterns)]
    if options.list:
        print("\n".join(f"{row:45} {', '.join(map(plain, sizes_of(row)))}" for row in rows))
        return 0
    runtimes = [Runtime("native", []), runtime_of("wardian", options.wardian)]
    found: dict[str, dict[str, list[float]]] = {}
    print("| operation | N | native | Wardian | grew natively, inside |\n|---|---|---|---|---|")
    for row in rows:
        found[row] = {runtime.name: best(runtime, row, options) for runtime in runtimes}
        print(line(row, found[row]["native"], found[row]["wardian"]), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
