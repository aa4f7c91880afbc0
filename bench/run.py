#!/usr/bin/env python3
"""Wardian's benchmark: native, Wardian and every peer runtime, side by side in one run.

    bench/run.py                                    all rows, native and Wardian
    bench/run.py --peer 'runsc=runsc do'            and a peer
    bench/run.py --rows 'getppid,pipe*' --rounds 5 --json result.json
    bench/run.py --list

The runtimes take turns row by row, in an order that rotates, so that a change of the machine's
speed hits all of them. A figure is the median over the rounds. A row that fails in one runtime
shows the error there. Ratios are in time: 2.0 takes twice as long as natively.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import programs

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/bench"
WORK = BUILD / "work"
SOURCES = {"micro": ["-pthread"], "httpload": []}

# design.md section 4: the most that Wardian may take, as a ratio to native
TARGETS = {
    "getppid": 1.6, "getpid": 0.3, "lseek": 1.6, "read1": 1.6, "write1": 1.6, "fstat": 1.6,
    "clock_gettime": 1.0, "pread4k_file": 2.0, "pwrite4k_file": 2.0, "pread4k_tmpfs": 2.0,
    "pwrite4k_tmpfs": 2.0, "open_close": 2.5, "stat": 2.5, "mmap_munmap": 1.1, "mmap_touch16": 1.1,
    "thread": 1.5, "mutex": 1.1, "fork_wait": 2.0, "fork_exec_wait": 1.6, "pipe_pingpong": 0.5,
    "unix_pingpong": 0.5, "tcp_pingpong": 0.5,
}  # fmt: skip


class Runtime(NamedTuple):
    """What a command is put behind."""

    name: str
    prefix: list[str]


class Row(NamedTuple):
    """One measurement; a program may yield several figures."""

    name: str
    kind: str  # "micro", "program", "start" or "memory"
    figures: tuple[str, ...]
    program: programs.Program | None = None


class Failure(Exception):
    """A row that gave no figure; the words say why."""


Figures = dict[str, float]


# -- running ---------------------------------------------------------------------------------------


def build() -> None:
    """Compile the C programs that are older than their source."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, flags in SOURCES.items():
        source, target = ROOT / f"bench/{name}.c", BUILD / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            words = ["gcc", "-O2", "-Wall", "-Wextra", "-static", *flags]
            subprocess.run([*words, "-o", str(target), str(source)], check=True)


def runtime_of(name: str, command: str) -> Runtime:
    """A runtime from its command; a relative path is one from where we were started."""
    words = shlex.split(command)
    if words and "/" in words[0]:
        words[0] = os.path.abspath(words[0])
    return Runtime(name, words)


