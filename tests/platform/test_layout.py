"""The C and the Python side of the channel mean the same numbers.

``native/include/channel.h`` decides; ``platform/layout.py`` and ``platform/stub/wire.py`` repeat
it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from wardian.platform import layout
from wardian.platform.stub import wire
from wardian.sentry.syscalls.task import EXEC_STRINGS

NATIVE = Path(__file__).parents[2] / "native"
HEADER = NATIVE / "include/channel.h"
LINKER = NATIVE / "stub/stub.lds"

STRUCTS = {
    "sizeof(struct image)": wire.IMAGE.size,
    "sizeof(struct image_map)": wire.IMAGE_MAP.size,
    "sizeof(struct image_blob)": wire.IMAGE_BLOB.size,
    "sizeof(struct deliver)": wire.DELIVER.size,
    "sizeof(struct ids)": wire.IDS.size,
    "sizeof(struct exec_strings)": EXEC_STRINGS.size,
    "offsetof(struct slot, ids)": wire.IDS_OFFSET,
    "offsetof(struct slot, siginfo)": wire.SIGINFO_OFFSET,
    "offsetof(struct slot, data)": wire.DATA_OFFSET,
}
ONLY_C = {
    "STACKS_SIZE": "only the zygote maps all stacks",
    "STUB_RODATA": "the linker script has it",
    "STUB_DATA": "the linker script has it",
    "OUT_ZEROS": "core and stub alone put replies together and take them apart",
    "OUT_CONTENTS": "the same",
    "KIND_READY": "a byte on the pool process's socket, not a message of a channel",
}


def names_of_header() -> list[str]:
    """Every constant that the header defines."""
    text = HEADER.read_text()
    defined = re.findall(r"^#define (\w+)[ \t]+\S", text, re.MULTILINE)
    return defined + re.findall(r"^ {4}((?:KIND|ACTION)_\w+) =", text, re.MULTILINE)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the C compiler makes of each name and of :data:`STRUCTS`."""
    folder = tmp_path_factory.mktemp("layout")
    lines = [f'P("{what}", {what})' for what in [*names_of_header(), *STRUCTS]]
    source = folder / "print.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "channel.h"\n'
        '#define P(name, value) printf("%s=%lu\\n", name, (unsigned long)(value));\n'
        "int main(void) {\n" + "\n".join(lines) + "\n}\n"
    )
    program = folder / "print"
    subprocess.run(["gcc", f"-I{HEADER.parent}", "-o", program, source], check=True)
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"^(.*)=(\d+)$", output, re.MULTILINE)}


def python_value(name: str) -> int | None:
    """The same name on the Python side."""
    value = getattr(layout, name, getattr(wire, name, None))
    return value if isinstance(value, int) else None


def test_header_is_understood() -> None:
    names = names_of_header()
    assert {"GUEST_TOP", "DATA_SIZE", "SLOT_SIZE", "KIND_SYSCALL", "ACTION_EXIT"} <= set(names)
    assert len(names) > 40


def test_python_has_every_name_of_the_header_with_its_value(values: dict[str, int]) -> None:
    ours = {name: python_value(name) for name in names_of_header() if name not in ONLY_C}
    assert ours == {name: values[name] for name in ours}


def test_python_has_no_message_that_the_header_lacks() -> None:
    ours = {name for name in vars(wire) if name.startswith(("KIND_", "ACTION_"))}
    assert ours <= set(names_of_header())


def test_structs_have_the_same_size_and_place(values: dict[str, int]) -> None:
    assert {what: values[what] for what in STRUCTS} == STRUCTS


def test_linker_script_puts_the_sections_where_the_filter_expects_them(
    values: dict[str, int],
) -> None:
    places = [int(place, 16) for place in re.findall(r"0x[0-9a-f]{12}", LINKER.read_text())]
    wanted = ["LOADER_TEXT", "STUB_TEXT", "STUB_TEXT_END", "STUB_RODATA", "STUB_DATA"]
    assert set(places) <= {layout.TRUSTED_BASE, *(values[name] for name in wanted)}
    assert {layout.LOADER_TEXT, layout.STUB_TEXT} <= set(places)
    assert layout.LOADER_TEXT_END == layout.STUB_TEXT
