"""``wardian do``: one command in a sandbox, on this terminal, with this directory."""

from __future__ import annotations

import os

from wardian.cli.do_options import OPTIONS, Option, Options, quick, split_command
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = (
    "Run COMMAND on a kernel of its own. It sees this machine's files read-only "
    "below a memory overlay: what it writes is gone when it ends. The exit status is the "
    "command's; 128+N when signal N killed it, 124 after --timeout, 125 for an error of "
    "wardian itself, 126 when the command cannot be executed and 127 when it does not exist."
)


def parse(words: list[str]) -> Options:
    """What ``words`` ask for; ends the process where they ask for help, or are wrong."""
    options = quick(words)
    if options is not None:
        return options
    from wardian.cli.options import Parser

    parser = Parser(
        prog="wardian do",
        allow_abbrev=False,
        usage="wardian do [options] [--] COMMAND [ARGUMENT...]",
        description=DESCRIPTION,
    )
    for option in OPTIONS:
        parser.add_argument(*option.names, help=option.help, **for_argparse(option))
    return parser.parse_args(words, Options())


def for_argparse(option: Option) -> dict[str, Any]:
    """How argparse calls it; defaults are :class:`Options`' own."""
    if option.flag:
        return {"action": "store_true"}
    if option.many:
        return {"action": "append", "metavar": option.metavar}
    if option.bare:
        return {"nargs": "?", "const": "", "metavar": option.metavar}
    return {"choices": option.choices or None, "metavar": option.metavar}


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


def make_config(options: Options, command: list[str]) -> Config:
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


def set_up_log(options: Options) -> None:
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
    ours, command = split_command(arguments)
    options = parse(ours)
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
