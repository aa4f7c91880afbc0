"""Launching a confined Sentry: the launcher stays outside with nothing to do but wait and clean up.

    launcher  prepare() namespaces and limits ── fork ── wait, forward signals, finish()
    Sentry                                        └─ import, enter(), build, seal(), run the guests

The launcher imports nothing of the Sentry: it stays small, and is forked fast. The Sentry is the
first process of its pid namespace and dies with the launcher; guests die with the Sentry.
"""

from __future__ import annotations

import _signal as signal
import os
import resource
import stat
import sys
from typing import TYPE_CHECKING

from wardian._core import release_text
from wardian.host.cgroups import Limits, memory_of_ours
from wardian.host.config import Config, ConfigError, Volume
from wardian.host.confine import Confinement, Plan
from wardian.host.grants import FileGrant
from wardian.host.layers import words
from wardian.host.messages import OWN_STATUS, complain
from wardian.host.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_PROCESSES = 64
"""The Sentry, the zygote, the pool, and threads on their way out."""
DESCRIPTORS_MIN = 512


def stub_path() -> str:
    """The stub program, beside the package's modules."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "stub")


def make_plan(config: Config) -> Plan:
    """What the sandbox needs of the host; ConfigError for directories that cannot be used."""
    plan = Plan(stub_path())
    root = grant(config.rootfs or "/", writable=False, directory=True)
    volumes = [grant(v.source, not v.read_only, directory=False) for v in config.volumes]
    plan.grants = [root, *volumes]
    # Where the Sentry will be, neither relative paths nor symbolic links lead anywhere.
    config.rootfs = root.path
    config.volumes = [
        Volume(g.path, v.target, v.read_only) for v, g in zip(config.volumes, volumes, strict=True)
    ]
    plan.network_host = config.network == "host"
    # The kernel inside counts tasks exactly; the host's limit also has our own processes under it.
    pids = config.pids + OWN_PROCESSES if config.pids else None
    plan.limits = Limits(config.memory or None, config.cpus or None, pids)
    plan.debug = config.debug
    config.file_space = config.file_space or (config.memory or memory_of_ours()) // 2
    return plan


def check_descriptors() -> None:
    """The Sentry holds a few per guest process, and its own."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < DESCRIPTORS_MIN:
        raise ConfigError(
            f"only {most} open files are allowed, {DESCRIPTORS_MIN} are needed: raise `ulimit -Hn`"
        )


def grant(path: str, writable: bool, directory: bool) -> FileGrant:
    """One host path the user named."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise ConfigError(f"cannot use {path}: {why}: it must exist on this machine") from None
    is_directory = stat.S_ISDIR(mode)
    if directory and not is_directory:
        raise ConfigError(f"cannot use {path} as a root file system: it is not a directory")
    if not is_directory and not stat.S_ISREG(mode):
        raise ConfigError(f"cannot use {path}: only files and directories can be shown inside")
    if not os.access(path, os.R_OK | (os.X_OK if is_directory else 0)):
        raise ConfigError(f"cannot use {path}: permission denied")
    return FileGrant(path, writable)


def say_killed(signo: int, out_of_memory: bool) -> None:
    """The Sentry did not end by itself: one line for the user of the command line."""
    why = "ran out of memory" if out_of_memory else f"was killed by signal {signo}"
    complain(f"the sandbox {why}")


def run_here(config: Config) -> int:
    """``wardian do``: the exit status; ConfigError for what the user can mend."""
    relay = Relay()

    def sentry(box: Confinement) -> int:
        from wardian.host.sandbox import run_sentry  # not in the launcher

        return run_sentry(config, box, relay)

    return supervise(config, sentry, relay=relay)


def supervise(
    config: Config,
    sentry: Callable[[Confinement], int],
    killed: Callable[[int, bool], None] = say_killed,
    relay: Relay | None = None,
) -> int:
    """Run ``sentry`` in a child, which confines itself (``Confinement.enter``); its exit status.
    ``killed`` is told of its death by a signal and whether memory was the reason, while the limits
    still exist."""
    check_descriptors()
    box = Confinement(make_plan(config))
    relay = relay or Relay()
    try:
        box.prepare()
    except OSError as e:
        raise ConfigError(f"cannot confine the sandbox: {words(e)}: see `wardian doctor`") from None
    pid = os.fork()
    if pid == 0:
        relay.enter_sentry()
        be_the_sentry(box, sentry)
    release_text()  # all that is left to do is to wait
    try:
        status = relay.wait(pid)
        if status < 0:
            killed(-status, status == -signal.SIGKILL and box.oom_kills() > 0)
    finally:
        relay.restore()
        box.finish()
    return 128 - status if status < 0 else status


def be_the_sentry(box: Confinement, sentry: Callable[[Confinement], int]) -> None:
    """In the child; never returns."""
    status = OWN_STATUS
    try:
        status = status_of_sentry(box, sentry)
    except BaseException:
        report_bug()
    finally:
        os._exit(status)


def status_of_sentry(box: Confinement, sentry: Callable[[Confinement], int]) -> int:
    """Confine ourselves and run; what the user can mend is told."""
    try:
        # Files on volumes are made with the guest's mode, which its own umask has been applied to.
        os.umask(0)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return sentry(box)
    except ConfigError as e:
        complain(str(e))
        return e.status
    except OSError as e:
        complain(f"cannot set up the sandbox: {words(e)}: see `wardian doctor`")
        if box.plan.debug:
            sys.__excepthook__(*sys.exc_info())
        return OWN_STATUS


def report_bug() -> None:
    """An exception that nothing should let through: ours to mend."""
    complain("internal error, the sandbox was stopped: please report what follows")
    sys.__excepthook__(*sys.exc_info())  # without importing traceback, for which it is too late
    sys.stderr.flush()
