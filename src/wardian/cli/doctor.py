"""``wardian doctor``: which layers of confinement this host gives, which are missing, how to get
them."""

from __future__ import annotations

import json
import os
import sys
import textwrap

from wardian.cli.options import Parser
from wardian.host import doctor

HEADINGS = {
    doctor.NEEDED: "Needed to run at all",
    doctor.LAYER: "Layers of confinement",
    doctor.FASTER: "Nice to have",
}
WIDTH = 100


def build_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        prog="wardian doctor",
        allow_abbrev=False,
        description="Examine this host, as this user. The exit status is 0 when sandboxes can run "
        "here, if perhaps with fewer layers, and 1 when they cannot.",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when any layer is missing, too"
    )
    return parser


def stub_path() -> str:
    """The stub, or where it is not built yet, any program: it is only copied."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "stub")
    return path if os.path.isfile(path) else sys.executable


def verdict(report: doctor.Report) -> str:
    """The first line."""
    if not report.can_run():
        return "Sandboxes cannot run here."
    if report.lacking():
        return f"Sandboxes can run here, without all layers: {', '.join(report.lacking())}."
    return "Sandboxes can run here, with all layers of confinement."


def table(report: doctor.Report) -> str:
    """For people."""
    lines = [verdict(report)]
    for kind, heading in HEADINGS.items():
        lines += ["", heading]
        for check in report.checks:
            if check.kind == kind:
                lines += _entry(check)
    return "\n".join([*lines, ""])


def _entry(check: doctor.Check) -> list[str]:
    start = f"  {check.state:<8} {check.name:<22} "
    lines = _wrapped(start, check.detail)
    if check.state != doctor.OK and check.remedy:
        lines += _wrapped(" " * 11 + "to get it: ", check.remedy)
    return lines


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)) or [
        start.rstrip()
    ]


def main(arguments: list[str]) -> int:
    """The command; answers the exit status."""
    options = build_parser().parse_args(arguments)
    report = doctor.examine(stub_path())
    if options.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
    else:
        sys.stdout.write(table(report))
    good = report.can_run() and not (options.strict and report.lacking())
    return 0 if good else 1
