"""C built with sanitizers, and how a child process runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
SOURCE = HERE.parents[1] / "src"
SANITIZE = (
    "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1 "
    "-std=gnu11 -Wall -Wextra -Werror"
).split()
# A leak of the interpreter is none of ours; a huge allocation is to be a MemoryError.
REPORTED = 99
OPTIONS = {
    "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:exitcode={REPORTED}",
    "UBSAN_OPTIONS": f"print_stacktrace=1:exitcode={REPORTED}",
}


def compile_c(output: Path, *words: str | Path) -> Path:
    """gcc with both sanitizers and every warning an error."""
    subprocess.run(["gcc", *SANITIZE, f"-I{NATIVE / 'include'}", "-o", output, *words], check=True)
    return output


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what was built so; a report ends it with REPORTED and is on its standard error."""
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **OPTIONS, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def build_core(folder: Path) -> Path:
    """native/core as an extension module."""
    return compile_c(
        folder / "_core.so",
        "-shared",
        "-fPIC",
        "-Wno-missing-field-initializers",
        "-isystem",
        sysconfig.get_path("include"),
        *sorted((NATIVE / "core").glob("*.c")),
    )


def run_with_core(extension: Path, module: str, function: str) -> subprocess.CompletedProcess[str]:
    """Run one function in an interpreter whose every allocation is watched."""
    libasan = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return run(
        sys.executable,
        HERE / "core_child.py",
        extension,
        module,
        function,
        PYTHONPATH=f"{SOURCE}:{HERE}",
        PYTHONMALLOC="malloc",
        PYTHONDONTWRITEBYTECODE="1",
        LD_PRELOAD=libasan,
    )
