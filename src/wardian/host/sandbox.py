"""One sandbox in this process: from a :class:`Config` to an exit status.

The order matters: everything the host must give (directories, terminal, zygote) is taken first,
then the confinement closes, and only then does the first guest instruction run (design D11).
"""

from __future__ import annotations

import _signal as signal
import gc
import os
from typing import TYPE_CHECKING

from wardian._core import release_text
from wardian.host import filters, profile
from wardian.host.config import Config, ConfigError
from wardian.host.confine import Confinement
from wardian.host.launch import report_bug
from wardian.host.memory_watch import MemoryWatch
from wardian.host.messages import OWN_STATUS, STDERR, complain, write_line
from wardian.host.program import encode, first_that_runs, plain
from wardian.host.relay import Relay
from wardian.host.signals import HostSignals
from wardian.host.user import guest_user
from wardian.platform.interface import HostProcess
from wardian.platform.log import Log
from wardian.platform.stub.engine import StubEngine
from wardian.platform.stub.zygote import ZygoteError
from wardian.sentry.errno import ENOTDIR, LinuxError
from wardian.sentry.fs.host import HostSuperBlock
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.hosttty import HostTerminal
from wardian.sentry.fs.overlay import OverlayFS
from wardian.sentry.fs.stdio import inherit_stdio
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.hostport import Clock
from wardian.sentry.kernel import boot
from wardian.sentry.kernel.callbacks import CallbackTimer
from wardian.sentry.kernel.credentials import Credentials, root_credentials
from wardian.sentry.kernel.dispatch import Dispatcher, KernelBug
from wardian.sentry.kernel.exit import exit_group
from wardian.sentry.kernel.init import Ended, Init
from wardian.sentry.kernel.loop import Loop
from wardian.sentry.kernel.signal_numbers import SIG_IGN
from wardian.sentry.mm.alternatives import Alternatives
from wardian.sentry.syscalls.marshal_gen import MARSHAL
from wardian.sentry.vfs import namei
from wardian.sentry.vfs.dentry import MS_NODEV, MS_NOSUID, MS_RDONLY
from wardian.sentry.vfs.inode import SuperBlock

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.profile.profiler import Profiler
    from wardian.sentry.vfs.dentry import Mount

LOG = Log("wardian.sandbox")
TIMEOUT_STATUS = 124
AT_FDCWD = -100
YOUNG_MAX = 5000
"""Objects that live before a collection looks at them. With CPython's 700 there is one for every
second fork and exec, most of whose objects are gone a moment later."""
BYTES_PER_INODE = 4096
"""As tmpfs(5): so much file space is one inode's."""


