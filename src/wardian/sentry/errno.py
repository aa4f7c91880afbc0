"""errno(3) as exceptions: one small class per error, raised with the words for the log.

    raise EINVAL("flags must be O_CLOEXEC or 0")

A raised ``LinuxError`` becomes ``-number`` in the guest's result register. Expected outcomes on hot
paths (would-block, end of file) are returned, never raised: see :data:`WOULD_BLOCK`.
Source: errno(3), include/uapi/asm-generic/errno.h.
"""

from __future__ import annotations

from typing import ClassVar, Final

WOULD_BLOCK: Final = -11
"""What a non-blocking core returns instead of raising EAGAIN: nothing now, ask the wait queue."""


class LinuxError(Exception):
    """A system call's failure; ``number`` is the positive errno."""

    number: ClassVar[int] = 0
    name: ClassVar[str] = ""

    def __init__(self, words: str = "") -> None:
        super().__init__(words)
        self.words = words

    def __str__(self) -> str:
        return f"{self.name}: {self.words}" if self.words else self.name


class EPERM(LinuxError):
    """Operation not permitted."""

    number: ClassVar[int] = 1
    name: ClassVar[str] = "EPERM"


class ENOENT(LinuxError):
    """No such file or directory."""

    number: ClassVar[int] = 2
    name: ClassVar[str] = "ENOENT"


class ESRCH(LinuxError):
    """No such process."""

    number: ClassVar[int] = 3
    name: ClassVar[str] = "ESRCH"


class EINTR(LinuxError):
    """Interrupted system call."""

    number: ClassVar[int] = 4
    name: ClassVar[str] = "EINTR"


class EIO(LinuxError):
    """Input/output error."""

    number: ClassVar[int] = 5
    name: ClassVar[str] = "EIO"


class ENXIO(LinuxError):
    """No such device or address."""

    number: ClassVar[int] = 6
    name: ClassVar[str] = "ENXIO"


class E2BIG(LinuxError):
    """Argument list too long."""

    number: ClassVar[int] = 7
    name: ClassVar[str] = "E2BIG"


class ENOEXEC(LinuxError):
    """Exec format error."""

    number: ClassVar[int] = 8
    name: ClassVar[str] = "ENOEXEC"


class EBADF(LinuxError):
    """Bad file descriptor."""

    number: ClassVar[int] = 9
    name: ClassVar[str] = "EBADF"


class ECHILD(LinuxError):
    """No child processes."""

    number: ClassVar[int] = 10
    name: ClassVar[str] = "ECHILD"


class EAGAIN(LinuxError):
    """Resource temporarily unavailable."""

    number: ClassVar[int] = 11
    name: ClassVar[str] = "EAGAIN"


class ENOMEM(LinuxError):
    """Cannot allocate memory."""

    number: ClassVar[int] = 12
    name: ClassVar[str] = "ENOMEM"


class EACCES(LinuxError):
    """Permission denied."""

    number: ClassVar[int] = 13
    name: ClassVar[str] = "EACCES"


class EFAULT(LinuxError):
    """Bad address."""

    number: ClassVar[int] = 14
    name: ClassVar[str] = "EFAULT"


class ENOTBLK(LinuxError):
    """Block device required."""

    number: ClassVar[int] = 15
    name: ClassVar[str] = "ENOTBLK"


class EBUSY(LinuxError):
    """Device or resource busy."""

    number: ClassVar[int] = 16
    name: ClassVar[str] = "EBUSY"


class EEXIST(LinuxError):
    """File exists."""

    number: ClassVar[int] = 17
    name: ClassVar[str] = "EEXIST"


class EXDEV(LinuxError):
    """Invalid cross-device link."""

    number: ClassVar[int] = 18
    name: ClassVar[str] = "EXDEV"


class ENODEV(LinuxError):
    """No such device."""

    number: ClassVar[int] = 19
    name: ClassVar[str] = "ENODEV"


class ENOTDIR(LinuxError):
    """Not a directory."""

    number: ClassVar[int] = 20
    name: ClassVar[str] = "ENOTDIR"


class EISDIR(LinuxError):
    """Is a directory."""

    number: ClassVar[int] = 21
    name: ClassVar[str] = "EISDIR"


class EINVAL(LinuxError):
    """Invalid argument."""

    number: ClassVar[int] = 22
    name: ClassVar[str] = "EINVAL"


