"""``wardian do``: one command in a sandbox, on this terminal, with this directory."""

from __future__ import annotations

import argparse
import os

from wardian.cli.options import Parser
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


def build_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        prog="wardian do",
        allow_abbrev=False,
        usage="wardian do [options] [--] COMMAND [ARGUMENT...]",
        description="Run COMMAND on a kernel of its own. It sees this machine's files read-only "
        "below a memory overlay: what it writes is gone when it ends. The exit status is the "
        "command's; 128+N when signal N killed it, 124 after --timeout, 125 for an error of "
        "wardian itself, 126 when the command cannot be executed and 127 when it does not exist.",
    )
    add = parser.add_argument
    add(
        "--rootfs",
        metavar="DIR",
        help="take DIR as the root file system instead of this machine's own",
    )
    add(
        "-v",
        "--volume",
        metavar="SRC:DST[:ro]",
        action="append",
        default=[],
        help="show the host's SRC at DST; writes go to the host unless ro",
    )
    add(
        "--tmpfs",
        metavar="DST",
        action="append",
        default=[],
        help="an empty memory file system at DST",
    )
    add(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="set a variable (without =VALUE: pass it on); the environment is passed on as it is",
    )
    add(
        "-w",
        "--workdir",
        metavar="DIR",
        help="start in DIR (default: the current directory if it exists inside)",
    )
    add("-u", "--user", metavar="UID[:GID]", default="", help="run as this user")
    add("--hostname", default="wardian", help="the host name inside")
    add("--read-only", action="store_true", help="no overlay: the root cannot be written to")
    add(
        "--file-access",
        choices=("cached", "shared", "exclusive"),
        default="cached",
        help="what the host changes in the root's files shows after 2 ms at the latest (cached), "
        "at once (shared), or perhaps never: you promise that nothing changes (exclusive). "
        "Volumes are always shared",
    )
    add(
        "-m",
        "--memory",
        metavar="SIZE",
        help="memory limit, such as 512m. Files in memory (the overlay, every tmpfs, memfds) may "
        "use half of it together; without a limit, half of the machine's memory",
    )
    add("--cpus", metavar="N", help="CPU limit, such as 1.5")
    add("--pids", metavar="N", help="limit on processes and threads")
    add(
        "--network",
        choices=("none", "loopback", "host"),
        default="loopback",
        help="none (not even 127.0.0.1), an internal loopback (default), or the host's TCP and UDP",
    )
    add("--timeout", metavar="SECONDS", help="end everything after this time (status 124)")
    add(
        "--strace",
        metavar="CALLS",
        nargs="?",
        const="",
        help="print every system call, or those of CALLS, as strace(1) does; write --strace=CALLS",
    )
    add(
        "--profile",
        metavar="FILE",
        nargs="?",
        const="",
        help="say in the end where the kernel's time went, system call by system call; write "
        "--profile=FILE for a file (as JSON if it ends in .json)",
    )
    add(
        "--memory-mode",
        choices=("direct", "validated"),
        default="direct",
        help="validated: every change of memory mappings is checked by the Sentry, one by one",
    )
    add(
        "--no-patching",
        action="store_true",
        help="leave programs' text as it is: system calls trap, cpuid asks the processor",
    )
    add("--log", metavar="FILE", help="write the log there (default: standard error)")
    add("--debug", action="store_true", help="log everything")
    return parser


def split_command(parser: Parser, words: list[str]) -> tuple[list[str], list[str]]:
    """Our own options, and the command from its first word on. A bare ``--strace`` or ``--profile``
    takes no value."""
    takes_value = {
        name for action in parser._actions if action.nargs is None for name in action.option_strings
    }
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        at += 2 if words[at] in takes_value else 1
    bare = ("--strace", "--profile")
    ours = [word + "=" if word in bare else word for word in words[:at]]
    return ours, words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]


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


def make_config(options: argparse.Namespace, command: list[str]) -> Config:
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


def set_up_log(options: argparse.Namespace) -> None:
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
    parser = build_parser()
    ours, command = split_command(parser, arguments)
    options = parser.parse_args(ours)
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