def start(runtime: Runtime, command: list[str]) -> subprocess.Popen[str]:
    """Start ``command`` in a runtime, in a session of its own."""
    return subprocess.Popen(
        [*runtime.prefix, *command],
        cwd=WORK,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End a run and all that it left in its session."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(2)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def run(runtime: Runtime, command: list[str], timeout: float) -> tuple[str, str]:
    """The output of a command that must succeed."""
    try:
        process = start(runtime, command)
    except OSError as error:
        raise Failure(f"cannot start: {error.strerror}") from None
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stop(process)
        raise Failure(f"no result in {timeout:.0f} s") from None
    if process.returncode and not out.startswith("{"):
        lines = err.strip().splitlines()
        raise Failure(f"status {process.returncode}: {lines[-1] if lines else 'no output'}")
    return out, err


def measure_micro(runtime: Runtime, row: Row, options: argparse.Namespace) -> Figures:
    """One row of micro."""
    command = ["./micro", "-t", str(options.time), "-d", "scratch", row.name]
    out, _ = run(runtime, command, options.timeout)
    answer = last_json(out)
    if "error" in answer:
        raise Failure(str(answer["error"]))
    return {row.name: float(str(answer["ns"]))}


def measure_program(runtime: Runtime, row: Row, options: argparse.Namespace) -> Figures:
    """One script: its time in nanoseconds, or its rates turned into nanoseconds each."""
    program = row.program
    assert program is not None
    absent = programs.missing(program)
    if absent:
        raise Failure(f"{absent} is not installed")
    script = ["./micro", "time", "sh", "-ec", program.script]
    out, err = run(runtime, script, options.timeout)
    answer = last_json(out)
    if answer["status"] != 0:
        lines = [line for line in err.strip().splitlines() if line]
        raise Failure(f"script failed ({answer['status']}): {lines[-1] if lines else ''}")
    if program.rates is None:
        return {program.figures[0]: float(str(answer["ns"]))}
    rates = program.rates(err)
    if set(rates) != set(program.figures):
        raise Failure("the program printed no rate")
    return {name: 1e9 / rate for name, rate in rates.items()}


def measure_start(runtime: Runtime, row: Row, options: argparse.Namespace) -> Figures:
    """From nothing to the end of true(1)."""
    begin = time.monotonic_ns()
    run(runtime, ["true"], options.timeout)
    return {row.name: float(time.monotonic_ns() - begin)}


def measure_memory(runtime: Runtime, row: Row, options: argparse.Namespace) -> Figures:
    """Proportional memory of all processes of an idle sandbox, in bytes."""
    before = set(processes())
    process = start(runtime, ["sleep", "30"])
    try:
        time.sleep(1.5)
        if process.poll() is not None:
            raise Failure(f"ended with status {process.returncode}")
        family = descendants(process.pid, before)
        total = sum(proportional_bytes(pid) for pid in family)
    finally:
        stop(process)
    return {row.name: float(total)}


def last_json(out: str) -> dict[str, object]:
    """The last JSON line of some output."""
    for line in reversed(out.splitlines()):
        if line.startswith("{"):
            found = json.loads(line)
            assert isinstance(found, dict)
            return found
    raise Failure("no figure in the output")


def processes() -> dict[int, int]:
    """Every process with its parent."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int, before: set[int]) -> set[int]:
    """``pid``, its descendants, and new orphans (daemons of the runtime)."""
    parents = processes()
    family = {pid}
    while True:
        more = {p for p, parent in parents.items() if parent in family} - family
        if not more:
            break
        family |= more
    orphans = {p for p, parent in parents.items() if parent == 1 and p not in before}
    return family | orphans


def proportional_bytes(pid: int) -> int:
    """PSS of a process; 0 for one that may not be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


MEASURES = {
    "micro": measure_micro,
    "program": measure_program,
    "start": measure_start,
    "memory": measure_memory,
}


# -- rows ------------------------------------------------------------------------------------------


def all_rows(quick: bool) -> list[Row]:
    """Every row, in the order of the table."""
    listed = subprocess.run([BUILD / "micro", "-l"], capture_output=True, text=True, check=True)
    rows = [Row("start", "start", ("start",)), Row("idle_memory", "memory", ("idle_memory",))]
    rows += [Row(name, "micro", (name,)) for name in listed.stdout.split()]
    rows += [Row(p.name, "program", p.figures, p) for p in programs.programs(quick)]
    return rows


def selected(rows: list[Row], patterns: str) -> list[Row]:
    """The rows that match a comma-separated list of names, kinds or wildcards."""
    wanted = [p.strip() for p in patterns.split(",") if p.strip()]
    if not wanted:
        return rows
    return [
        row
        for row in rows
        if any(
            fnmatch.fnmatch(name, pattern)
            for pattern in wanted
            for name in (row.name, row.kind, *row.figures)
        )
    ]


def fresh_scratch() -> None:
    """An empty directory for what a row writes."""
    shutil.rmtree(WORK / "scratch", ignore_errors=True)
    (WORK / "scratch").mkdir(parents=True)
    (WORK / "scratch").chmod(0o777)


# -- the run ---------------------------------------------------------------------------------------


class Results:
    """Figures and errors by row and runtime."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float]]] = {}
        self.errors: dict[str, dict[str, str]] = {}

    def add(self, runtime: str, figures: Figures) -> None:
        """Note the figures of one run."""
        for name, value in figures.items():
            self.figures.setdefault(name, {}).setdefault(runtime, []).append(value)

    def fail(self, runtime: str, names: tuple[str, ...], words: str) -> None:
        """Note that one run gave nothing."""
        for name in names:
            self.errors.setdefault(name, {})[runtime] = words

    def median(self, name: str, runtime: str) -> float | None:
        """The middle figure of a row in a runtime."""
        values = self.figures.get(name, {}).get(runtime)
        return statistics.median(values) if values else None


def run_all(rows: list[Row], runtimes: list[Runtime], options: argparse.Namespace) -> Results:
    """Every row in every runtime, interleaved."""
    results = Results()
    for turn in range(options.rounds):
        for number, row in enumerate(rows):
            shift = (turn + number) % len(runtimes)
            for runtime in runtimes[shift:] + runtimes[:shift]:
                fresh_scratch()
                if sys.stderr.isatty():
                    words = f"{turn + 1}/{options.rounds} {row.name} in {runtime.name}"
                    print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
                try:
                    results.add(runtime.name, MEASURES[row.kind](runtime, row, options))
                except Failure as failure:
                    results.fail(runtime.name, row.figures, str(failure))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return results


# -- the table -------------------------------------------------------------------------------------


def shown(value: float, memory: bool) -> str:
    """Three digits with a fitting unit."""
    steps = ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB")) if memory else (
        (1, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s"))  # fmt: skip
    size, unit = max((s for s in steps if s[0] <= value), default=steps[0])
    return f"{value / size:.3g} {unit}" if value / size < 1000 else f"{value / size:.0f} {unit}"


def cell(results: Results, name: str, runtime: str) -> str:
    """A figure with its ratio to native, or why there is none."""
    value = results.median(name, runtime)
    if value is None:
        return "failed" if runtime in results.errors.get(name, {}) else "-"
    text = shown(value, name == "idle_memory")
    native = results.median(name, "native")
    if runtime != "native" and native:
        text += f"  {value / native:.2f}x"
    if runtime in results.errors.get(name, {}):
        text += " !"
    return text


def verdict(results: Results, name: str) -> str:
    """The target of a row and whether Wardian meets it."""
    target = TARGETS.get(name)
    if target is None:
        return ""
    native, ours = results.median(name, "native"), results.median(name, "wardian")
    if native is None or ours is None:
        return f"<= {target}x"
    return f"<= {target}x {'met' if ours <= native * target * 1.005 else 'MISSED'}"


def table(results: Results, rows: list[Row], runtimes: list[Runtime]) -> str:
    """A Markdown table."""
    lines = [["row", *(r.name for r in runtimes), "target"]]
    for name in (figure for row in rows for figure in row.figures):
        cells = [cell(results, name, r.name) for r in runtimes]
        lines.append([name, *cells, verdict(results, name)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [" | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "-|-".join("-" * w for w in widths))
    return "\n".join(f"| {line} |" if i != 1 else f"|-{line}-|" for i, line in enumerate(text))


def as_json(results: Results, runtimes: list[Runtime]) -> dict[str, object]:
    """Everything measured; times in nanoseconds, memory in bytes."""
    machine = {"cpus": os.cpu_count(), "kernel": os.uname().release, "machine": os.uname().machine}
    return {
        "machine": machine,
        "load": os.getloadavg(),
        "runtimes": {r.name: r.prefix for r in runtimes},
        "figures": results.figures,
        "errors": results.errors,
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--rows", default="", help="names, kinds (micro, program) or wildcards")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--time", type=int, default=200, help="milliseconds per micro row and round"
    )
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one row")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE (- for stdout)")
    parser.add_argument("--wardian", default=f"{ROOT}/.venv/bin/wardian do --", metavar="COMMAND")
    parser.add_argument("--no-wardian", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.time = 1, min(options.time, 40)
    if any("=" not in peer for peer in options.peer):
        parser.error("--peer takes NAME=COMMAND")
    return options


def main() -> int:
    """Run and print."""
    options = arguments()
    build()
    rows = selected(all_rows(options.quick), options.rows)
    if options.list:
        print("\n".join(f"{row.name:16} {row.kind:8} {' '.join(row.figures)}" for row in rows))
        return 0
    runtimes = [Runtime("native", [])]
    if not options.no_wardian:
        runtimes.append(runtime_of("wardian", options.wardian))
    for peer in options.peer:
        name, _, command = peer.partition("=")
        runtimes.append(runtime_of(name, command))
    WORK.mkdir(parents=True, exist_ok=True)
    programs.prepare(WORK, os.geteuid() == 0)
    for name in SOURCES:
        shutil.copy(BUILD / name, WORK / name)
    results = run_all(rows, runtimes, options)
    if options.json == "-":
        json.dump(as_json(results, runtimes), sys.stdout, indent=1)
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(as_json(results, runtimes), indent=1) + "\n")
    print(table(results, rows, runtimes))
    for name, errors in results.errors.items():
        for where, words in errors.items():
            print(f"{name} in {where}: {words}")
    return 0 if results.figures else 1


if __name__ == "__main__":
    sys.exit(main())