class ENFILE(LinuxError):
    """Too many open files in system."""

    number: ClassVar[int] = 23
    name: ClassVar[str] = "ENFILE"


class EMFILE(LinuxError):
    """Too many open files."""

    number: ClassVar[int] = 24
    name: ClassVar[str] = "EMFILE"


class ENOTTY(LinuxError):
    """Inappropriate ioctl for device."""

    number: ClassVar[int] = 25
    name: ClassVar[str] = "ENOTTY"


class ETXTBSY(LinuxError):
    """Text file busy."""

    number: ClassVar[int] = 26
    name: ClassVar[str] = "ETXTBSY"


class EFBIG(LinuxError):
    """File too large."""

    number: ClassVar[int] = 27
    name: ClassVar[str] = "EFBIG"


class ENOSPC(LinuxError):
    """No space left on device."""

    number: ClassVar[int] = 28
    name: ClassVar[str] = "ENOSPC"


class ESPIPE(LinuxError):
    """Illegal seek."""

    number: ClassVar[int] = 29
    name: ClassVar[str] = "ESPIPE"


class EROFS(LinuxError):
    """Read-only file system."""

    number: ClassVar[int] = 30
    name: ClassVar[str] = "EROFS"


class EMLINK(LinuxError):
    """Too many links."""

    number: ClassVar[int] = 31
    name: ClassVar[str] = "EMLINK"


class EPIPE(LinuxError):
    """Broken pipe."""

    number: ClassVar[int] = 32
    name: ClassVar[str] = "EPIPE"


class EDOM(LinuxError):
    """Numerical argument out of domain."""

    number: ClassVar[int] = 33
    name: ClassVar[str] = "EDOM"


class ERANGE(LinuxError):
    """Numerical result out of range."""

    number: ClassVar[int] = 34
    name: ClassVar[str] = "ERANGE"


class EDEADLK(LinuxError):
    """Resource deadlock avoided."""

    number: ClassVar[int] = 35
    name: ClassVar[str] = "EDEADLK"


class ENAMETOOLONG(LinuxError):
    """File name too long."""

    number: ClassVar[int] = 36
    name: ClassVar[str] = "ENAMETOOLONG"


class ENOLCK(LinuxError):
    """No locks available."""

    number: ClassVar[int] = 37
    name: ClassVar[str] = "ENOLCK"


class ENOSYS(LinuxError):
    """Function not implemented."""

    number: ClassVar[int] = 38
    name: ClassVar[str] = "ENOSYS"


class ENOTEMPTY(LinuxError):
    """Directory not empty."""

    number: ClassVar[int] = 39
    name: ClassVar[str] = "ENOTEMPTY"


class ELOOP(LinuxError):
    """Too many levels of symbolic links."""

    number: ClassVar[int] = 40
    name: ClassVar[str] = "ELOOP"


class ENOMSG(LinuxError):
    """No message of desired type."""

    number: ClassVar[int] = 42
    name: ClassVar[str] = "ENOMSG"


class EIDRM(LinuxError):
    """Identifier removed."""

    number: ClassVar[int] = 43
    name: ClassVar[str] = "EIDRM"


class ECHRNG(LinuxError):
    """Channel number out of range."""

    number: ClassVar[int] = 44
    name: ClassVar[str] = "ECHRNG"


class EL2NSYNC(LinuxError):
    """Level 2 not synchronized."""

    number: ClassVar[int] = 45
    name: ClassVar[str] = "EL2NSYNC"


class EL3HLT(LinuxError):
    """Level 3 halted."""

    number: ClassVar[int] = 46
    name: ClassVar[str] = "EL3HLT"


class EL3RST(LinuxError):
    """Level 3 reset."""

    number: ClassVar[int] = 47
    name: ClassVar[str] = "EL3RST"


class ELNRNG(LinuxError):
    """Link number out of range."""

    number: ClassVar[int] = 48
    name: ClassVar[str] = "ELNRNG"


class EUNATCH(LinuxError):
    """Protocol driver not attached."""

    number: ClassVar[int] = 49
    name: ClassVar[str] = "EUNATCH"


class ENOCSI(LinuxError):
    """No CSI structure available."""

    number: ClassVar[int] = 50
    name: ClassVar[str] = "ENOCSI"


class EL2HLT(LinuxError):
    """Level 2 halted."""

    number: ClassVar[int] = 51
    name: ClassVar[str] = "EL2HLT"


class EBADE(LinuxError):
    """Invalid exchange."""

    number: ClassVar[int] = 52
    name: ClassVar[str] = "EBADE"


