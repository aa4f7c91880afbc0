"""The options of ``wardian do``, as a table.

``argparse`` takes longer to import and to set up than any other part of the command line, and a
megabyte of the launcher and of the Sentry each. So it is there for whoever wants
help or made a mistake (``cli.options``); :func:`quick` reads a command line that is plainly right.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Option:
    """One option: a flag if it has neither ``metavar`` nor ``choices``. ``many``: may be repeated;
    ``bare``: its value may be left out, and is empty then."""

    __slots__ = ("bare", "choices", "default", "help", "many", "metavar", "names")

    def __init__(
        self,
        *names: str,
        metavar: str | None = None,
        choices: Sequence[str] = (),
        default: str | None = None,
        many: bool = False,
        bare: bool = False,
        help: str,
    ) -> None:
        self.names = names
        self.metavar = metavar
        self.choices = choices
        self.default = default
        self.many = many
        self.bare = bare
        self.help = help

    @property
    def attribute(self) -> str:
        """Its name in :class:`Options`."""
        return self.names[-1].lstrip("-").replace("-", "_")

    @property
    def flag(self) -> bool:
        """Takes no value."""
        return self.metavar is None and not self.choices

    @property
    def empty(self) -> str | list[str] | bool | None:
        """Its value when it is not given."""
        if self.flag:
            return False
        return [] if self.many else self.default


class Options:
    """What was given: an attribute for each option (as argparse.Namespace)."""

    rootfs: str | None
    volume: list[str]
    tmpfs: list[str]
    env: list[str]
    workdir: str | None
    user: str
    hostname: str
    read_only: bool
    file_access: str
    memory: str | None
    cpus: str | None
    pids: str | None
    network: str
    timeout: str | None
    strace: str | None
    profile: str | None
    memory_mode: str
    no_patching: bool
    log: str | None
    debug: bool

    def __init__(self) -> None:
        for option in OPTIONS:
            setattr(self, option.attribute, option.empty)


OPTIONS = (
    Option(
        "--rootfs",
        metavar="DIR",
        help="take DIR as the root file system instead of this machine's own",
    ),
    Option(
        "-v",
        "--volume",
        metavar="SRC:DST[:ro]",
        many=True,
        help="show the host's SRC at DST; writes go to the host unless ro",
    ),
    Option("--tmpfs", metavar="DST", many=True, help="an empty memory file system at DST"),
    Option(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        many=True,
        help="set a variable (without =VALUE: pass it on); the environment is passed on as it is",
    ),
    Option(
        "-w",
        "--workdir",
        metavar="DIR",
        help="start in DIR (default: the current directory if it exists inside)",
    ),
    Option("-u", "--user", metavar="UID[:GID]", default="", help="run as this user"),
    Option("--hostname", metavar="HOSTNAME", default="wardian", help="the host name inside"),
    Option("--read-only", help="no overlay: the root cannot be written to"),
    Option(
        "--file-access",
        choices=("cached", "shared", "exclusive"),
        default="cached",
        help="what the host changes in the root's files shows after 2 ms at the latest (cached), "
        "at once (shared), or perhaps never: you promise that nothing changes (exclusive). "
        "Volumes are always shared",
    ),
    Option(
        "-m",
        "--memory",
        metavar="SIZE",
        help="memory limit, such as 512m. Files in memory (the overlay, every tmpfs, memfds) may "
        "use half of it together; without a limit, half of the machine's memory",
    ),
    Option("--cpus", metavar="N", help="CPU limit, such as 1.5"),
    Option("--pids", metavar="N", help="limit on processes and threads"),
    Option(
        "--network",
        choices=("none", "loopback", "host"),
        default="loopback",
        help="none (not even 127.0.0.1), an internal loopback (default), or the host's TCP and UDP",
    ),
    Option("--timeout", metavar="SECONDS", help="end everything after this time (status 124)"),
    Option(
        "--strace",
        metavar="CALLS",
        bare=True,
        help="print every system call, or those of CALLS, as strace(1) does; write --strace=CALLS",
    ),
    Option(
        "--profile",
        metavar="FILE",
        bare=True,
        help="say in the end where the kernel's time went, system call by system call; write "
        "--profile=FILE for a file (as JSON if it ends in .json)",
    ),
    Option(
        "--memory-mode",
        choices=("direct", "validated"),
        default="direct",
        help="validated: every change of memory mappings is checked by the Sentry, one by one",
    ),
    Option(
        "--no-patching",
        help="leave programs' text as it is: system calls trap, cpuid asks the processor",
    ),
    Option("--log", metavar="FILE", help="write the log there (default: standard error)"),
    Option("--debug", help="log everything"),
)
BY_NAME = {name: option for option in OPTIONS for name in option.names}


def split_command(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own options, and the command from its first word on. A bare ``--strace`` or ``--profile``
    takes no value."""
    at = 0
    ours: list[str] = []
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        option = BY_NAME.get(words[at])
        if option is None or option.flag:
            ours.append(words[at])
        elif option.bare:
            ours.append(words[at] + "=")
        else:
            ours += words[at : at + 2]
            at += 1
        at += 1
    return ours, words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]


def quick(ours: list[str]) -> Options | None:
    """The options of ``ours``, where every one is written out and right; None leaves it to argparse
    to understand, or to say what is wrong."""
    options = Options()
    words = iter(ours)
    for word in words:
        name, equals, value = word.partition("=")
        option = BY_NAME.get(name)
        if option is None or (equals and not name.startswith("--")):
            return None
        if option.flag:
            if equals:
                return None
            setattr(options, option.attribute, True)
            continue
        if not equals:
            value = next(words, "-")
            if value.startswith("-"):
                return None
        if option.choices and value not in option.choices:
            return None
        if option.many:
            getattr(options, option.attribute).append(value)
        else:
            setattr(options, option.attribute, value)
    return options
