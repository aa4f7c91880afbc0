"""errno(3) as exceptions: one small class per error, raised with the words for the log.

    raise EINVAL("flags must be O_CLOEXEC or 0")

A raised ``LinuxError`` becomes ``-number`` in the guest's result register. Expected outcomes on hot
paths (would-block, end of file) are returned, never raised: see :data:`WOULD_BLOCK`.
Source: errno(3), include/uapi/asm-generic/errno.h.
"""

from typing import Final

WOULD_BLOCK: Final = -11
"""What a non-blocking core returns instead of raising EAGAIN: nothing now, ask the wait queue."""


class LinuxError(Exception):
    """A system call's failure; ``number`` is the positive errno."""

    number: int = 0
    name: str = ""

    def __init__(self, words: str = "") -> None:
        super().__init__(words)
        self.words = words

    def __str__(self) -> str:
        return f"{self.name}: {self.words}" if self.words else self.name



class EPERM(LinuxError):
    """Operation not permitted."""

    number = 1
    name = "EPERM"



class ENOENT(LinuxError):
    """No such file or directory."""

    number = 2
    name = "ENOENT"



class ESRCH(LinuxError):
    """No such process."""

    number = 3
    name = "ESRCH"



class EINTR(LinuxError):
    """Interrupted system call."""

    number = 4
    name = "EINTR"



class EIO(LinuxError):
    """Input/output error."""

    number = 5
    name = "EIO"



class ENXIO(LinuxError):
    """No such device or address."""

    number = 6
    name = "ENXIO"



class E2BIG(LinuxError):
    """Argument list too long."""

    number = 7
    name = "E2BIG"



class ENOEXEC(LinuxError):
    """Exec format error."""

    number = 8
    name = "ENOEXEC"



class EBADF(LinuxError):
    """Bad file descriptor."""

    number = 9
    name = "EBADF"



class ECHILD(LinuxError):
    """No child processes."""

    number = 10
    name = "ECHILD"



class EAGAIN(LinuxError):
    """Resource temporarily unavailable."""

    number = 11
    name = "EAGAIN"



class ENOMEM(LinuxError):
    """Cannot allocate memory."""

    number = 12
    name = "ENOMEM"



class EACCES(LinuxError):
    """Permission denied."""

    number = 13
    name = "EACCES"



class EFAULT(LinuxError):
    """Bad address."""

    number = 14
    name = "EFAULT"



class ENOTBLK(LinuxError):
    """Block device required."""

    number = 15
    name = "ENOTBLK"



class EBUSY(LinuxError):
    """Device or resource busy."""

    number = 16
    name = "EBUSY"



class EEXIST(LinuxError):
    """File exists."""

    number = 17
    name = "EEXIST"



class EXDEV(LinuxError):
    """Invalid cross-device link."""

    number = 18
    name = "EXDEV"



class ENODEV(LinuxError):
    """No such device."""

    number = 19
    name = "ENODEV"



class ENOTDIR(LinuxError):
    """Not a directory."""

    number = 20
    name = "ENOTDIR"



class EISDIR(LinuxError):
    """Is a directory."""

    number = 21
    name = "EISDIR"



class EINVAL(LinuxError):
    """Invalid argument."""

    number = 22
    name = "EINVAL"



class ENFILE(LinuxError):
    """Too many open files in system."""

    number = 23
    name = "ENFILE"



class EMFILE(LinuxError):
    """Too many open files."""

    number = 24
    name = "EMFILE"



class ENOTTY(LinuxError):
    """Inappropriate ioctl for device."""

    number = 25
    name = "ENOTTY"



class ETXTBSY(LinuxError):
    """Text file busy."""

    number = 26
    name = "ETXTBSY"



class EFBIG(LinuxError):
    """File too large."""

    number = 27
    name = "EFBIG"



class ENOSPC(LinuxError):
    """No space left on device."""

    number = 28
    name = "ENOSPC"



class ESPIPE(LinuxError):
    """Illegal seek."""

    number = 29
    name = "ESPIPE"



