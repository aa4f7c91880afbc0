"""``WARDIAN_INTERPRETED=1``: the compiled rooms run from the .py files installed beside them.

For the debugger, for coverage, and to tell whether a fault is mypyc's (design D12).
``wardian/__init__.py`` imports this before anything of those rooms is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType

ROOMS = ("wardian.sentry", "wardian.platform")


class SourceFinder:
    """Finds only sources, and only in the compiled rooms."""

    def __init__(self) -> None:
        self.directories: dict[str, FileFinder] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As importlib.abc.MetaPathFinder; None leaves the module to the usual finders."""
        if not path or not fullname.startswith(ROOMS):
            return None
        for directory in path:
            finder = self.directories.get(directory)
            if finder is None:
                finder = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES))
                self.directories[directory] = finder
            spec = finder.find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None


def install() -> None:
    """Ask the :class:`SourceFinder` first from now on."""
    if not any(isinstance(finder, SourceFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SourceFinder())
