"""A profile for people (:func:`table`) and for programs (:func:`figures`, as JSON wants it)."""

from __future__ import annotations

from errno import errorcode
from typing import Any

from wardian.sentry.abi.numbers import syscall_name
from wardian.sentry.profile.profiler import (
    DESCRIPTORS,
    LOOP,
    MESSAGES,
    NO_SUCH_CALL,
    NOTIFICATIONS,
    PROCESSES,
    TIMERS,
    CallTimes,
    Profiler,
)

Figures = dict[str, Any]

OUTSIDE = {
    "asleep": "asleep",
    "spinning": "spinning and taking requests",
    "notifications": "seccomp notifications of mappings",
    "processes": "host processes started and ended",
    "messages": "forks, signals, faults, call sites to patch",
    "descriptors": "host descriptors that became ready",
    "timers": "timers",
    "loop": "the loop itself",
}
"""What the Sentry does outside handlers, in the words of the table."""
SECTIONS = {
    "notifications": NOTIFICATIONS,
    "processes": PROCESSES,
    "messages": MESSAGES,
    "descriptors": DESCRIPTORS,
    "timers": TIMERS,
    "loop": LOOP,
}
MOST_ADVICE = 3
ENOUGH_NS = 50_000_000
"""Less time than this says nothing about the machine."""


def figures(profile: Profiler) -> Figures:
    """All that was measured; times in nanoseconds, calls by total time."""
    hub = profile.engine.hub.statistics()
    wall = profile.ended_ns - profile.began_ns
    asleep = min(hub["slept_ns"], profile.waited_ns)
    calls = sorted(profile.calls.values(), key=lambda call: -call.times.total)
    handlers = sum(call.times.total for call in calls)
    time = {"handlers": handlers, "asleep": asleep, "spinning": profile.waited_ns - asleep}
    time |= {name: profile.spent_ns[section] for name, section in SECTIONS.items()}
    return {
        "wall_ns": wall,
        "sentry_cpu_ns": profile.cpu_ns,
        "requests": hub["requests"],
        "sleeps": hub["sleeps"],
        "spin_hits": hub["spin_hits"],
        "spin_misses": hub["spin_misses"],
        "patched_sites": profile.engine.patched,
        "unpatched_sites": profile.engine.unpatched,
        "time_ns": time,
        "turns": {name: profile.turns[section] for name, section in SECTIONS.items()},
        "calls": [call_figures(call, handlers) for call in calls if call.times.count],
    }


def call_figures(call: CallTimes, handlers: int) -> Figures:
    """One row."""
    times = call.times
    return {
        "name": "no such call" if call.nr == NO_SUCH_CALL else syscall_name(call.nr),
        "number": call.nr,
        "count": times.count,
        "errors": {
            errorcode.get(number, str(number)): count
            for number, count in sorted(call.errors.items(), key=lambda item: -item[1])
        },
        "total_ns": times.total,
        "share": times.total / handlers if handlers else 0.0,
        "mean_ns": times.total // times.count,
        "p50_ns": times.percentile(50),
        "p99_ns": times.percentile(99),
        "max_ns": times.longest,
        "again": call.again,
        "parked_ns": call.parked_ns,
    }


# -- for people ------------------------------------------------------------------------------------
HEAD = ("", "calls", "errors", "total ms", "share", "mean us", "p50", "p99", "max", "parked ms")


def table(found: Figures) -> str:
    """Calls by total time, then the rest of the Sentry's time, then what to do next."""
    rows = [HEAD, *(call_row(call) for call in found["calls"]), total_row(found)]
    lines = [headline(found), "", *aligned(rows)]
    rows = [("", "times", "total ms", "share of all")]
    rows.append(outside_row(found, "handlers", "handlers (the table above)"))
    names = sorted(OUTSIDE, key=lambda name: -found["time_ns"][name])
    rows += [outside_row(found, name, OUTSIDE[name]) for name in names if found["time_ns"][name]]
    lines += ["", *aligned(rows), "", hand_off(found)]
    lines += [f"- {words}" for words in advice(found)]
    return "\n".join(lines) + "\n"