class EROFS(LinuxError):
    """Read-only file system."""

    number = 30
    name = "EROFS"



class EMLINK(LinuxError):
    """Too many links."""

    number = 31
    name = "EMLINK"



class EPIPE(LinuxError):
    """Broken pipe."""

    number = 32
    name = "EPIPE"



class EDOM(LinuxError):
    """Numerical argument out of domain."""

    number = 33
    name = "EDOM"



class ERANGE(LinuxError):
    """Numerical result out of range."""

    number = 34
    name = "ERANGE"



class EDEADLK(LinuxError):
    """Resource deadlock avoided."""

    number = 35
    name = "EDEADLK"



class ENAMETOOLONG(LinuxError):
    """File name too long."""

    number = 36
    name = "ENAMETOOLONG"



class ENOLCK(LinuxError):
    """No locks available."""

    number = 37
    name = "ENOLCK"



class ENOSYS(LinuxError):
    """Function not implemented."""

    number = 38
    name = "ENOSYS"



class ENOTEMPTY(LinuxError):
    """Directory not empty."""

    number = 39
    name = "ENOTEMPTY"



class ELOOP(LinuxError):
    """Too many levels of symbolic links."""

    number = 40
    name = "ELOOP"



class ENOMSG(LinuxError):
    """No message of desired type."""

    number = 42
    name = "ENOMSG"



class EIDRM(LinuxError):
    """Identifier removed."""

    number = 43
    name = "EIDRM"



class ECHRNG(LinuxError):
    """Channel number out of range."""

    number = 44
    name = "ECHRNG"



class EL2NSYNC(LinuxError):
    """Level 2 not synchronized."""

    number = 45
    name = "EL2NSYNC"



class EL3HLT(LinuxError):
    """Level 3 halted."""

    number = 46
    name = "EL3HLT"



class EL3RST(LinuxError):
    """Level 3 reset."""

    number = 47
    name = "EL3RST"



class ELNRNG(LinuxError):
    """Link number out of range."""

    number = 48
    name = "ELNRNG"



class EUNATCH(LinuxError):
    """Protocol driver not attached."""

    number = 49
    name = "EUNATCH"



class ENOCSI(LinuxError):
    """No CSI structure available."""

    number = 50
    name = "ENOCSI"



class EL2HLT(LinuxError):
    """Level 2 halted."""

    number = 51
    name = "EL2HLT"



class EBADE(LinuxError):
    """Invalid exchange."""

    number = 52
    name = "EBADE"



class EBADR(LinuxError):
    """Invalid request descriptor."""

    number = 53
    name = "EBADR"



class EXFULL(LinuxError):
    """Exchange full."""

    number = 54
    name = "EXFULL"



class ENOANO(LinuxError):
    """No anode."""

    number = 55
    name = "ENOANO"



class EBADRQC(LinuxError):
    """Invalid request code."""

    number = 56
    name = "EBADRQC"



class EBADSLT(LinuxError):
    """Invalid slot."""

    number = 57
    name = "EBADSLT"



class EBFONT(LinuxError):
    """Bad font file format."""

    number = 59
    name = "EBFONT"



class ENOSTR(LinuxError):
    """Device not a stream."""

    number = 60
    name = "ENOSTR"



class ENODATA(LinuxError):
    """No data available."""

    number = 61
    name = "ENODATA"



class ETIME(LinuxError):
    """Timer expired."""

    number = 62
    name = "ETIME"



class ENOSR(LinuxError):
    """Out of streams resources."""

    number = 63
    name = "ENOSR"



class ENONET(LinuxError):
    """Machine is not on the network."""

    number = 64
    name = "ENONET"



class ENOPKG(LinuxError):
    """Package not installed."""

    number = 65
    name = "ENOPKG"



class EREMOTE(LinuxError):
    """Object is remote."""

    number = 66
    name = "EREMOTE"



class ENOLINK(LinuxError):
    """Link has been severed."""

    number = 67
    name = "ENOLINK"



class EADV(LinuxError):
    """Advertise error."""

    number = 68
    name = "EADV"



