"""Commands of the sandbox for the API: started as children of its pid 1, signalled and ended by
messages; the end of each is told on a pipe of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from wardian.host.config import ConfigError
from wardian.host.program import encode, first_that_runs
from wardian.host.sandbox import Sandbox
from wardian.sdk.wire import NULL, SAME, Fields, Message
from wardian.sentry.errno import EINVAL, ENOENT, ENOTDIR, LinuxError
from wardian.sentry.fs.anon import AnonFS
from wardian.sentry.fs.hoststream import inherited_file
from wardian.sentry.fs.stdio import HOSTFD_MAGIC
from wardian.sentry.kernel.credentials import Credentials
from wardian.sentry.kernel.init import Ended
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import NSIG
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.syscalls.dir import chdir
from wardian.sentry.vfs.file import O_RDWR, POLLIN, File
from wardian.sentry.vfs.namei import AT_FDCWD
from wardian.sentry.vfs.open import open_path


class Command:
    """A command that runs."""

    def __init__(self, group: ThreadGroup, report: int, oom_kills: int) -> None:
        self.group = group
        self.report = report  # host descriptor for the word on its end
        self.oom_kills = oom_kills  # of the whole sandbox when it began
        self.cpu_ns = time.process_time_ns()  # the Sentry's, likewise


class Commands:
    """Those that run, and what is done with them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.kernel = sandbox.kernel
        self.init = sandbox.init
        self.streams = AnonFS("hostfd", self.kernel.anonymous_dev(), HOSTFD_MAGIC)
        self.running: dict[int, Command] = {}
        self.last = 0
        self.init.ended = self.ended
        self.caller = sandbox.find_user("")  # while the host may be asked
        self.user = self.act_as(sandbox.config.user)
        self.operations: dict[str, Callable[[Message], Fields | Message]] = {
            "spawn": self.spawn,
            "kill": self.kill,
            "end": self.end,
        }

    def act_as(self, name: str) -> Credentials:
        """Who commands run as; what we make ourselves belongs to them, too."""
        user = self.sandbox.find_user(name) if name else self.caller.copy()
        own = self.init.task.credentials
        own.fsuid, own.fsgid = user.fsuid, user.fsgid
        return user

    def spawn(self, message: Message) -> Fields:
        """Start a command."""
        fields = message.fields
        argv, env = fields["argv"], {**self.sandbox.config.env, **fields["env"]}
        user = fields["user"]
        task = self.init.prepare(self.sandbox.find_user(user) if user else self.user.copy())
        try:
            self.enter_directory(task, fields["cwd"])
            for number, file in enumerate(self.open_streams(fields["streams"], message.fds)):
                task.files.set(number, file, False)
            self.run(task, argv, env)
        except BaseException:
            self.init.discard(task)
            raise
        self.last += 1
        report = message.fds.pop()  # the streams were duplicated, this is the last one
        self.running[self.last] = Command(task.group, report, self.sandbox.box.oom_kills())
        return {"command": self.last, "pid": task.group.pid}

    def run(self, task: Task, argv: list[str], env: dict[str, str]) -> None:
        """Load the program and let it go."""
        words, variables = encode(argv, env)

        def attempt(path: bytes) -> None:
            image = self.init.load(task, path, words, variables)
            self.init.start(task, image)

        first_that_runs(argv[0], env, attempt)

    def enter_directory(self, task: Task, cwd: str | None) -> None:
        """The command's working directory, or the sandbox's, which may be missing if nobody asked
        for it."""
        place = self.sandbox.config.cwd if cwd is None else cwd
        try:
            chdir(task, os.fsencode(place))  # type: ignore[arg-type]
        except LinuxError as e:
            if cwd is None and not self.sandbox.config.cwd_required:
                return
            words = "no such directory" if isinstance(e, (ENOENT, ENOTDIR)) else str(e)
            raise ConfigError(f"cannot start in {place}: {words} in the sandbox") from None

    def open_streams(self, plan: list[Any], fds: list[int]) -> list[File]:
        """Standard input, output and error."""
        if len(plan) != 3 or len(fds) != 1 + sum(isinstance(entry, int) for entry in plan):
            raise EINVAL("bad streams")
        files: list[File] = []
        for entry in plan:
            if entry == SAME:
                files.append(files[1])
            elif entry == NULL:
                files.append(open_path(self.init.task, AT_FDCWD, b"/dev/null", O_RDWR, 0))
            else:
                fd = os.dup(fds[entry])
                files.append(
                    inherited_file(self.kernel, self.sandbox.host_fs, self.streams, fd, "/dev/fd")
                )
        return files

    def kill(self, message: Message) -> Fields:
        """A signal for a command's first process."""
        signo = message.fields["signal"]
        if not 0 <= signo <= NSIG:
            raise EINVAL("no such signal")
        command = self.running.get(message.fields["command"])
        if command is not None and signo:
            send_to_group(command.group, SigInfo(signo, 0))
        return {}

    def end(self, message: Message) -> Fields:
        """The end of a command and its descendants."""
        command = self.running.get(message.fields["command"])
        if command is not None:
            self.init.end_tree(command.group)
        return {}

    def ended(self, ended: Ended) -> None:
        """Tell whoever waits for it."""
        found = [n for n, command in self.running.items() if command.group.pid == ended.pid]
        if not found:
            return
        command = self.running.pop(found[0])
        if ended.host_kills and engine_is_gone(self.sandbox):
            self.init.end()  # not just this command: who waits shall hear of the whole
        if self.init.task.exited:
            return
        killed = self.sandbox.box.oom_kills() > command.oom_kills
        report = {
            "status": ended.wait_status,
            "user_ns": ended.cpu_ns,
            "system_ns": time.process_time_ns() - command.cpu_ns,
            "max_rss": ended.peak_resident,
            "wall_ns": ended.wall_ns,
            "oom_kills": ended.host_kills if killed else 0,
        }
        try:
            os.write(command.report, json.dumps(report).encode())
        except OSError:
            pass  # nobody waits any more
        os.close(command.report)


def engine_is_gone(sandbox: Sandbox) -> bool:
    """The zygote was killed: it takes all guests with it, but we may see them go first."""
    return bool(sandbox.kernel.poller.ready(sandbox.engine.zygote.socket.fileno(), POLLIN))
