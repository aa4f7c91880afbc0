"""The build: the stub (a freestanding program), the C core, and the mypyc-compiled Sentry.

``WARDIAN_NO_MYPYC=1`` leaves the Python as it is: with ``build_ext --inplace`` that is all the
source tree needs to be run from (``make interpreted``).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools._distutils.ccompiler import CCompiler
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

STUB_FLAGS = (
    "-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pic -fno-pie "
    "-mcmodel=large -mgeneral-regs-only -fno-asynchronous-unwind-tables -fcf-protection=none "
    "-fno-tree-loop-distribute-patterns -Inative/include"
).split()
CORE_FLAGS = "-std=gnu11 -O2 -Wall -Wextra -Werror -Wno-missing-field-initializers".split()
# Calls from one function of the library to another go straight there and not through a table, in
# case somebody has another one of that name: a tenth of a system call.
LINK_FLAGS = ["-Wl,-Bsymbolic"]

COMPILED = ["src/wardian/sentry", "src/wardian/platform"]
# Not worth the C compiler's time: tables, texts, and what runs once.
INTERPRETED = (
    "errno.py table.py numbers.py marshal_gen.py strace_gen.py hostcpu.py kinds.py constants.py "
    "specs.py zygote.py boot.py host_interfaces.py report.py "
    "__init__.py log.py terminal.py"  # for the launcher, which has no need of the shared library
).split()

PROCESSORS = len(os.sched_getaffinity(0))


def build_stub(target: Path, work: Path) -> None:
    """Compile and link native/stub into ``target``."""
    work.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in sorted(Path("native/stub").glob("*.[cS]")):
        output = work / f"{source.stem}.o"
        subprocess.run(["gcc", *STUB_FLAGS, "-c", str(source), "-o", str(output)], check=True)
        objects.append(str(output))
    link = "ld -static -nostdlib -z noexecstack -T native/stub/stub.lds -o".split()
    subprocess.run([*link, str(target), *objects], check=True)


def newest(paths: Iterable[Path]) -> float:
    """When the last of them was changed."""
    return max((path.stat().st_mtime for path in paths), default=0.0)


def compile_what_changed(compiler: CCompiler, work: Path) -> None:
    """Let ``compiler`` keep objects that are newer than their source and every header, and make the
    others on all processors; setuptools would make all of them, one by one. (After a change of the
    flags in this file: ``make clean``.)"""
    shared = [*work.glob("*.h"), *Path("native").rglob("*.h")]

    def compile_all(
        sources,
        output_dir=None,
        macros=None,
        include_dirs=None,
        debug=0,  # type: ignore[no-untyped-def]
        extra_preargs=None,
        extra_postargs=None,
        depends=None,
    ):
        macros, objects, extra, options, build = compiler._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        arguments = compiler._get_cc_args(options, debug, extra_preargs)
        border = newest(shared)

        def one(target: str) -> None:
            source, extension = build[target]
            made = Path(target).stat().st_mtime if Path(target).exists() else 0.0
            if made <= max(border, Path(source).stat().st_mtime):
                compiler._compile(target, source, extension, arguments, extra, options)

        # The largest first, so that none is left over for a lonely end.
        order = sorted(build, key=lambda o: -Path(build[o][0]).stat().st_size)
        with ThreadPoolExecutor(PROCESSORS) as pool:
            list(pool.map(one, order))
        return objects

    compiler.compile = compile_all


class BuildPy(build_py):
    """Starts from nothing, so that no module outlives its source."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildExt(build_ext):
    """Builds the stub beside the extension modules."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or PROCESSORS

    def build_extensions(self) -> None:
        compile_what_changed(self.compiler, Path("build"))
        super().build_extensions()

    def run(self) -> None:
        super().run()
        package = Path("src/wardian") if self.inplace else Path(self.build_lib) / "wardian"
        package.mkdir(parents=True, exist_ok=True)
        build_stub(package / "stub", Path(self.build_temp) / "stub")

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), str(Path(self.build_lib) / "wardian" / "stub")]


def compiled_modules() -> list[Extension]:
    """The hot packages through mypyc, as one shared library. Not when pip only asks for the
    package's name: it runs this file three times."""
    building = {"build", "build_ext", "bdist_wheel", "install", "editable_wheel"} & set(sys.argv)
    if os.environ.get("WARDIAN_NO_MYPYC") or not building:
        return []
    from mypyc.build import mypycify

    paths = sorted(
        str(path)
        for room in COMPILED
        for path in Path(room).rglob("*.py")
        if path.name not in INTERPRETED and path.parent.name != "strace"
    )
    extensions: list[Extension] = mypycify(
        ["--strict", *paths], opt_level="2", debug_level="0", multi_file=True, group_name="wardian"
    )
    for extension in extensions:
        extension.extra_link_args = [*(extension.extra_link_args or []), *LINK_FLAGS]
        if extension.name.endswith("__mypyc"):  # the library itself
            extension.sources.append("native/python/traceback.c")
            extension.extra_link_args.append("-Wl,--wrap=CPy_AddTraceback")
    return extensions


core = Extension(
    "wardian._core",
    [str(path) for path in sorted(Path("native/core").glob("*.c"))],
    include_dirs=["native/include"],
    extra_compile_args=CORE_FLAGS,
    extra_link_args=LINK_FLAGS,
)

setup(
    ext_modules=[core, *compiled_modules()],
    cmdclass={"build_py": BuildPy, "build_ext": BuildExt},
)
