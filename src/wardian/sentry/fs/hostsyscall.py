"""Host system calls that Python's ``os`` has no function for, by number.

The C core makes them (``_core.host_syscall``); ctypes, slow to import, stands in where the core is
not built, as for unit tests of a fresh checkout.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def find_core() -> ModuleType | None:
    """The C core, when it is built."""
    try:
        from wardian import _core
    except ImportError:
        return None
    return _core


def core_function(name: str) -> Callable[..., Any] | None:
    """A function of the C core, or None where there is none of that name."""
    core = find_core()
    if core is None:
        return None
    function: Callable[..., Any] | None = getattr(core, name, None)
    return function


def host_syscall_function() -> Callable[..., Any]:
    """``call(number, *args)``: ints, bytes and bytearrays to be filled; the result, or OSError."""
    return core_function("host_syscall") or CtypesCall().call


def address_function() -> Callable[..., Any]:
    """``address(bytearray)``: where it lies; the caller keeps it alive and does not resize it."""
    return core_function("address_of") or ctypes_address


def ctypes_address(buffer: bytearray) -> int:
    """The same through ctypes."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class CtypesCall:
    """syscall(2) through ctypes."""

    def __init__(self) -> None:
        import ctypes

        self.function: Callable[..., Any] = ctypes.CDLL(None, use_errno=True)["syscall"]

    def call(self, number: int, *args: object) -> int:
        """Make the call; OSError for a failure."""
        import ctypes

        values: list[Any] = [ctypes.c_long(number)]
        for value in args:
            if isinstance(value, bytearray):
                values.append(ctypes.c_void_p(ctypes_address(value)))
            elif isinstance(value, bytes):
                values.append(ctypes.c_char_p(value))
            else:
                assert isinstance(value, int)
                values.append(ctypes.c_long(value))
        result = ctypes.c_long(self.function(*values)).value
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