class EBADR(LinuxError):
    """Invalid request descriptor."""

    number: ClassVar[int] = 53
    name: ClassVar[str] = "EBADR"


class EXFULL(LinuxError):
    """Exchange full."""

    number: ClassVar[int] = 54
    name: ClassVar[str] = "EXFULL"


class ENOANO(LinuxError):
    """No anode."""

    number: ClassVar[int] = 55
    name: ClassVar[str] = "ENOANO"


class EBADRQC(LinuxError):
    """Invalid request code."""

    number: ClassVar[int] = 56
    name: ClassVar[str] = "EBADRQC"


class EBADSLT(LinuxError):
    """Invalid slot."""

    number: ClassVar[int] = 57
    name: ClassVar[str] = "EBADSLT"


class EBFONT(LinuxError):
    """Bad font file format."""

    number: ClassVar[int] = 59
    name: ClassVar[str] = "EBFONT"


class ENOSTR(LinuxError):
    """Device not a stream."""

    number: ClassVar[int] = 60
    name: ClassVar[str] = "ENOSTR"


class ENODATA(LinuxError):
    """No data available."""

    number: ClassVar[int] = 61
    name: ClassVar[str] = "ENODATA"


class ETIME(LinuxError):
    """Timer expired."""

    number: ClassVar[int] = 62
    name: ClassVar[str] = "ETIME"


class ENOSR(LinuxError):
    """Out of streams resources."""

    number: ClassVar[int] = 63
    name: ClassVar[str] = "ENOSR"


class ENONET(LinuxError):
    """Machine is not on the network."""

    number: ClassVar[int] = 64
    name: ClassVar[str] = "ENONET"


class ENOPKG(LinuxError):
    """Package not installed."""

    number: ClassVar[int] = 65
    name: ClassVar[str] = "ENOPKG"


class EREMOTE(LinuxError):
    """Object is remote."""

    number: ClassVar[int] = 66
    name: ClassVar[str] = "EREMOTE"


class ENOLINK(LinuxError):
    """Link has been severed."""

    number: ClassVar[int] = 67
    name: ClassVar[str] = "ENOLINK"


class EADV(LinuxError):
    """Advertise error."""

    number: ClassVar[int] = 68
    name: ClassVar[str] = "EADV"


class ESRMNT(LinuxError):
    """Srmount error."""

    number: ClassVar[int] = 69
    name: ClassVar[str] = "ESRMNT"


class ECOMM(LinuxError):
    """Communication error on send."""

    number: ClassVar[int] = 70
    name: ClassVar[str] = "ECOMM"


class EPROTO(LinuxError):
    """Protocol error."""

    number: ClassVar[int] = 71
    name: ClassVar[str] = "EPROTO"


class EMULTIHOP(LinuxError):
    """Multihop attempted."""

    number: ClassVar[int] = 72
    name: ClassVar[str] = "EMULTIHOP"


class EDOTDOT(LinuxError):
    """RFS specific error."""

    number: ClassVar[int] = 73
    name: ClassVar[str] = "EDOTDOT"


class EBADMSG(LinuxError):
    """Bad message."""

    number: ClassVar[int] = 74
    name: ClassVar[str] = "EBADMSG"


class EOVERFLOW(LinuxError):
    """Value too large for defined data type."""

    number: ClassVar[int] = 75
    name: ClassVar[str] = "EOVERFLOW"


class ENOTUNIQ(LinuxError):
    """Name not unique on network."""

    number: ClassVar[int] = 76
    name: ClassVar[str] = "ENOTUNIQ"


class EBADFD(LinuxError):
    """File descriptor in bad state."""

    number: ClassVar[int] = 77
    name: ClassVar[str] = "EBADFD"


class EREMCHG(LinuxError):
    """Remote address changed."""

    number: ClassVar[int] = 78
    name: ClassVar[str] = "EREMCHG"


class ELIBACC(LinuxError):
    """Can not access a needed shared library."""

    number: ClassVar[int] = 79
    name: ClassVar[str] = "ELIBACC"


class ELIBBAD(LinuxError):
    """Accessing a corrupted shared library."""

    number: ClassVar[int] = 80
    name: ClassVar[str] = "ELIBBAD"


class ELIBSCN(LinuxError):
    """.lib section in a.out corrupted."""

    number: ClassVar[int] = 81
    name: ClassVar[str] = "ELIBSCN"


