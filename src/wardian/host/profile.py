"""``--profile[=FILE]``: the file is opened before anything else, written after the last program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.host.messages import STDERR, complain, write_line

if TYPE_CHECKING:
    from wardian.host.config import Config
    from wardian.sentry.profile.profiler import Profiler


def preload(path: str) -> None:
    """Import what :func:`write` needs."""
    import wardian.sentry.profile.report  # noqa: F401

    if wants_json(path):
        import json  # noqa: F401


def wants_json(path: str) -> bool:
    """By the file's name."""
    return path.endswith(".json")


def write(config: Config, profile: Profiler) -> None:
    """The table, or JSON, to where it is wanted."""
    from wardian.sentry.profile.report import figures, table

    found = figures(profile)
    if config.profile_fd == STDERR:
        write_line(table(found))
        return
    if wants_json(config.profile or ""):
        import json

        found = {"command": config.argv, **found}
        text = json.dumps(found, indent=1) + "\n"
    else:
        text = table(found)
    try:
        data = os.fsencode(text)
        while data:
            data = data[os.write(config.profile_fd, data) :]
    except OSError as e:
        complain(f"cannot write the profile {config.profile}: {e.strerror}")
