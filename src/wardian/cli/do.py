"""``wardian do``: one command in a sandbox, on this terminal, with this directory."""

from __future__ import annotations

import os

from wardian.cli.options import BARE_OR_VALUE, LIST, Option, Parser, Values
from wardian.host.config import (
    Config,
    ConfigError,
    check_absolute,
    check_hostname,
    parse_cpus,
    parse_memory,
    parse_pids,
    parse_seconds,
    parse_volume,
)
from wardian.host.messages import complain

LOG_LEVELS = ("error", "warning", "info", "debug")


DESCRIPTION = (
    "Run COMMAND on a kernel of its own. It sees this machine's files read-only "
    "below "
    "a memory overlay: what it writes is gone when it ends. The exit status is the command's; "
    "128+N when signal N killed it, 124 after --timeout, 125 for an error of wardian itself, "
    "126 when the command cannot be executed and 127 when it does not exist."
)
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
        kind=LIST,
        help="show the host's SRC at DST; writes go to the host unless ro",
    ),
    Option(
        "--tmpfs",
        metavar="DST",
        kind=LIST,
        help="an empty memory file system at DST",
    ),
    Option(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        kind=LIST,
        help="set a variable (without =VALUE: pass it on); the environment is passed on as it is",
    ),
    Option(
        "-w",
        "--workdir",
        metavar="DIR",
        help="start in DIR (default: the current directory if it exists inside)",
    ),
    Option("-u", "--user", metavar="UID[:GID]", default="", help="run as this user"),
    Option("--hostname", metavar="NAME", default="wardian", help="the host name inside"),
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
        help="memory limit, such as 512m. Files in memory (the overlay, "
        "every tmpfs, memfds) may use half of it together; without a limit, half of the "
        "machine's memory",
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
        kind=BARE_OR_VALUE,
        help="print every system call, or those of CALLS, as strace(1) does; write --strace=CALLS",
    ),
    Option(
        "--profile",
        metavar="FILE",
        kind=BARE_OR_VALUE,
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
        help="leave the guest's call sites as they are: every system call traps",
    ),
    Option("--log", metavar="FILE", help="write the log there (default: standard error)"),
    Option("--debug", help="log everything"),
)


def build_parser() -> Parser:
    """Every option of the command."""
    return Parser(
        "wardian do", "wardian do [options] [--] COMMAND [ARGUMENT...]", DESCRIPTION, OPTIONS
    )


def environment(words: list[str]) -> dict[str, str]:
    """Our own environment with the user's changes."""
    env = dict(os.environ)
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise ConfigError(f"bad variable {word!r}: write NAME=VALUE or NAME")
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    return env


def make_config(options: Values, command: list[str]) -> Config:
    """The sandbox that the options describe; ConfigError."""
    if not command:
        raise ConfigError("no command given: wardian do [options] [--] COMMAND")
    if options.rootfs == "":
        raise ConfigError("bad rootfs '': it must be a directory of this machine")
    config = Config(argv=command, rootfs=options.rootfs, env=environment(options.env))
    config.cwd = "/" if options.rootfs else current_directory()
    if options.workdir is not None:
        config.cwd, config.cwd_required = check_absolute(options.workdir, "workdir"), True
    config.user = options.user
    config.hostname = check_hostname(options.hostname)
    config.volumes = [parse_volume(text) for text in options.volume]
    config.tmpfs = [check_absolute(text, "mount point") for text in options.tmpfs]
    config.read_only = options.read_only
    config.file_access = options.file_access
    config.memory = parse_memory(options.memory) if options.memory is not None else 0
    config.cpus = parse_cpus(options.cpus) if options.cpus is not None else 0.0
    config.pids = parse_pids(options.pids) if options.pids is not None else 0
    config.network = options.network
    config.timeout = parse_seconds(options.timeout) if options.timeout is not None else 0.0
    config.strace, config.profile = options.strace, options.profile
    if config.strace is not None and config.profile is not None:
        raise ConfigError("--strace and --profile: only one at a time, tracing takes most of it")
    config.umask = current_umask()
    config.debug = options.debug
    config.memory_mode = options.memory_mode
    config.patching = not options.no_patching
    return config


def current_umask() -> int:
    """Our umask, which can only be read by setting it (umask(2))."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def current_directory() -> str:
    """Where we are, or the root when that is gone."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def set_up_log(options: Values) -> None:
    """Errors to standard error, all with --debug, elsewhere with --log."""
    from wardian.platform import log

    log.SINK.level = log.DEBUG if options.debug else log.ERROR
    if not options.log:
        return
    log.SINK.level = min(log.SINK.level, log.INFO)
    try:
        log.SINK.open_file(options.log)
    except OSError as e:
        raise ConfigError(f"cannot write the log {options.log}: {e.strerror}") from None


def open_profile(config: Config) -> None:
    """While we may still open files; ConfigError."""
    if config.profile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            config.profile_fd = os.open(config.profile, flags, 0o666)
        except OSError as e:
            why = e.strerror
            raise ConfigError(f"cannot write the profile {config.profile}: {why}") from None


def main(arguments: list[str], streams: list[int] | None = None) -> int:
    """Parse, run, answer the exit status. ``streams``: the command's, -1 for a closed one."""
    options, command = build_parser().parse(arguments)
    try:
        config = make_config(options, command)
        config.streams = streams or config.streams
        set_up_log(options)
        open_profile(config)
        from wardian.host.launch import run_here

        return run_here(config)
    except ConfigError as e:
        complain(str(e))
        return e.status
