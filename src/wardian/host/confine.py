"""All layers around a sandbox, in the one order that works, each where the host allows it.

    launcher   prepare()   control group; user namespace, then the others      single-threaded
               fork        the child becomes the Sentry, first process of the pid namespace
    Sentry     enter()     granted files; empty root; Landlock; capabilities   single-threaded
               ...         start the zygote, open and import everything else
               seal()      from now on only the host calls of sentry_policy
    launcher   finish()    once the Sentry is gone: remove the control group

Why this order: mounts cannot change once Landlock is on; the zygote must be born inside the
Landlock domain and without capabilities the Sentry lacks, or the Sentry may not read guest memory;
a filter comes last because it forbids all of the above. The Sentry is *in* the pid namespace, so
that the numbers guests' threads leave in shared memory are the numbers it uses, so that it can
name no process but its guests', and so that the host kernel ends all of them when the Sentry ends,
however it ends.

Nothing here fails because a layer is missing: :attr:`Confinement.layers` says what there is, what
is not, why, and how to get it. Only a host without seccomp filters is refused, with OSError from
:meth:`Confinement.seal` and by the zygote. A granted file that cannot be opened is OSError from
:meth:`Confinement.enter`.
"""

from __future__ import annotations

import _signal as signal
import os
import resource
from typing import TYPE_CHECKING

from wardian.host import capabilities, cgroups, filters, namespaces, syscalls
from wardian.host.grants import FileGrant, HostFiles
from wardian.host.layers import APPLIED, HOW, MISSING, NOT_ASKED, PARTLY, Layers, words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Confinement", "FileGrant", "Plan"]

_PURPOSE = {
    "mount": "a file tree of its own",
    "pid": "can name no process but its own; all end with the first",
    "net": "no network",
    "ipc": "no System V or POSIX message queues of others",
    "uts": "no host name to change",
    "cgroup": "sees no control group but its own",
}


class Plan:
    """What a sandbox needs, and so what its layers must leave open."""

    def __init__(self, stub: str) -> None:
        self.stub = stub  # the stub program
        self.grants: list[FileGrant] = []
        self.network_host = False
        self.limits = cgroups.Limits()
        self.debug = False  # the Sentry's filter refuses instead of killing
        self.without: frozenset[str] = frozenset()  # layers left out on purpose, for tests

    @property
    def writes(self) -> bool:
        """Whether any grant may be written to."""
        return any(grant.writable for grant in self.grants)