class ESRMNT(LinuxError):
    """Srmount error."""

    number = 69
    name = "ESRMNT"



class ECOMM(LinuxError):
    """Communication error on send."""

    number = 70
    name = "ECOMM"



class EPROTO(LinuxError):
    """Protocol error."""

    number = 71
    name = "EPROTO"



class EMULTIHOP(LinuxError):
    """Multihop attempted."""

    number = 72
    name = "EMULTIHOP"



class EDOTDOT(LinuxError):
    """RFS specific error."""

    number = 73
    name = "EDOTDOT"



class EBADMSG(LinuxError):
    """Bad message."""

    number = 74
    name = "EBADMSG"



class EOVERFLOW(LinuxError):
    """Value too large for defined data type."""

    number = 75
    name = "EOVERFLOW"



class ENOTUNIQ(LinuxError):
    """Name not unique on network."""

    number = 76
    name = "ENOTUNIQ"



class EBADFD(LinuxError):
    """File descriptor in bad state."""

    number = 77
    name = "EBADFD"



class EREMCHG(LinuxError):
    """Remote address changed."""

    number = 78
    name = "EREMCHG"



class ELIBACC(LinuxError):
    """Can not access a needed shared library."""

    number = 79
    name = "ELIBACC"



class ELIBBAD(LinuxError):
    """Accessing a corrupted shared library."""

    number = 80
    name = "ELIBBAD"



class ELIBSCN(LinuxError):
    """.lib section in a.out corrupted."""

    number = 81
    name = "ELIBSCN"



class ELIBMAX(LinuxError):
    """Attempting to link in too many shared libraries."""

    number = 82
    name = "ELIBMAX"



class ELIBEXEC(LinuxError):
    """Cannot exec a shared library directly."""

    number = 83
    name = "ELIBEXEC"



class EILSEQ(LinuxError):
    """Invalid or incomplete multibyte or wide character."""

    number = 84
    name = "EILSEQ"



class ERESTART(LinuxError):
    """Interrupted system call should be restarted."""

    number = 85
    name = "ERESTART"



class ESTRPIPE(LinuxError):
    """Streams pipe error."""

    number = 86
    name = "ESTRPIPE"



class EUSERS(LinuxError):
    """Too many users."""

    number = 87
    name = "EUSERS"



class ENOTSOCK(LinuxError):
    """Socket operation on non-socket."""

    number = 88
    name = "ENOTSOCK"



class EDESTADDRREQ(LinuxError):
    """Destination address required."""

    number = 89
    name = "EDESTADDRREQ"



class EMSGSIZE(LinuxError):
    """Message too long."""

    number = 90
    name = "EMSGSIZE"



class EPROTOTYPE(LinuxError):
    """Protocol wrong type for socket."""

    number = 91
    name = "EPROTOTYPE"



class ENOPROTOOPT(LinuxError):
    """Protocol not available."""

    number = 92
    name = "ENOPROTOOPT"



class EPROTONOSUPPORT(LinuxError):
    """Protocol not supported."""

    number = 93
    name = "EPROTONOSUPPORT"



class ESOCKTNOSUPPORT(LinuxError):
    """Socket type not supported."""

    number = 94
    name = "ESOCKTNOSUPPORT"



class EOPNOTSUPP(LinuxError):
    """Operation not supported."""

    number = 95
    name = "EOPNOTSUPP"



class EPFNOSUPPORT(LinuxError):
    """Protocol family not supported."""

    number = 96
    name = "EPFNOSUPPORT"



class EAFNOSUPPORT(LinuxError):
    """Address family not supported by protocol."""

    number = 97
    name = "EAFNOSUPPORT"



class EADDRINUSE(LinuxError):
    """Address already in use."""

    number = 98
    name = "EADDRINUSE"



class EADDRNOTAVAIL(LinuxError):
    """Cannot assign requested address."""

    number = 99
    name = "EADDRNOTAVAIL"



class ENETDOWN(LinuxError):
    """Network is down."""

    number = 100
    name = "ENETDOWN"