class ELIBMAX(LinuxError):
    """Attempting to link in too many shared libraries."""

    number: ClassVar[int] = 82
    name: ClassVar[str] = "ELIBMAX"


class ELIBEXEC(LinuxError):
    """Cannot exec a shared library directly."""

    number: ClassVar[int] = 83
    name: ClassVar[str] = "ELIBEXEC"


class EILSEQ(LinuxError):
    """Invalid or incomplete multibyte or wide character."""

    number: ClassVar[int] = 84
    name: ClassVar[str] = "EILSEQ"


class ERESTART(LinuxError):
    """Interrupted system call should be restarted."""

    number: ClassVar[int] = 85
    name: ClassVar[str] = "ERESTART"


class ESTRPIPE(LinuxError):
    """Streams pipe error."""

    number: ClassVar[int] = 86
    name: ClassVar[str] = "ESTRPIPE"


class EUSERS(LinuxError):
    """Too many users."""

    number: ClassVar[int] = 87
    name: ClassVar[str] = "EUSERS"


class ENOTSOCK(LinuxError):
    """Socket operation on non-socket."""

    number: ClassVar[int] = 88
    name: ClassVar[str] = "ENOTSOCK"


class EDESTADDRREQ(LinuxError):
    """Destination address required."""

    number: ClassVar[int] = 89
    name: ClassVar[str] = "EDESTADDRREQ"


class EMSGSIZE(LinuxError):
    """Message too long."""

    number: ClassVar[int] = 90
    name: ClassVar[str] = "EMSGSIZE"


class EPROTOTYPE(LinuxError):
    """Protocol wrong type for socket."""

    number: ClassVar[int] = 91
    name: ClassVar[str] = "EPROTOTYPE"


class ENOPROTOOPT(LinuxError):
    """Protocol not available."""

    number: ClassVar[int] = 92
    name: ClassVar[str] = "ENOPROTOOPT"


class EPROTONOSUPPORT(LinuxError):
    """Protocol not supported."""

    number: ClassVar[int] = 93
    name: ClassVar[str] = "EPROTONOSUPPORT"


class ESOCKTNOSUPPORT(LinuxError):
    """Socket type not supported."""

    number: ClassVar[int] = 94
    name: ClassVar[str] = "ESOCKTNOSUPPORT"


class EOPNOTSUPP(LinuxError):
    """Operation not supported."""

    number: ClassVar[int] = 95
    name: ClassVar[str] = "EOPNOTSUPP"


class EPFNOSUPPORT(LinuxError):
    """Protocol family not supported."""

    number: ClassVar[int] = 96
    name: ClassVar[str] = "EPFNOSUPPORT"


class EAFNOSUPPORT(LinuxError):
    """Address family not supported by protocol."""

    number: ClassVar[int] = 97
    name: ClassVar[str] = "EAFNOSUPPORT"


class EADDRINUSE(LinuxError):
    """Address already in use."""

    number: ClassVar[int] = 98
    name: ClassVar[str] = "EADDRINUSE"


class EADDRNOTAVAIL(LinuxError):
    """Cannot assign requested address."""

    number: ClassVar[int] = 99
    name: ClassVar[str] = "EADDRNOTAVAIL"


class ENETDOWN(LinuxError):
    """Network is down."""

    number: ClassVar[int] = 100
    name: ClassVar[str] = "ENETDOWN"


class ENETUNREACH(LinuxError):
    """Network is unreachable."""

    number: ClassVar[int] = 101
    name: ClassVar[str] = "ENETUNREACH"


class ENETRESET(LinuxError):
    """Network dropped connection on reset."""

    number: ClassVar[int] = 102
    name: ClassVar[str] = "ENETRESET"


class ECONNABORTED(LinuxError):
    """Software caused connection abort."""

    number: ClassVar[int] = 103
    name: ClassVar[str] = "ECONNABORTED"


class ECONNRESET(LinuxError):
    """Connection reset by peer."""

    number: ClassVar[int] = 104
    name: ClassVar[str] = "ECONNRESET"


class ENOBUFS(LinuxError):
    """No buffer space available."""

    number: ClassVar[int] = 105
    name: ClassVar[str] = "ENOBUFS"


class EISCONN(LinuxError):
    """Transport endpoint is already connected."""

    number: ClassVar[int] = 106
    name: ClassVar[str] = "EISCONN"


