"""A child process of test_core.py: runs one function on the instrumented wardian._core.

python core_child.py EXTENSION MODULE FUNCTION
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys


def overrun() -> None:
    """No case: proves that the sanitizer looks."""
    from wardian import _core

    buffer = bytearray(16)
    ctypes.string_at(_core.address_of(buffer), 64)


def main(extension: str, module: str, function: str) -> None:
    """Nothing has imported wardian._core yet."""
    spec = importlib.util.spec_from_file_location("wardian._core", extension)
    assert spec is not None and spec.loader is not None
    core = importlib.util.module_from_spec(spec)
    sys.modules["wardian._core"] = core
    spec.loader.exec_module(core)
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    main(*sys.argv[1:])
