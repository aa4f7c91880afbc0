"""What a system-call argument is: the vocabulary of handler signatures (house style, "said once").

Each kind is a ``NewType`` (free when compiled). From the kinds in a handler's signature the
generator (``tools/gen_syscalls.py``) makes decoding, the stub's marshalling table and strace
output.

Rules: an ``InBuf`` is as long as the integer argument that follows it says; with a ``Size`` it is
empty when not all bytes came along, and the handler takes them from guest memory
(``usercopy.source_of``). An ``In...`` struct has the fixed size of :data:`STRUCT_SIZES`; ``| None``
in the signature allows a null pointer, otherwise null is EFAULT. Addresses the handler itself reads
or writes (``task.copy_in``, ``task.copy_out``) are ``Addr``.
"""

from typing import Final, NewType

# plain values
Int = NewType("Int", int)  # C int, signed 32 bits
UInt = NewType("UInt", int)  # unsigned 32 bits
Long = NewType("Long", int)  # signed 64 bits
ULong = NewType("ULong", int)  # unsigned 64 bits
Size = NewType("Size", int)  # size_t
Offset = NewType("Offset", int)  # off_t, signed 64 bits
FD = NewType("FD", int)  # descriptor, or AT_FDCWD; signed 32 bits
Pid = NewType("Pid", int)  # signed 32 bits
Uid = NewType("Uid", int)  # unsigned 32 bits; 0xffffffff is "-1"
Gid = NewType("Gid", int)
Signo = NewType("Signo", int)  # signed 32 bits
Mode = NewType("Mode", int)  # mode_t, printed in octal
Flags = NewType("Flags", int)  # unsigned 32 bits; the row names the flag set for strace
LongFlags = NewType("LongFlags", int)  # unsigned 64 bits
ClockId = NewType("ClockId", int)  # signed 32 bits

# guest addresses
Addr = NewType("Addr", int)  # anything; strace prints hex
InIovec = NewType("InIovec", int)  # its buffers are read, and ``usercopy`` knows what was sent
OutIovec = NewType("OutIovec", int)  # its buffers are written
OutBuf = NewType("OutBuf", int)  # written by the handler; strace prints what was written

# copied in with the request
UserPath = NewType("UserPath", bytes)  # NUL-terminated, at most PATH_MAX; ENAMETOOLONG, EFAULT
UserString = NewType(
    "UserString", bytes
)  # NUL-terminated name (xattr, sethostname, memfd_create, ...)
InBuf = NewType("InBuf", bytes)
InTimespec = NewType("InTimespec", bytes)
InTimeval = NewType("InTimeval", bytes)
InTimespec2 = NewType("InTimespec2", bytes)  # two timespecs (utimensat)
InTimeval2 = NewType("InTimeval2", bytes)  # two timevals (utimes)
InItimerspec = NewType("InItimerspec", bytes)
InItimerval = NewType("InItimerval", bytes)
InSigset = NewType("InSigset", bytes)
InSigaction = NewType("InSigaction", bytes)  # struct kernel_sigaction
InStack = NewType("InStack", bytes)  # stack_t
InSiginfo = NewType("InSiginfo", bytes)
InRlimit = NewType("InRlimit", bytes)
InEpollEvent = NewType("InEpollEvent", bytes)
InFlock = NewType("InFlock", bytes)

STRUCT_SIZES: Final = {
    "InTimespec": 16,
    "InTimeval": 16,
    "InTimespec2": 32,
    "InTimeval2": 32,
    "InItimerspec": 32,
    "InItimerval": 32,
    "InSigset": 8,
    "InSigaction": 32,
    "InStack": 24,
    "InSiginfo": 128,
    "InRlimit": 16,
    "InEpollEvent": 12,
    "InFlock": 32,
}