class ENOTCONN(LinuxError):
    """Transport endpoint is not connected."""

    number: ClassVar[int] = 107
    name: ClassVar[str] = "ENOTCONN"


class ESHUTDOWN(LinuxError):
    """Cannot send after transport endpoint shutdown."""

    number: ClassVar[int] = 108
    name: ClassVar[str] = "ESHUTDOWN"


class ETOOMANYREFS(LinuxError):
    """Too many references: cannot splice."""

    number: ClassVar[int] = 109
    name: ClassVar[str] = "ETOOMANYREFS"


class ETIMEDOUT(LinuxError):
    """Connection timed out."""

    number: ClassVar[int] = 110
    name: ClassVar[str] = "ETIMEDOUT"


class ECONNREFUSED(LinuxError):
    """Connection refused."""

    number: ClassVar[int] = 111
    name: ClassVar[str] = "ECONNREFUSED"


class EHOSTDOWN(LinuxError):
    """Host is down."""

    number: ClassVar[int] = 112
    name: ClassVar[str] = "EHOSTDOWN"


class EHOSTUNREACH(LinuxError):
    """No route to host."""

    number: ClassVar[int] = 113
    name: ClassVar[str] = "EHOSTUNREACH"


class EALREADY(LinuxError):
    """Operation already in progress."""

    number: ClassVar[int] = 114
    name: ClassVar[str] = "EALREADY"


class EINPROGRESS(LinuxError):
    """Operation now in progress."""

    number: ClassVar[int] = 115
    name: ClassVar[str] = "EINPROGRESS"


class ESTALE(LinuxError):
    """Stale file handle."""

    number: ClassVar[int] = 116
    name: ClassVar[str] = "ESTALE"


class EUCLEAN(LinuxError):
    """Structure needs cleaning."""

    number: ClassVar[int] = 117
    name: ClassVar[str] = "EUCLEAN"


class ENOTNAM(LinuxError):
    """Not a XENIX named type file."""

    number: ClassVar[int] = 118
    name: ClassVar[str] = "ENOTNAM"


class ENAVAIL(LinuxError):
    """No XENIX semaphores available."""

    number: ClassVar[int] = 119
    name: ClassVar[str] = "ENAVAIL"


class EISNAM(LinuxError):
    """Is a named type file."""

    number: ClassVar[int] = 120
    name: ClassVar[str] = "EISNAM"


class EREMOTEIO(LinuxError):
    """Remote I/O error."""

    number: ClassVar[int] = 121
    name: ClassVar[str] = "EREMOTEIO"


class EDQUOT(LinuxError):
    """Disk quota exceeded."""

    number: ClassVar[int] = 122
    name: ClassVar[str] = "EDQUOT"


class ENOMEDIUM(LinuxError):
    """No medium found."""

    number: ClassVar[int] = 123
    name: ClassVar[str] = "ENOMEDIUM"


class EMEDIUMTYPE(LinuxError):
    """Wrong medium type."""

    number: ClassVar[int] = 124
    name: ClassVar[str] = "EMEDIUMTYPE"


class ECANCELED(LinuxError):
    """Operation canceled."""

    number: ClassVar[int] = 125
    name: ClassVar[str] = "ECANCELED"


class ENOKEY(LinuxError):
    """Required key not available."""

    number: ClassVar[int] = 126
    name: ClassVar[str] = "ENOKEY"


class EKEYEXPIRED(LinuxError):
    """Key has expired."""

    number: ClassVar[int] = 127
    name: ClassVar[str] = "EKEYEXPIRED"


class EKEYREVOKED(LinuxError):
    """Key has been revoked."""

    number: ClassVar[int] = 128
    name: ClassVar[str] = "EKEYREVOKED"


class EKEYREJECTED(LinuxError):
    """Key was rejected by service."""

    number: ClassVar[int] = 129
    name: ClassVar[str] = "EKEYREJECTED"


class EOWNERDEAD(LinuxError):
    """Owner died."""

    number: ClassVar[int] = 130
    name: ClassVar[str] = "EOWNERDEAD"


class ENOTRECOVERABLE(LinuxError):
    """State not recoverable."""

    number: ClassVar[int] = 131
    name: ClassVar[str] = "ENOTRECOVERABLE"


class ERFKILL(LinuxError):
    """Operation not possible due to RF-kill."""

    number: ClassVar[int] = 132
    name: ClassVar[str] = "ERFKILL"


