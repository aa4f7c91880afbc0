"""Files in memory that are mapped: theirs is the space while a mapping is left, and no longer."""

from __future__ import annotations

import sys

from harness import Differential

PYTHON = sys.executable

MAPPED = """
import errno, mmap, os, sys
MIB = 1 << 20

def mapped(name, size, start):
    '''A file of which nothing is left but its mapping.'''
    fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    os.posix_fallocate(fd, 0, size)
    memory = mmap.mmap(fd, size)
    memory[:len(start)] = start
    os.unlink(name)
    os.close(fd)
    return memory

def shown():
    with open("/proc/self/maps") as lines:
        return [line.split(None, 5)[5] for line in lines if "wardian-" in line]
"""

PASSING = f"""{MAPPED}
kept = mapped("/dev/shm/wardian-kept", MIB, b"kept")
for number in range(300):
    mapped(f"/dev/shm/wardian-{{number}}", MIB, b"passing").close()
print(kept[:4], shown())
kept.close()
print(shown())
"""

FULL = f"""{MAPPED}
def room():
    '''How many MiB there is room for.'''
    fd = os.open("/dev/shm/filler", os.O_CREAT | os.O_RDWR)
    os.unlink("/dev/shm/filler")
    count = 0
    try:
        while True:
            os.posix_fallocate(fd, count * MIB, MIB)
            count += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC
    os.close(fd)
    return count

empty = room()
kept = mapped("/dev/shm/wardian-kept", 8 * MIB, b"kept")
print(empty - room(), kept[:4], flush=True)
child = os.fork()
if not child:
    kept.close()
    print(empty - room(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
kept.close()
print(empty - room())
"""

THREADS = f"""{MAPPED}
import threading
def work(own):
    kept = mapped(f"/dev/shm/wardian-kept-{{own}}", 65536, b"kept")
    for number in range(100):
        mapped(f"/dev/shm/wardian-{{own}}-{{number}}", 65536, b"passing").close()
    print(shown().count(f"/dev/shm/wardian-kept-{{own}} (deleted)\\n"), kept[:4])
threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_files_that_are_not_mapped_any_more_take_no_room(differential: Differential) -> None:
    # a half of the memory is for files: there is never room for more than 32 of these
    differential([PYTHON, "-c", PASSING], options=["--memory", "64m"], expect="kept (deleted)")


def test_a_file_has_its_room_until_nobody_maps_it(differential: Differential) -> None:
    outcome = differential.inside([PYTHON, "-c", FULL], ["--memory", "64m"])
    assert outcome.stdout == "8 b'kept'\n8\n0\n", outcome


def test_threads_that_map_at_the_same_time_keep_their_own(differential: Differential) -> None:
    differential([PYTHON, "-c", THREADS], expect="1 b'kept'\n")


def test_names_with_odd_white_space_are_one_line_of_maps(differential: Differential) -> None:
    name = "wardian-\x0c1000-2000 r--s 0 00:01 7 x\x0bGG y z a b"
    differential.write(name, "x" * 100)
    script = f"""{MAPPED}
with open({name!r}, "rb") as file:
    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print(memory[:3], ascii(open("/proc/self/maps", newline="\\n").read().count({name!r})))
"""
    differential([PYTHON, "-c", script], expect="b'xxx' 1")
