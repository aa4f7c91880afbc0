"""Run by test_confine.py in a process of its own: applies every layer, then tries what must not
work.

    confined_child.py SETTINGS     (JSON: stub, read, write, outside, without, attempt)

Prints one JSON object. With ``attempt`` set, the sealed Sentry makes that one call instead; how it
ends is reported by the launcher.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable

from wardian.host import syscalls
from wardian.host.confine import Confinement, FileGrant, Plan

Outcome = str


def outcome(action: Callable[[], object]) -> Outcome:
    try:
        return f"ok {action()}"
    except OSError as error:
        return error.strerror or str(error)


def open_at(directory: int, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=directory)


def read_memory(pid: int) -> str:
    """One byte of the (static) stub's own header."""
    word = ctypes.create_string_buffer(4)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(word), 4)
    remote = (ctypes.c_uint64 * 2)(0x400000, 4)
    syscalls.syscall(
        syscalls.NR_PROCESS_VM_READV,
        *(pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0),
    )
    return word.raw.hex()


def read_at(directory: int, name: str) -> str:
    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


def inner_status(proc_fd: int, pid: int, field: str) -> str:
    fd = os.open(f"{pid}/status", os.O_RDONLY, dir_fd=proc_fd)
    with os.fdopen(fd) as file:
        for line in file:
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
    return ""


def entered(box: Confinement, settings: dict[str, str], zygote: int) -> dict[str, Outcome]:
    """What works and what does not between enter() and seal()."""
    read = box.grants[settings["read"], False][0]
    write = box.grants[settings["write"], True][0]
    outside = int(settings["outside"])
    creating = os.O_CREAT | os.O_WRONLY
    found = {
        "read a granted file": outcome(lambda: os.read(open_at(read, "file", os.O_RDONLY), 9)),
        "write below a read-only grant": outcome(lambda: open_at(read, "new", creating)),
        "write below a writable grant": outcome(lambda: open_at(write, "new", creating) > 0),
        "leave a grant by ..": outcome(lambda: open_at(read, "../../etc/passwd", os.O_RDONLY)),
        "open a file by path": outcome(lambda: os.open("/etc/passwd", os.O_RDONLY)),
        "write a file by path": outcome(lambda: os.open("/tmp/wardian-probe", creating)),
        "write to /dev/null": outcome(lambda: os.write(os.open("/dev/null", os.O_WRONLY), b"x")),
        "own maps": outcome(lambda: open("/proc/self/maps").close()),
        "write own code": outcome(lambda: os.open("/proc/self/mem", os.O_RDWR)),
        "mount": outcome(lambda: syscalls.mount("none", "/", "tmpfs", 0)),
        "signal a stranger": outcome(lambda: os.kill(outside, 0)),
        "read a stranger": outcome(lambda: read_memory(outside)),
        "read a guest": outcome(lambda: read_memory(zygote)),
        "connect to an abstract socket": outcome(lambda: abstract(settings["abstract"])),
    }
    names = ("bin", "dev", "etc", "home", "proc", "stub", "sys", "tmp", "usr")
    found["root"] = " ".join(name for name in names if os.path.exists(f"/{name}"))
    if box.proc_fd >= 0:
        found["own group"] = read_at(box.proc_fd, f"{os.getpid()}/cgroup")
        found["guest oom score"] = read_at(box.proc_fd, f"{zygote}/oom_score_adj")
        found["guest capabilities"] = inner_status(box.proc_fd, zygote, "CapPrm")
        found["guest bounding"] = inner_status(box.proc_fd, zygote, "CapBnd")
        found["own capabilities"] = inner_status(box.proc_fd, os.getpid(), "CapPrm")
    return found


def abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + name)


def map_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "nothing": lambda: "alive",
    "read": lambda: os.read(0, 1),
    "wait": lambda: (os.write(1, b"waiting\n"), time.sleep(60)),
    "thread lock": lambda: __import__("_thread").allocate_lock().acquire(timeout=0.01),
    "open": lambda: os.open("/stub", os.O_RDONLY),
    "socket": lambda: socket.socket(socket.AF_INET),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": os.fork,
    "exec": lambda: os.execv("/stub", ["stub"]),
    "code": map_code,
    "ptrace": lambda: syscalls.syscall(101, 0, 0, 0, 0),
    "mount": lambda: syscalls.mount("none", "/", "tmpfs", 0),
    "unshare": lambda: syscalls.unshare(syscalls.CLONE_NEWUSER),
    "type into the terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
    "terminal size": lambda: fcntl.ioctl(0, 0x5413, b"\0" * 8),
    "kill all": lambda: os.kill(-1, 9),
    "bpf": lambda: syscalls.syscall(321, 0, 0, 0),
    "io_uring": lambda: syscalls.syscall(425, 1, 0),
    "unlink": lambda: os.unlink("x"),
    "handle": lambda: syscalls.syscall(304, 0, 0, 0),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
}


def sentry(box: Confinement, settings: dict[str, str]) -> dict[str, object]:
    box.enter()
    actions = [(os.POSIX_SPAWN_DUP2, box.null_fd, fd) for fd in (0, 2)]  # keeps our standard output
    zygote = os.posix_spawn(box.stub, ["guest"], {}, file_actions=actions)
    found = entered(box, settings, zygote)
    box.seal()
    attempt = settings.get("attempt", "nothing")
    result = outcome(ATTEMPTS[attempt])
    signal.pidfd_send_signal(os.pidfd_open(zygote), signal.SIGKILL)
    os.waitpid(zygote, 0)
    layers = {layer.name: layer.state for layer in box.layers.all}
    details = {layer.name: layer.detail for layer in box.layers.all}
    return {
        "layers": layers,
        "details": details,
        "entered": found,
        "attempt": result,
        "pid": os.getpid(),
        "unexplained": [x.name for x in box.layers.missing() if not (x.detail and x.remedy)],
    }


def main() -> None:
    settings = json.loads(sys.argv[1])
    plan = Plan(settings["stub"])
    plan.grants = [FileGrant(settings["read"]), FileGrant(settings["write"], writable=True)]
    plan.without = frozenset(settings.get("without", ()))
    if "memory" in settings:
        plan.limits.memory = int(settings["memory"])
    plan.debug = bool(settings.get("debug"))
    listener = socket.socket(socket.AF_UNIX)
    settings["abstract"] = f"wardian-{os.getpid()}"
    listener.bind("\0" + settings["abstract"])
    listener.listen()
    box = Confinement(plan)
    box.prepare()
    child = os.fork()
    if child == 0:
        listener.close()
        try:
            print(json.dumps(sentry(box, settings)), flush=True)
        except BaseException as error:
            print(json.dumps({"error": repr(error)}), flush=True)
            raise
        os._exit(0)
    _, status = os.waitpid(child, 0)
    peak = box.group.usage().memory_peak if box.group else None
    group = [place.directory for place in box.group.directories.values()] if box.group else []
    box.finish()
    left = [directory for directory in group if os.path.exists(directory)]
    print(
        json.dumps(
            {
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                "peak": peak,
                "left": left,
                "launcher sees": os.path.exists("/usr"),
            }
        )
    )


main()