ERRORS: Final[dict[int, type[LinuxError]]] = {
    1: EPERM,
    2: ENOENT,
    3: ESRCH,
    4: EINTR,
    5: EIO,
    6: ENXIO,
    7: E2BIG,
    8: ENOEXEC,
    9: EBADF,
    10: ECHILD,
    11: EAGAIN,
    12: ENOMEM,
    13: EACCES,
    14: EFAULT,
    15: ENOTBLK,
    16: EBUSY,
    17: EEXIST,
    18: EXDEV,
    19: ENODEV,
    20: ENOTDIR,
    21: EISDIR,
    22: EINVAL,
    23: ENFILE,
    24: EMFILE,
    25: ENOTTY,
    26: ETXTBSY,
    27: EFBIG,
    28: ENOSPC,
    29: ESPIPE,
    30: EROFS,
    31: EMLINK,
    32: EPIPE,
    33: EDOM,
    34: ERANGE,
    35: EDEADLK,
    36: ENAMETOOLONG,
    37: ENOLCK,
    38: ENOSYS,
    39: ENOTEMPTY,
    40: ELOOP,
    42: ENOMSG,
    43: EIDRM,
    44: ECHRNG,
    45: EL2NSYNC,
    46: EL3HLT,
    47: EL3RST,
    48: ELNRNG,
    49: EUNATCH,
    50: ENOCSI,
    51: EL2HLT,
    52: EBADE,
    53: EBADR,
    54: EXFULL,
    55: ENOANO,
    56: EBADRQC,
    57: EBADSLT,
    59: EBFONT,
    60: ENOSTR,
    61: ENODATA,
    62: ETIME,
    63: ENOSR,
    64: ENONET,
    65: ENOPKG,
    66: EREMOTE,
    67: ENOLINK,
    68: EADV,
    69: ESRMNT,
    70: ECOMM,
    71: EPROTO,
    72: EMULTIHOP,
    73: EDOTDOT,
    74: EBADMSG,
    75: EOVERFLOW,
    76: ENOTUNIQ,
    77: EBADFD,
    78: EREMCHG,
    79: ELIBACC,
    80: ELIBBAD,
    81: ELIBSCN,
    82: ELIBMAX,
    83: ELIBEXEC,
    84: EILSEQ,
    85: ERESTART,
    86: ESTRPIPE,
    87: EUSERS,
    88: ENOTSOCK,
    89: EDESTADDRREQ,
    90: EMSGSIZE,
    91: EPROTOTYPE,
    92: ENOPROTOOPT,
    93: EPROTONOSUPPORT,
    94: ESOCKTNOSUPPORT,
    95: EOPNOTSUPP,
    96: EPFNOSUPPORT,
    97: EAFNOSUPPORT,
    98: EADDRINUSE,
    99: EADDRNOTAVAIL,
    100: ENETDOWN,
    101: ENETUNREACH,
    102: ENETRESET,
    103: ECONNABORTED,
    104: ECONNRESET,
    105: ENOBUFS,
    106: EISCONN,
    107: ENOTCONN,
    108: ESHUTDOWN,
    109: ETOOMANYREFS,
    110: ETIMEDOUT,
    111: ECONNREFUSED,
    112: EHOSTDOWN,
    113: EHOSTUNREACH,
    114: EALREADY,
    115: EINPROGRESS,
    116: ESTALE,
    117: EUCLEAN,
    118: ENOTNAM,
    119: ENAVAIL,
    120: EISNAM,
    121: EREMOTEIO,
    122: EDQUOT,
    123: ENOMEDIUM,
    124: EMEDIUMTYPE,
    125: ECANCELED,
    126: ENOKEY,
    127: EKEYEXPIRED,
    128: EKEYREVOKED,
    129: EKEYREJECTED,
    130: EOWNERDEAD,
    131: ENOTRECOVERABLE,
    132: ERFKILL,
}


def error_of(number: int, words: str = "") -> LinuxError:
    """The exception for a positive errno that came from the host or a file system."""
    kind = ERRORS.get(number)
    return kind(words) if kind is not None else EIO(f"host errno {number}: {words}")


def from_os_error(e: OSError) -> LinuxError:
    """The host door: a host ``OSError`` ends here and goes on as the guest's errno."""
    return error_of(e.errno or 5, e.strerror or "")


def errno_name(number: int) -> str:
    """``ENOENT`` for 2; the number itself when nobody knows it."""
    kind = ERRORS.get(number)
    return kind.name if kind is not None else str(number)