class Confinement:
    """The layers of one sandbox; see the module."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layers = Layers(plan.without)
        self.files = HostFiles(self.layers, plan.grants, plan.stub)
        self.group: cgroups.Group | None = None
        self.memory_to_watch = 0
        """The memory limit that no group keeps: the Sentry has to (``memory_watch``)."""
        self.ended_for_memory = 0  # programs it ended
        self._spaces: set[str] = set()
        self._doors: list[int] = []
        self._oom_door = -1
        self._oom = -1
        self._oom_before = b""
        self._spare_root = -1
        self._debug_filter: Callable[[bool, bool, bool], bytes] | None = None
        if plan.debug:
            from wardian.host.sentry_policy import debug_filter  # as long as there is an import

            self._debug_filter = debug_filter

    # -- what came of it, for the Sentry ---------------------------------------------------------
    @property
    def grants(self) -> dict[tuple[str, bool], tuple[int, bytes]]:
        """Real path and writability of a grant -> directory descriptor, and the one name in it when
        it is a file."""
        return self.files.opened

    @property
    def stub(self) -> str:
        """Where the zygote's program is, after :meth:`enter`."""
        return self.files.stub

    @property
    def proc_fd(self) -> int:
        """Where guests' /proc/PID files are, -1 for nowhere."""
        return self.files.proc_fd

    @property
    def null_fd(self) -> int:
        """/dev/null, open for reading and writing."""
        return self.files.null_fd

    def oom_kills(self) -> int:
        """How many processes were ended because the sandbox's memory was used up."""
        return cgroups.oom_kills(self._oom_door) if self._oom_door >= 0 else self.ended_for_memory

    def one_more_oom_kill(self) -> None:
        """``memory_watch`` ended a program."""
        self.ended_for_memory += 1

    def summary(self) -> str:
        """One line for the log."""
        lacking = [layer.name for layer in self.layers.missing()]
        return "all layers" if not lacking else f"without {', '.join(lacking)}"

    # -- in the launcher -------------------------------------------------------------------------
    def prepare(self) -> None:
        """Before the fork of the Sentry: the next child is the first process of the pid
        namespace."""
        self._make_group()
        self.layers.attempt("user namespace", _enter_user, HOW["user"])
        self._enter_namespaces(["mount", "net", "ipc", "uts"])
        if "mount" in self._spaces:
            namespaces.private_mounts()
            if self._is_host_root() or not namespaces.proc_is_covered():
                self._enter_namespaces(["pid"])
                return
        self.layers.note("pid namespace", MISSING, "there would be no /proc for it", HOW["pid"])
        if "mount" not in self._spaces and _can_chroot():
            try:
                self._spare_root = namespaces.make_spare_root()
            except OSError:
                pass  # a /tmp that cannot be written to: then there is no other root

    def finish(self) -> None:
        """After the end of the Sentry."""
        if self._spare_root >= 0:
            os.close(self._spare_root)
        if self.group:
            self.group.remove()

    def _make_group(self) -> None:
        limits = self.plan.limits
        wanted = limits.controllers()
        if not wanted:
            self.layers.note("limits", NOT_ASKED, "none")
            return
        group = cgroups.create(limits)
        try:
            self._doors = group.doors()
            self._oom_door = group.oom_door()
            self.group = group
        except OSError as error:
            group.remove()
            group.missing = dict.fromkeys(wanted, words(error))
        self._set_fallbacks(group.missing)
        made = [name for name in wanted if name not in group.missing]
        if not group.missing:
            self.layers.note("limits", APPLIED, f"control group for {', '.join(made)}")
            return
        reasons = ", ".join(f"{name} ({why})" for name, why in group.missing.items())
        instead = "; ".join(cgroups.FALLBACKS[name] for name in group.missing)
        detail = f"no control group for {reasons}: {instead}"
        self.layers.note("limits", PARTLY if made else MISSING, detail, HOW["limits"])

    def _set_fallbacks(self, missing: dict[str, str]) -> None:
        limits = self.plan.limits
        if "memory" in missing and limits.memory is not None:
            self.memory_to_watch = limits.memory
        if "cpu" in missing and limits.cpus is not None:
            os.sched_setaffinity(0, cgroups.affinity_for(limits.cpus))

    def _is_host_root(self) -> bool:
        """Still in the first user namespace, and root there: proc may be mounted at will."""
        entered = any(x.name == "user namespace" and x.state == APPLIED for x in self.layers.all)
        return not entered and capabilities.has(capabilities.SYS_ADMIN)

    def _enter_namespaces(self, kinds: list[str]) -> None:
        kinds = [kind for kind in kinds if kind not in self.plan.without]
        if self.plan.network_host and "net" in kinds:
            kinds.remove("net")
            self.layers.note("net namespace", NOT_ASKED, "--network=host uses the host's network")
        failed = namespaces.enter_others(kinds)
        for kind in kinds:
            name = f"{kind} namespace"
            if kind in failed:
                self.layers.note(name, MISSING, failed[kind], HOW["namespaces"])
            else:
                self._spaces.add(kind)
                self.layers.note(name, APPLIED, _PURPOSE[kind])

    # -- in the Sentry ---------------------------------------------------------------------------
    def enter(self) -> None:
        """In the Sentry, single-threaded, before the zygote is started."""
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # not without the launcher
        if "mount" in self._spaces:
            # One more: pivot_root(2) takes along whoever shares ours, and the launcher stays.
            syscalls.unshare(syscalls.CLONE_NEWNS)
        self._join_group()
        self._offer_children_to_oom()
        self.files.take(self._spaces)
        self._leave_root()
        capabilities.no_new_privs()
        self.layers.attempt(
            "landlock", lambda: self.files.restrict(self.plan.network_host), HOW["landlock"]
        )
        self.files.release()
        self.layers.attempt("capabilities", self._drop_capabilities, HOW["capabilities"])

    def seal(self) -> None:
        """In the Sentry, after the zygote has started and everything is open and imported."""
        self._spare_sentry()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self._spare_root >= 0:
            namespaces.enter_spare_root(self._spare_root)
            capabilities.drop(self._kept_capabilities())
        if "seccomp" in self.plan.without:
            self.layers.note("seccomp", MISSING, "left out on purpose")
            return
        wanted = (self.plan.writes, self.plan.network_host, filters.host_has_xattrat())
        calls, program = filters.sentry_filter(*wanted)
        if self._debug_filter is not None:
            program = self._debug_filter(*wanted)
        filters.install(program, self.plan.debug)
        self.layers.note("seccomp", APPLIED, f"{calls} calls")

    def _join_group(self) -> None:
        """The Sentry moves itself in, and then cannot see any other group."""
        for door in self._doors:
            os.write(door, b"0")
            os.close(door)
        self._doors = []
        self._enter_namespaces(["cgroup"])

    def _leave_root(self) -> None:
        if self._spare_root >= 0:  # entered in seal(): the zygote needs files of the old one
            detail = "chroot to an empty directory, for want of a mount namespace"
            self.layers.note("root", PARTLY, detail, HOW["root"])
            return
        try:
            if "mount" not in self._spaces:
                raise PermissionError(1, "no mount namespace")
            self.files.leave_root()
            self.layers.note("root", APPLIED, f"only {self.files.contents()}")
        except OSError as error:
            self.layers.note("root", MISSING, words(error), HOW["root"])

    def _kept_capabilities(self) -> frozenset[int]:
        if capabilities.is_root():
            return capabilities.needed_for_files(self.plan.writes)
        return frozenset()

    def _drop_capabilities(self) -> str:
        kept = self._kept_capabilities()
        capabilities.drop(kept | {capabilities.SYS_CHROOT} if self._spare_root >= 0 else kept)
        left = capabilities.names_of(capabilities.effective() & sum(1 << bit for bit in kept))
        return f"only {', '.join(left)}, for files of others" if left else "none"

    def _offer_children_to_oom(self) -> None:
        """Where memory runs out the host shall end a guest, not the Sentry: the zygote is born with
        the highest score, and :meth:`seal` takes ours back."""
        try:
            self._oom = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self._oom_before = os.read(self._oom, 16)
            os.write(self._oom, b"1000")
        except OSError:
            pass  # then the larger one goes, which is a guest as a rule

    def _spare_sentry(self) -> None:
        if self._oom < 0:
            return
        try:
            os.write(self._oom, self._oom_before)
        except OSError:
            pass
        os.close(self._oom)


def _enter_user() -> str:
    namespaces.enter_user()
    return "any privilege left ends at its border"


def _can_chroot() -> bool:
    """And give the zygote no capability: without CAP_SETPCAP it would keep CAP_SYS_CHROOT, which
    we are going to drop, and then we could not read guest memory (ptrace(2))."""
    wanted = (capabilities.SYS_CHROOT, capabilities.SETPCAP)
    return all(capabilities.has(capability) for capability in wanted)