class Sandbox:
    """A sandbox under construction, then running."""

    def __init__(self, config: Config, box: Confinement) -> None:
        self.config = config
        self.box = box
        self.clock = Clock()
        self.host_fs = HostFS()
        self.engine: StubEngine
        self.kernel: Kernel
        self.init: Init
        self.task: Task
        self.terminal: HostTerminal | None = None
        self.watch: MemoryWatch | None = None
        self.signals: HostSignals | None = None
        self.profiler: Profiler | None = None
        self.timed_out = False

    # -- building ----------------------------------------------------------------------------------
    def build(self) -> None:
        """Everything up to, not including, the first program."""
        root = self.grant(self.config.rootfs or "/", False)
        self.engine = self.start_engine()
        hostname = self.config.hostname.encode()
        self.kernel = boot.make_kernel(self.clock, self.engine.poller, hostname)
        self.engine.events = self.dispatcher
        if self.config.patching:
            self.kernel.alternatives = Alternatives(self.kernel.host_cpu)
        self.set_limits()
        boot.mount_root(self.kernel, self.root_file_system(root), "overlay")
        self.task = self.first_task()
        boot.mount_system(self.task)
        self.set_up_network()
        self.observe()
        self.mount_extras()
        if self.box.memory_to_watch:
            limit, told = self.box.memory_to_watch, self.box.one_more_oom_kill
            self.watch = MemoryWatch(self.kernel, self.engine, limit, told)
        if self.config.argv:
            self.task.credentials = self.find_user(self.config.user)

    def set_limits(self) -> None:
        """What the kernel keeps to, or shows."""
        config, kernel = self.config, self.kernel
        kernel.file_space.bytes_limit = config.file_space
        kernel.file_space.inodes_limit = config.file_space // BYTES_PER_INODE
        kernel.memory_limit = config.memory
        kernel.cpu_limit = config.cpus
        if config.pids:
            kernel.pids.max_tasks = config.pids

    def root_file_system(self, root: tuple[int, bytes]) -> SuperBlock:
        """The granted directory, below an overlay unless --read-only."""
        lower = self.super_block(root, self.config.file_access, read_only=True)
        if self.config.read_only:
            return lower
        kernel = self.kernel
        return OverlayFS(kernel.anonymous_dev(), self.clock, lower, whole=kernel.file_space)

    def first_task(self) -> Task:
        """The command's own, or, without a command, that of a pid 1 for commands to come."""
        if self.config.argv:
            root = root_credentials()  # until everything is mounted
            return boot.first_task(self.kernel, HostProcess(), root, self.config.umask)
        self.init = Init(self.kernel, self.engine, self.command_ended)
        self.kernel.pids.max_tasks += 1  # --pids does not count it
        return self.init.task

    def find_user(self, text: str) -> Credentials:
        """Whom ``--user`` means inside."""
        return guest_user(text, lambda path: boot.read_small_file(self.task, path))

    def command_ended(self, ended: Ended) -> None:
        """A command of :attr:`init` is over; ``sdk.server`` puts its own function here."""

    def set_up_network(self) -> None:
        """--network: the host's sockets, a loopback of the sandbox's own, or nothing."""
        if self.config.network == "host":
            from wardian.sentry.net.host import HostNetworkStack
            from wardian.sentry.net.host_interfaces import read_host_network

            self.kernel.network = HostNetworkStack(self.kernel, read_host_network())
            return
        if self.config.network == "none":
            self.kernel.network.go_offline()
            return
        hosts = boot.read_small_file(self.task, b"/etc/hosts")
        self.kernel.network.adopt_host_name(hosts, self.config.hostname.encode())

    def observe(self) -> None:
        """--strace: lines on our standard error. --profile."""
        if self.config.profile is not None:
            from wardian.sentry.profile.profiler import Profiler

            self.profiler = Profiler(self.engine)
            self.dispatcher.observer = self.profiler
        if self.config.strace is None:
            return
        from wardian.sentry.strace.tracer import Tracer, UnknownCall

        try:
            self.dispatcher.observer = Tracer(self.config.strace, write_line)
            self.engine.traced = True
        except UnknownCall as e:
            raise ConfigError(f"--strace: {e}") from None

    @property
    def dispatcher(self) -> Dispatcher:
        hooks = self.kernel.hooks
        assert isinstance(hooks, Dispatcher)
        return hooks

    def start_engine(self) -> StubEngine:
        """The zygote and the channels."""
        validated = self.config.memory_mode == "validated"
        try:
            return StubEngine(
                self.box.stub,
                filters.guest_filters(validated),
                MARSHAL,
                self.box.proc_fd,
                validated,
                self.config.patching,
            )
        except ZygoteError as e:
            raise ConfigError(
                f"cannot start guest processes: {e}: `wardian doctor` says what is missing"
            ) from None

    def grant(self, path: str, writable: bool) -> tuple[int, bytes]:
        """The descriptor of a host directory or file that the launcher was granted."""
        fd, only = self.box.grants[path, writable]
        return os.dup(fd), only

    def super_block(self, granted: tuple[int, bytes], access: str, read_only: bool) -> SuperBlock:
        fd, only = granted
        return HostSuperBlock(
            self.host_fs,
            fd,
            self.kernel.anonymous_dev(),
            self.clock,
            shared=access == "shared",
            exclusive=access == "exclusive",
            read_only=read_only,
            only=only,
        )

    def mount_extras(self) -> None:
        """--volume and --tmpfs."""
        flags = MS_NOSUID | MS_NODEV
        for volume in self.config.volumes:
            granted = self.grant(volume.source, not volume.read_only)
            sb = self.super_block(granted, "shared", read_only=volume.read_only)
            access = MS_RDONLY if volume.read_only else 0
            source, directory = volume.source, not granted[1]
            self.mount(sb, volume.target, flags | access, source, directory).hold()
        for target in self.config.tmpfs:
            sb = TmpFS(self.kernel.anonymous_dev(), self.clock, whole=self.kernel.file_space)
            self.mount(sb, target, flags, "tmpfs", True)

    def mount(self, sb: SuperBlock, target: str, flags: int, source: str, directory: bool) -> Mount:
        name = os.fsencode(target)
        if not target.startswith("/"):
            raise ConfigError(f"bad mount point {target!r}: it must be absolute")
        if not target.strip("/."):
            raise ConfigError(f"cannot mount {source} on {target}: use --rootfs to change the root")
        try:
            if not directory:
                boot.make_file(self.task, name)
            mounted = boot.mount_at(self.task, sb, name, flags, source)
            if mounted is not None:
                return mounted
        except LinuxError as e:
            why = "it is a directory" if isinstance(e, ENOTDIR) and not directory else plain(e)
            raise ConfigError(f"cannot mount {source} on {target}: {why}") from None
        raise ConfigError(
            f"cannot mount {source} on {target}: the directory is missing and cannot be made"
        )

    # -- the first program -------------------------------------------------------------------------
    def attach_streams(self, relay: Relay) -> None:
        """Our own descriptors 0, 1 and 2 become the command's; a terminal becomes its terminal."""
        streams = self.config.streams
        self.terminal = inherit_stdio(self.task, self.host_fs, streams, relay.foreground)
        self.signals = HostSignals(self.kernel, self.engine, self.terminal, relay.reader)
        if self.config.argv:
            for number in relay.ignored:
                self.task.group.actions.get(number).handler = SIG_IGN
        for number in (0, 1):
            os.dup2(self.box.null_fd, number, inheritable=False)

    def enter_directory(self) -> None:
        """Stand where the command shall start."""
        try:
            place = namei.resolve(self.task, AT_FDCWD, os.fsencode(self.config.cwd))
            if not place.inode.is_dir:
                raise ENOTDIR("not a directory")
            self.task.fs.cwd = place
        except LinuxError as e:
            if self.config.cwd_required:
                raise ConfigError(f"cannot start in {self.config.cwd}: {plain(e)}") from None

    def start(self) -> None:
        """Find the command in its PATH and run it."""
        argv, env = encode(self.config.argv, self.config.env)
        first_that_runs(
            self.config.argv[0],
            self.config.env,
            lambda path: boot.start_program(self.task, self.engine, path, argv, env),
        )

    # -- running -----------------------------------------------------------------------------------
    def run(self) -> int:
        """Until the first program ends; the exit status for a shell."""
        if self.config.timeout:
            deadline = self.clock.monotonic_ns() + int(self.config.timeout * 1e9)
            self.kernel.timers.arm(CallbackTimer(self.time_is_up), deadline)
        loop = Loop(self.kernel, self.engine, self.dispatcher)
        keep_what_there_is()
        if self.profiler is not None:
            self.profiler.start()
        try:
            status = loop.run()
        except OSError as e:  # no longer something the user can mend
            raise KernelBug("a host call that must not fail") from e
        if self.profiler is not None:
            self.profiler.stop()
            profile.write(self.config, self.profiler)
        if self.timed_out:
            return TIMEOUT_STATUS
        if self.engine.zygote_gone:
            complain("the sandbox ended: its first host process was killed from outside")
        return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF

    def time_is_up(self) -> None:
        """--timeout: everything ends."""
        self.timed_out = True
        if self.kernel.init is not None:
            exit_group(self.kernel.init, signal.SIGKILL)

    def tell_confinement(self) -> None:
        """To the log, and to a user at a terminal when something is missing."""
        LOG.info("confinement: %s", self.box.summary())
        if self.box.layers.missing() and os.isatty(STDERR):
            complain(f"{self.box.summary()}: `wardian doctor` says why and how to get them")

    def tell_patches(self) -> None:
        """To the log: what was rewritten of programs' text (design D7)."""
        engine, alternatives = self.engine, self.kernel.alternatives
        LOG.info(
            "call sites: %d patched, %d left to trap; programs with answers to cpuid: %d",
            engine.patched,
            engine.unpatched,
            len(alternatives.texts) if alternatives is not None else 0,
        )

    def close(self) -> None:
        """Nothing of the sandbox is left on the host."""
        self.tell_patches()
        if self.signals is not None:
            self.signals.close()
        if self.terminal is not None:
            self.terminal.close()
        self.engine.close()


def keep_what_there_is() -> None:
    """What was made until now stays: no garbage collection needs to look at it. Before the first
    program runs it is off, for imports leave no garbage (``cli.main``). Of the text that ran until
    now most will not run again: it need not count as ours."""
    release_text()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 10, 10)
    gc.enable()


def preload(config: Config) -> None:
    """Import what this sandbox needs later: behind the confinement there are no files to import
    from."""
    if config.network == "host":
        import wardian.sentry.net.host
        import wardian.sentry.net.host_interfaces
    if config.strace is not None:
        import wardian.sentry.strace.tracer  # noqa: F401
    if config.profile is not None:
        profile.preload(config.profile)


def run_sentry(config: Config, box: Confinement, relay: Relay) -> int:
    """In the Sentry: everything the host must give is taken before the last layer closes."""
    preload(config)
    box.enter()
    sandbox = Sandbox(config, box)
    sandbox.build()
    try:
        sandbox.attach_streams(relay)
        sandbox.enter_directory()
        sandbox.box.seal()
        sandbox.tell_confinement()
        sandbox.start()
        return sandbox.run()
    except KernelBug:
        report_bug()
        return OWN_STATUS
    finally:
        sandbox.close()
