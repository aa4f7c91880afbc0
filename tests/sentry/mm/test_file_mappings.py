"""Records of mapped files: found by host inode, replaced, copied, and forgotten when unmapped."""

from __future__ import annotations

import os
from pathlib import Path

from wardian.sentry.mm.file_mappings import (
    FIRST_BYTES,
    FIRST_LIMIT,
    MAX_FILE_MAPPINGS,
    FileMapping,
    FileMappings,
)


def record(dev: int, ino: int, memory_size: int = -1) -> FileMapping:
    made = FileMapping(0, 4096, None, 0, True)
    made.dev, made.ino, made.memory_size = dev, ino, memory_size
    return made


def filled(*records: FileMapping) -> FileMappings:
    mappings = FileMappings()
    for one in records:
        mappings.add(one)
    return mappings


def test_a_record_names_the_host_inode_of_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    fd = os.open(path, os.O_RDONLY)
    made = record(0, 0)
    made.identify(fd)
    os.close(fd)
    assert (made.dev, made.ino) == (path.stat().st_dev, path.stat().st_ino)


def test_find_goes_by_device_and_inode_and_then_by_inode_alone() -> None:
    here, there = record(1, 7), record(2, 7)
    mappings = filled(here, there, record(1, 8))
    assert mappings.find(1, 7) is here
    assert mappings.find(2, 7) is there
    assert mappings.find(3, 7) in (here, there)  # overlay, btrfs
    assert mappings.find(3, 9) is None
    later = record(1, 9)
    mappings.add(later)
    assert mappings.find(3, 9) is later
    assert filled(record(1, 0)).find(1, 0) is None  # the host's word for no file


def test_a_newer_record_of_the_same_file_counts() -> None:
    old, new = record(1, 7, 100), record(1, 7, 200)
    mappings = filled(old, new)
    assert mappings.find(1, 7) is new
    assert list(mappings.records.values()) == [new]


def test_a_copy_is_another() -> None:
    shared, lost, own = record(1, 7), record(1, 8), record(1, 9)
    mappings = filled(shared, lost)
    copy = mappings.copy()
    copy.add(own)
    mappings.forget_unmapped({(1, 7)}, [])
    assert mappings.find(1, 9) is None and mappings.find(1, 8) is None
    assert copy.find(1, 7) is shared and copy.find(1, 8) is lost and copy.find(1, 9) is own


def test_there_are_never_more_than_the_host_can_map() -> None:
    mappings = FileMappings()
    for ino in range(1, MAX_FILE_MAPPINGS + 11):
        mappings.add(record(1, ino))
    assert len(mappings.records) == MAX_FILE_MAPPINGS
    assert mappings.find(1, 10) is None and mappings.find(1, 11) is not None


def test_forgets_what_is_neither_mapped_nor_coming() -> None:
    mapped, coming, gone = record(1, 7), record(1, 8), record(1, 9)
    mappings = filled(mapped, coming, gone)
    assert mappings.find(5, 9) is gone
    mappings.forget_unmapped({(1, 7), (1, 77)}, [record(1, 8)])
    assert list(mappings.records.values()) == [mapped, coming]
    assert mappings.find(5, 9) is None


def test_what_the_host_lists_under_another_device_is_mapped() -> None:
    odd, same_number = record(0x2B, 7), record(1, 7)
    mappings = filled(odd, same_number, record(0x2B, 8))
    # the list never shows 0x2b: this file system's files stand there as those of 0x29
    mappings.forget_unmapped({(0x29, 7), (1, 5)}, [])
    assert list(mappings.records.values()) == [odd]


def test_many_files_are_worth_a_look_and_after_it_twice_as_many() -> None:
    mappings = FileMappings()
    for ino in range(1, FIRST_LIMIT):
        mappings.add(record(1, ino))
        mappings.add(record(1, 1))
        assert not mappings.worth_a_look()
    mappings.add(record(1, FIRST_LIMIT))
    assert mappings.worth_a_look()
    mappings.forget_unmapped({(1, ino) for ino in range(FIRST_LIMIT)}, [])
    assert len(mappings.records) == FIRST_LIMIT - 1 and not mappings.worth_a_look()
    for ino in range(1000, 1000 + FIRST_LIMIT - 1):
        assert not mappings.worth_a_look()
        mappings.add(record(1, ino))
    assert mappings.worth_a_look()
    mappings.keep_all()
    assert not mappings.worth_a_look()
    mappings.forget_unmapped({(1, 1)}, [])
    assert mappings.limit == FIRST_LIMIT


def test_much_memory_is_worth_a_look_and_after_it_as_much_as_is_still_mapped() -> None:
    half = FIRST_BYTES // 2
    mappings = filled(record(1, 1, half), record(1, 2, half), record(1, 2, half))
    assert not mappings.worth_a_look() and mappings.in_memory == 2
    mappings.add(record(1, 3, 1))
    assert mappings.worth_a_look()
    mappings.forget_unmapped({(1, 3)}, [])
    assert not mappings.worth_a_look() and mappings.in_memory == 1
    large = filled(record(1, 1, 4 * half))
    assert large.worth_a_look()
    large.forget_unmapped({(1, 1)}, [])
    large.add(record(1, 2, 4 * half))
    assert not large.worth_a_look()
    large.add(record(1, 3, 1))
    assert large.worth_a_look()


def test_files_of_the_host_take_none_of_our_memory() -> None:
    mappings = filled(*[record(1, ino) for ino in range(1, 20)])
    assert mappings.in_memory == 0 and mappings.added_bytes == 0
