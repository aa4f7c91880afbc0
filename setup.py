"""The build: the stub (a freestanding program), the C core, and the mypyc-compiled Sentry.

``WARDIAN_NO_MYPYC=1`` leaves the Python as it is: the interpreted build for development.
"""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools._distutils.ccompiler import CCompiler
from setuptools.command.build_ext import build_ext

STUB_FLAGS = (
    "-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pic -fno-pie "
    "-mcmodel=large -mgeneral-regs-only -fno-asynchronous-unwind-tables -fcf-protection=none "
    "-fno-tree-loop-distribute-patterns -Inative/include"
).split()

COMPILED = ["src/wardian/sentry", "src/wardian/platform"]
# Not worth the C compiler's time: tables, texts, and what runs once.
INTERPRETED = ("errno.py", "table.py", "numbers.py", "marshal_gen.py", "strace_gen.py", "hostcpu.py", "kinds.py",
               "constants.py", "specs.py", "zygote.py", "boot.py", "host_interfaces.py")


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


def compile_in_parallel(compiler: CCompiler) -> None:
    """Let ``compiler`` run as many C compilers as there are processors; setuptools runs one."""

    def compile_all(sources, output_dir=None, macros=None, include_dirs=None, debug=0,  # type: ignore[no-untyped-def]
                    extra_preargs=None, extra_postargs=None, depends=None):
        macros, objects, extra, options, build = compiler._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs)
        arguments = compiler._get_cc_args(options, debug, extra_preargs)

        def one(target: str) -> None:
            source, extension = build[target]
            compiler._compile(target, source, extension, arguments, extra, options)

        # The largest first, so that none is left over for a lonely end.
        order = sorted((o for o in objects if o in build), key=lambda o: -Path(build[o][0]).stat().st_size)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(one, order))
        return objects

    compiler.compile = compile_all


class BuildExt(build_ext):
    """Builds the stub beside the extension modules."""

    def build_extensions(self) -> None:
        compile_in_parallel(self.compiler)
        super().build_extensions()

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

    paths = sorted(
        str(p) for root in COMPILED for p in Path(root).rglob("*.py")
        if p.name not in INTERPRETED and p.parent.name != "strace"
    )
    return mypycify(["--strict", *paths], opt_level="2", debug_level="0", multi_file=True)  # type: ignore[no-any-return]


core = Extension(
    "wardian._core",
    ["native/core/core.c", "native/core/hostcalls.c", "native/core/hostfiles.c"],
    include_dirs=["native/include"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"],
)

setup(ext_modules=[core, *compiled_modules()], cmdclass={"build_ext": BuildExt})
