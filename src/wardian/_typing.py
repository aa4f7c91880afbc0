"""A stand-in for ``typing`` in the processes that are ours: the command line and the Sentry.

Python needs as long for ``typing`` and what that imports (``re``, ``enum``, ``functools``,
``collections``, ``contextlib``) as for its own start, and our modules want three or four names of
it that mean nothing at run time. Whoever asks for another name gets the real module, from then on.
``mypy_extensions`` imports ``typing``, so it has a stand-in too.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)


class Special:
    """Final and the like, with or without brackets."""

    def __class_getitem__(cls, item: object) -> type[Special]:
        return cls


def same(value: object) -> object:
    """What calling a NewType does."""
    return value


def new_type(name: str, base: object) -> object:
    """NewType."""
    return same


def mypyc_attr(**attributes: object) -> object:
    """What mypyc reads; nothing to the interpreter."""
    return same


def cast(kind: object, value: object) -> object:
    """As typing's."""
    return value


class StandIn(ModuleType):
    """Has a few names, and the others when somebody wants them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of modules, which importlib looks for
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


NAMES: dict[str, dict[str, object]] = {
    "typing": {
        "TYPE_CHECKING": False,
        "Any": object,
        "ClassVar": Special,
        "Final": Special,
        "NewType": new_type,
        "cast": cast,
    },
    "mypy_extensions": {"i64": int, "mypyc_attr": mypyc_attr, "trait": same},
}


def stand_in() -> None:
    """Before anything else of ours is imported."""
    for name, contents in NAMES.items():
        if name not in sys.modules:
            module = StandIn(name)
            module.__dict__.update(contents)
            sys.modules[name] = module