def headline(found: Figures) -> str:
    return (
        f"wardian profile: {found['wall_ns'] / 1e9:.3f} s, {found['requests']} requests, "
        f"{found['sentry_cpu_ns'] / 1e9:.3f} s of processor time in the Sentry"
    )


def hand_off(found: Figures) -> str:
    sites = f"call sites: {found['patched_sites']} patched"
    if found["unpatched_sites"]:
        sites += f", {found['unpatched_sites']} left to trap"
    return (
        f"sleeps: {found['sleeps']}; requests that a spin caught, or could not: "
        f"{found['spin_hits']}, {found['spin_misses']}; {sites}"
    )


def call_row(call: Figures) -> tuple[str, ...]:
    return (
        call["name"],
        str(call["count"]),
        str(sum(call["errors"].values()) or ""),
        millis(call["total_ns"]),
        percents(call["share"]),
        micros(call["mean_ns"]),
        micros(call["p50_ns"]),
        micros(call["p99_ns"]),
        f"{call['max_ns'] / 1e3:.1f}",
        millis(call["parked_ns"]) if call["parked_ns"] else "",
    )


def total_row(found: Figures) -> tuple[str, ...]:
    calls = found["calls"]
    count = sum(call["count"] for call in calls)
    total = sum(call["total_ns"] for call in calls)
    errors = sum(sum(call["errors"].values()) for call in calls)
    mean = micros(total // count) if count else ""
    return ("all", str(count), str(errors or ""), millis(total), "", mean, "", "", "", "")


def outside_row(found: Figures, name: str, words: str) -> tuple[str, ...]:
    turns = {**found["turns"], "asleep": found["sleeps"]}.get(name, 0)
    time = found["time_ns"][name]
    return (words, str(turns or ""), millis(time), percents(part(found, name)))


def part(found: Figures, *names: str) -> float:
    """The share of the whole time that these took."""
    whole = found["wall_ns"]
    return sum(found["time_ns"][name] for name in names) / whole if whole else 0.0


def millis(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f}"


def micros(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e3:.2f}"


def percents(share: float) -> str:
    return f"{100 * share:.1f} %"


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns: the first to the left, figures to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        figures = [word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *figures]).rstrip())
    return lines


# -- what to do next -------------------------------------------------------------------------------
def advice(found: Figures) -> list[str]:
    """The most telling things, at most :data:`MOST_ADVICE`."""
    words = [*of_waiting(found), *of_the_processor(found), *of_calls(found), *of_hosts(found)]
    return words[:MOST_ADVICE]


def of_waiting(found: Figures) -> list[str]:
    asleep, spinning = part(found, "asleep"), part(found, "spinning")
    if asleep + spinning < 0.5:
        return []
    if asleep >= spinning:
        why = "guests compute, or wait themselves: nothing to win here"
        return [f"{100 * asleep:.0f} % asleep: {why}"]
    why = "guests compute between their calls, or the hand-off is most of a call"
    return [f"{100 * spinning:.0f} % spinning: {why}"]


def of_the_processor(found: Figures) -> list[str]:
    awake = found["wall_ns"] - found["time_ns"]["asleep"]
    waited = awake - found["sentry_cpu_ns"]
    if awake < ENOUGH_NS or waited < awake / 10:
        return []
    return [
        f"{100 * waited / awake:.0f} % of its time awake the Sentry had no processor: others use "
        "this machine's, so maxima mean little"
    ]


def of_calls(found: Figures) -> list[str]:
    if not found["calls"] or part(found, "handlers") < 0.1:
        return []
    top = found["calls"][0]
    words = []
    if top["share"] >= 0.3:
        words.append(
            f"{top['name']} is {100 * top['share']:.0f} % of the handlers: --strace={top['name']} "
            "shows the calls, perf (docs/profiling.md) their cost"
        )
    failed = sum(top["errors"].values())
    if failed > top["count"] / 2:
        words.append(f"{failed} of {top['count']} {top['name']} fail: {', '.join(top['errors'])}")
    return words


def of_hosts(found: Figures) -> list[str]:
    work = part(found, "notifications", "processes", "messages")
    if work < 0.2:
        return []
    return [
        f"{100 * work:.0f} % for host processes, notifications and stubs: it is forks, execs or "
        "signals that cost"
    ]
