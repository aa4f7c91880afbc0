"""The build: the stub (a freestanding program), the C core, and the mypyc-compiled Sentry.

``WARDIAN_NO_MYPYC=1`` leaves the Python as it is: the interpreted build for development.
"""

import os
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

STUB_FLAGS = (
    "-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pic -fno-pie "
    "-mcmodel=large -mgeneral-regs-only -fno-asynchronous-unwind-tables -fcf-protection=none "
    "-fno-tree-loop-distribute-patterns -Inative/include"
).split()

COMPILED = ["src/wardian/sentry", "src/wardian/platform"]


def build_stub(target: Path, work: Path) -> None:
    """Compile and link native/stub into ``target``."""
    work.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in ("zygote.c", "trap.c", "start.S"):
        output = work / (source + ".o").replace(".c.o", ".o").replace(".S.o", ".o")
        subprocess.run(["gcc", *STUB_FLAGS, "-c", f"native/stub/{source}", "-o", str(output)], check=True)
        objects.append(str(output))
    subprocess.run(
        ["ld", "-static", "-nostdlib", "-z", "noexecstack", "-T", "native/stub/stub.lds", "-o", str(target), *objects],
        check=True,
    )


class BuildExt(build_ext):
    """Builds the stub beside the extension modules."""

    def run(self) -> None:
        super().run()
        package = Path("src/wardian") if self.inplace else Path(self.build_lib) / "wardian"
        package.mkdir(parents=True, exist_ok=True)
        build_stub(package / "stub", Path(self.build_temp))

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(Path(self.build_lib) / "wardian" / "stub")]


def compiled_modules() -> list[Extension]:
    """The hot packages through mypyc, as one shared library."""
    if os.environ.get("WARDIAN_NO_MYPYC"):
        return []
    from mypyc.build import mypycify

    paths = sorted(str(p) for root in COMPILED for p in Path(root).rglob("*.py"))
    return mypycify(["--strict", *paths], opt_level="2", debug_level="0", multi_file=True)  # type: ignore[no-any-return]


core = Extension(
    "wardian._core",
    ["native/core/core.c"],
    include_dirs=["native/include"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"],
)

setup(ext_modules=[core, *compiled_modules()], cmdclass={"build_ext": BuildExt})
