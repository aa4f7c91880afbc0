"""Writes docs/confinement.md, and the compiled filters, from the policies in ``wardian.host``.

    python tools/gen_confinement.py [--check]

``--check`` writes nothing and fails when one of them is stale.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from wardian.host import guest_policy, sentry_policy
from wardian.host.seccomp_bpf import ACTION_NAMES, Rule

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "confinement.md"
FILTERS = ROOT / "src" / "wardian" / "host" / "filters_gen.py"

HEAD = """\
# Confinement

<!-- Written by tools/gen_confinement.py from src/wardian/host/*_policy.py: change it there. -->

A guest's system calls are answered by the Sentry, not by the host. What follows is everything
that reaches the host kernel all the same: first from guest processes, then from the Sentry. Both
lists are enforced by seccomp filters compiled from the same rows as these tables, and
`tests/host/test_guest_policy.py` compares the guest's filter with the design for every number,
both architectures' numbering, x32 and the arguments around every border. `wardian doctor` shows
which of the other layers this machine gives.

## The layers, and the order they are put on

1. **Limits**: a control group (version 1 or 2) for memory, processors and processes.
2. **Namespaces**: user, mount, pid, net, ipc, uts, cgroup. The Sentry is the first process of the
   pid namespace: it can name no process but its guests', and they end with it, however it ends.
3. **Granted directories**: copies of their mounts, without devices, read-only where not writable;
   kernel interfaces (`/proc`, `/sys`, `/dev`, ...) are covered first.
4. **Empty root**: a read-only file system that holds the stub program, `/dev/null`, and a `/proc`
   with no processes but the sandbox's.
5. **Landlock**: opening beneath granted directories only; no TCP, no abstract sockets, no signals
   to and no look into processes outside. The zygote is born inside.
6. **Capabilities**: none; root keeps those that files of other users need, inside its user
   namespace.
7. **The zygote starts**: guest processes inherit all of the above, and the guest's filters.
8. **The Sentry's filter.**

Each is used where the host allows it. 7 and 8 need no privilege and are always there. In a
container without namespaces, Landlock alone keeps the Sentry to its files and its processes.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(rows: Sequence[Rule]) -> list[str]:
    lines = ["| call | when | then | why it is there, and harmless |", "|---|---|---|---|"]
    for row in rows:
        when = "; ".join(condition.text() for condition in row.conditions) or "always"
        action = ACTION_NAMES[row.action & 0xFFFF_0000 if row.action >> 31 == 0 else row.action]
        lines.append(f"| `{row.call}` | {cell(when)} | {action} | {cell(row.reason)} |")
    return lines


def grouped(rows: Sequence[Rule]) -> list[str]:
    lines: list[str] = []
    for group in dict.fromkeys(row.group for row in rows):
        lines += ["", f"### {group[0].upper()}{group[1:]}", ""]
        lines += table([row for row in rows if row.group == group])
    return lines


def page() -> str:
    guest = guest_policy.rows()
    size = len(guest_policy.first_filter()) // 8
    ordinary = sentry_policy.rows()
    everything = sentry_policy.rows(writable_volume=True, network=True)
    calls = len({row.number for row in ordinary})
    lines = [
        HEAD,
        "## What a guest process may ask of the host",
        "",
        "The first row that fits decides. *allow*: the host runs the call. *notify*: the call "
        "waits until",
        "the Sentry, told of its arguments, lets it go on. Whatever no row fits, and every number"
        " of another",
        "architecture or of x32, is a *trap*: the stub gets SIGSYS and sends a message to the "
        "Sentry. "
        f"The filter has {size} instructions.",
        "",
        "*Stub text* and *loader text* are where the `syscall` instruction stands. A second "
        "filter, installed",
        "just before the first guest instruction, turns every call from loader text into a trap. "
        "With",
        "`--memory-mode=validated` the rows of *own memory* are notified, from stub text only, the "
        "Sentry",
        "checks them again, and every mapping of a file is notified as well.",
        *grouped(guest),
        "",
        "## What the Sentry may ask of the host",
        "",
        f"{calls} calls, and those of a writable volume or of `--network=host` where one is asked",
        "for. Any other call ends the Sentry at once.",
        *grouped(everything),
        "",
        "Refused with an errno instead, since the C library and CPython can do without: "
        + "; ".join(f"`{c}` ({why})" for c, (_, why) in sentry_policy.REFUSED.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def hexadecimal(program: bytes) -> str:
    """A literal of many lines."""
    text = program.hex()
    lines = [text[at : at + 96] for at in range(0, len(text), 96)]
    return '"""\n' + "\n".join(lines) + '\n"""'


def programs() -> str:
    """The module of compiled filters."""
    lines = [
        '"""Compiled from the policies by tools/gen_confinement.py. Do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "FIRST: dict[bool, str] = {",
    ]
    for validated in (False, True):
        program = hexadecimal(guest_policy.first_filter(validated))
        lines.append(f"    {validated}: {program},")
    lines += [
        "}",
        '"""By whether memory calls are validated."""',
        f"SECOND = {hexadecimal(guest_policy.second_filter())}",
        "SENTRY: dict[tuple[bool, bool, bool], tuple[int, str]] = {",
    ]
    for key in itertools.product((False, True), repeat=3):
        rows = sentry_policy.rows(*key)
        calls = len({row.number for row in rows})
        program = hexadecimal(sentry_policy.sentry_filter(rows))
        lines.append(f"    {key}: ({calls}, {program}),")
    lines += [
        "}",
        '"""By writable volumes, the host\'s network, and whether the host has getxattrat(2)."""',
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    made = {PAGE: page(), FILTERS: programs()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is stale: run python tools/gen_confinement.py")
        return int(bool(stale))
    for path in stale:
        path.write_text(made[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