class ENETUNREACH(LinuxError):
    """Network is unreachable."""

    number = 101
    name = "ENETUNREACH"



class ENETRESET(LinuxError):
    """Network dropped connection on reset."""

    number = 102
    name = "ENETRESET"



class ECONNABORTED(LinuxError):
    """Software caused connection abort."""

    number = 103
    name = "ECONNABORTED"



class ECONNRESET(LinuxError):
    """Connection reset by peer."""

    number = 104
    name = "ECONNRESET"



class ENOBUFS(LinuxError):
    """No buffer space available."""

    number = 105
    name = "ENOBUFS"



class EISCONN(LinuxError):
    """Transport endpoint is already connected."""

    number = 106
    name = "EISCONN"



class ENOTCONN(LinuxError):
    """Transport endpoint is not connected."""

    number = 107
    name = "ENOTCONN"



class ESHUTDOWN(LinuxError):
    """Cannot send after transport endpoint shutdown."""

    number = 108
    name = "ESHUTDOWN"



class ETOOMANYREFS(LinuxError):
    """Too many references: cannot splice."""

    number = 109
    name = "ETOOMANYREFS"



class ETIMEDOUT(LinuxError):
    """Connection timed out."""

    number = 110
    name = "ETIMEDOUT"



class ECONNREFUSED(LinuxError):
    """Connection refused."""

    number = 111
    name = "ECONNREFUSED"



class EHOSTDOWN(LinuxError):
    """Host is down."""

    number = 112
    name = "EHOSTDOWN"



class EHOSTUNREACH(LinuxError):
    """No route to host."""

    number = 113
    name = "EHOSTUNREACH"



class EALREADY(LinuxError):
    """Operation already in progress."""

    number = 114
    name = "EALREADY"



class EINPROGRESS(LinuxError):
    """Operation now in progress."""

    number = 115
    name = "EINPROGRESS"



class ESTALE(LinuxError):
    """Stale file handle."""

    number = 116
    name = "ESTALE"



class EUCLEAN(LinuxError):
    """Structure needs cleaning."""

    number = 117
    name = "EUCLEAN"



class ENOTNAM(LinuxError):
    """Not a XENIX named type file."""

    number = 118
    name = "ENOTNAM"



class ENAVAIL(LinuxError):
    """No XENIX semaphores available."""

    number = 119
    name = "ENAVAIL"



class EISNAM(LinuxError):
    """Is a named type file."""

    number = 120
    name = "EISNAM"



class EREMOTEIO(LinuxError):
    """Remote I/O error."""

    number = 121
    name = "EREMOTEIO"



class EDQUOT(LinuxError):
    """Disk quota exceeded."""

    number = 122
    name = "EDQUOT"



class ENOMEDIUM(LinuxError):
    """No medium found."""

    number = 123
    name = "ENOMEDIUM"



class EMEDIUMTYPE(LinuxError):
    """Wrong medium type."""

    number = 124
    name = "EMEDIUMTYPE"



class ECANCELED(LinuxError):
    """Operation canceled."""

    number = 125
    name = "ECANCELED"



class ENOKEY(LinuxError):
    """Required key not available."""

    number = 126
    name = "ENOKEY"



class EKEYEXPIRED(LinuxError):
    """Key has expired."""

    number = 127
    name = "EKEYEXPIRED"



class EKEYREVOKED(LinuxError):
    """Key has been revoked."""

    number = 128
    name = "EKEYREVOKED"



class EKEYREJECTED(LinuxError):
    """Key was rejected by service."""

    number = 129
    name = "EKEYREJECTED"



class EOWNERDEAD(LinuxError):
    """Owner died."""

    number = 130
    name = "EOWNERDEAD"



class ENOTRECOVERABLE(LinuxError):
    """State not recoverable."""

    number = 131
    name = "ENOTRECOVERABLE"



class ERFKILL(LinuxError):
    """Operation not possible due to RF-kill."""

    number = 132
    name = "ERFKILL"


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
