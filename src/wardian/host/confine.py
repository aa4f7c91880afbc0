"""All layers around a sandbox, in the one order that works, each where the host allows it.

    launcher   prepare()   control group; user namespace, then the others    single-threaded
               fork        the child becomes the Sentry, first process of the pid namespace
    Sentry     enter()     granted directories; empty root; Landlock; capabilities
               ...         start the zygote, open everything else, import everything
               seal()      the Sentry's own filter; from now on only host calls of sentry_policy
    launcher   finish()    once the Sentry is gone: remove the control group

Why this order: mounts cannot change once Landlock is on; the zygote must be born inside the
Landlock domain and without capabilities the Sentry lacks, or the Sentry may not read guest memory;
a filter comes last because it forbids all of the above. The Sentry is *in* the pid namespace, so
that the numbers guests' threads leave in shared memory are the numbers it uses, so that it can
name no process but its guests', and so that the host kernel ends all of them when the Sentry ends,
however it ends.

Nothing here fails because a layer is missing: :attr:`Confinement.layers` says what there is, what
is not, why, and how to get it. Only a host without seccomp filters is refused, in
:meth:`Confinement.seal` and by the zygote.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Sequence

from wardian.host import capabilities, cgroups, landlock, namespaces, sentry_policy, syscalls

APPLIED = "applied"
PARTLY = "partly"
MISSING = "missing"
NOT_ASKED = "not asked for"

STUB = "/stub"
"""Where the stub program is for the zygote, once the root is ours."""

_HOW = {
    "user": (
        "allow unprivileged user namespaces: sysctl user.max_user_namespaces above 0, where they "
        "exist kernel.unprivileged_userns_clone=1 and "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that "
        "lets unshare through"
    ),
    "namespaces": "run as root or allow user namespaces",
    "root": "Linux 5.12 with a mount namespace, or CAP_SYS_CHROOT",
    "grants": "Linux 5.12 with a mount namespace",
    "landlock": "Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= boot parameter",
    "limits": "run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes",
    "capabilities": "nothing to do: report this as a bug",
}


_PURPOSE = {
    "mount": "a file tree of its own",
    "pid": "can name no process but its own; all end with the first",
    "net": "no network",
    "ipc": "no System V or POSIX message queues of others",
    "uts": "no host name to change",
    "cgroup": "sees no control group but its own",
}


class FileGrant:
    """A file or directory of the host that the sandbox uses."""

    def __init__(self, path: str, writable: bool = False) -> None:
        self.path = os.path.realpath(path)
        self.writable = writable


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


class Layer:
    """One layer as it turned out."""

    def __init__(self, name: str, state: str, detail: str, remedy: str = "") -> None:
        self.name = name
        self.state = state
        self.detail = detail
        self.remedy = remedy


class Confinement:
    """The layers of one sandbox; see the module."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layers: list[Layer] = []
        self.group: cgroups.Group | None = None
        self.grants: dict[str, tuple[int, bytes]] = {}
        """Path of a grant -> directory descriptor, and the one name in it when it is a file."""
        self.proc_fd = -1
        self.null_fd = -1
        self.stub = plan.stub
        self._spaces: set[str] = set()
        self._doors: list[int] = []
        self._oom = -1
        self._hidden = False
        self._temporary: namespaces.TemporaryRoot | None = None

    # -- in the launcher -------------------------------------------------------------------------
    def prepare(self) -> None:
        """Before the fork of the Sentry. The next child is the first process of the pid
        namespace."""
        self._make_group()
        self._enter_user()
        self._enter_namespaces(["mount", "pid", "net", "ipc", "uts"])
        if "mount" in self._spaces:
            namespaces.private_mounts()
        elif capabilities.has(capabilities.SYS_CHROOT):
            self._temporary = namespaces.TemporaryRoot({STUB.strip("/"): self._program()})

    def finish(self) -> None:
        """After the end of the Sentry."""
        if self._temporary:
            self._temporary.discard()
        if self.group:
            self.group.remove()

    def _program(self) -> bytes:
        with open(self.plan.stub, "rb") as file:
            return file.read()

    def _make_group(self) -> None:
        limits = self.plan.limits
        wanted = limits.controllers()
        if not wanted:
            self._note("limits", NOT_ASKED, "none")
            return
        group = cgroups.create(limits)
        try:
            self._doors = group.doors()
            self.group = group
        except OSError as error:
            group.remove()
            group.missing = dict.fromkeys(wanted, _words(error))
        self._set_fallbacks(group.missing)
        made = [name for name in wanted if name not in group.missing]
        if not group.missing:
            self._note("limits", APPLIED, f"control group for {', '.join(made)}")
            return
        reasons = ", ".join(f"{name} ({why})" for name, why in group.missing.items())
        instead = "; ".join(cgroups.FALLBACKS[name] for name in group.missing)
        words = f"no control group for {reasons}: {instead}"
        self._note("limits", PARTLY if made else MISSING, words, _HOW["limits"])

    def _join_group(self) -> None:
        """The Sentry moves itself in, and then cannot see any other group."""
        for door in self._doors:
            os.write(door, b"0")
            os.close(door)
        self._doors = []
        self._enter_namespaces(["cgroup"])

    def _set_fallbacks(self, missing: dict[str, str]) -> None:
        limits = self.plan.limits
        if "memory" in missing and limits.memory is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            if hard == resource.RLIM_INFINITY or limits.memory <= hard:
                self.guest_data_limit = limits.memory
        if "cpu" in missing and limits.cpus is not None:
            os.sched_setaffinity(0, cgroups.affinity_for(limits.cpus))

    guest_data_limit = -1
    """RLIMIT_DATA for every guest process where no group limits memory; -1 for none."""

    def _enter_user(self) -> None:
        def enter() -> str:
            namespaces.enter_user()
            return "any privilege left ends at its border"

        self._try("user namespace", enter, _HOW["user"])

    def _enter_namespaces(self, kinds: list[str]) -> None:
        kinds = [kind for kind in kinds if kind not in self.plan.without]
        if self.plan.network_host and "net" in kinds:
            kinds.remove("net")
            self._note("net namespace", NOT_ASKED, "--network=host uses the host's network")
        failed = namespaces.enter_others(kinds)
        for kind in kinds:
            name = f"{kind} namespace"
            if kind in failed:
                self._note(name, MISSING, failed[kind], _HOW["namespaces"])
            else:
                self._spaces.add(kind)
                self._note(name, APPLIED, _PURPOSE[kind])

    # -- in the Sentry ---------------------------------------------------------------------------
    def enter(self) -> None:
        """In the Sentry, single-threaded, before the zygote is started."""
        self._join_group()
        self._offer_children_to_oom()
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        program = self._program()
        mounts = self._null_mount()
        self._open_grants()
        self._open_proc(mounts)
        self._leave_root({STUB.strip("/"): program}, mounts)
        for fd in mounts.values():
            if fd != self.proc_fd:
                os.close(fd)
        capabilities.no_new_privs()
        self._try("landlock", self._restrict_files, _HOW["landlock"])
        self._try("capabilities", self._drop_capabilities, _HOW["capabilities"])

    def _offer_children_to_oom(self) -> None:
        """Where memory runs out the host shall end a guest, not the Sentry: the zygote is born with
        the highest score, and :meth:`seal` takes ours back."""
        try:
            self._oom = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            self._oom_before = os.read(self._oom, 16)
            os.write(self._oom, b"1000")
        except OSError:
            pass  # then the larger one goes, which is a guest as a rule

    _oom_before = b""

    def _spare_sentry(self) -> None:
        if self._oom < 0:
            return
        try:
            os.write(self._oom, self._oom_before)
        except OSError:
            pass
        os.close(self._oom)

    def seal(self) -> None:
        """In the Sentry, after the zygote has started and everything is open and imported."""
        self._spare_sentry()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        rows = sentry_policy.rows(
            self.plan.writes, self.plan.network_host, sentry_policy.host_has_xattrat()
        )
        if "seccomp" in self.plan.without:
            self._note("seccomp", MISSING, "left out on purpose")
            return
        program = sentry_policy.sentry_filter(rows, self.plan.debug)
        sentry_policy.install(program, self.plan.debug)
        self._note("seccomp", APPLIED, f"{len({row.number for row in rows})} calls")

    def _open_grants(self) -> None:
        """Grants first, then those that lie above kernel interfaces, once these are hidden."""
        hidden = namespaces.kernel_directories()
        above = [g for g in self.plan.grants if any(_is_above(g.path, path) for path in hidden)]
        try:
            if "mount" not in self._spaces:
                raise PermissionError(1, "no mount namespace")
            for grant in self.plan.grants:
                if grant not in above:
                    self._clone(grant)
            if above:
                namespaces.hide(hidden)
                self._hidden = True
            for grant in above:
                self._clone(grant)
            self._note("grants", APPLIED, "copies of the granted trees: no devices, read-only ones")
        except OSError as error:
            self._note("grants", MISSING, _words(error), _HOW["grants"])
            for grant in self.plan.grants:
                self._open(grant)

    def _clone(self, grant: FileGrant) -> None:
        directory, only = _split(grant.path)
        fd = namespaces.clone_grant(directory, grant.writable)
        self.grants[grant.path] = (fd, os.fsencode(only))

    def _open(self, grant: FileGrant) -> None:
        if grant.path in self.grants:
            return
        directory, only = _split(grant.path)
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.grants[grant.path] = (fd, os.fsencode(only))

    def _null_mount(self) -> dict[str, int]:
        """/dev/null, for the root of our own; before /dev is covered."""
        if "mount" in self._spaces:
            try:
                return {"dev/null": syscalls.clone_tree("/dev/null", recursive=False)}
            except OSError:
                pass  # null_fd will have to do
        return {}

    def _open_proc(self, mounts: dict[str, int]) -> None:
        """A /proc for guests' maps and counters: with nothing else in it where that can be had."""
        if {"mount", "pid"} <= self._spaces and os.getpid() == 1:
            try:
                mounts["proc"] = self.proc_fd = namespaces.own_proc()
                self._note("proc", APPLIED, "shows only the sandbox's processes")
                return
            except OSError as error:
                reason = _words(error)
        else:
            reason = "needs mount and pid namespaces"
        self._note(
            "proc", MISSING, reason, "a /proc that is not partly covered (container: unmask it)"
        )
        if not self._hidden:
            self.proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _leave_root(self, files: dict[str, bytes], mounts: dict[str, int]) -> None:
        try:
            if self._temporary:
                self._temporary.enter()
                self._note("root", PARTLY, "chroot, for want of a mount namespace", _HOW["root"])
            elif "mount" in self._spaces:
                namespaces.empty_root(files, mounts)
                self._note("root", APPLIED, f"only {', '.join([*files, *mounts])}")
            else:
                raise PermissionError(1, "no mount namespace and no CAP_SYS_CHROOT")
            self.stub = STUB
        except OSError as error:
            self._note("root", MISSING, _words(error), _HOW["root"])

    def _restrict_files(self) -> str:
        grants: list[landlock.Grant] = []
        for grant in self.plan.grants:
            grants += self._landlock_grants(grant)
        stub = os.open(self.stub, os.O_PATH | os.O_CLOEXEC)
        grants.append(landlock.Grant(stub, owned=True))
        grants.append(landlock.Grant(self.null_fd, writable=True))
        if self.proc_fd >= 0:
            grants.append(landlock.Grant(self.proc_fd))
        try:
            version = landlock.restrict(grants, self.plan.network_host)
        finally:
            for rule in grants:
                if rule.owned:
                    os.close(rule.fd)
        return f"version {version}, {len(grants)} rules"

    def _landlock_grants(self, grant: FileGrant) -> Iterable[landlock.Grant]:
        directory, only = self.grants[grant.path]
        if only:
            fd = os.open(only, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            return [landlock.Grant(fd, grant.writable, owned=True)]
        if grant.path != "/" or self._hidden:
            return [landlock.Grant(directory, grant.writable)]
        return _all_but_kernel_directories(directory, grant.writable)

    def _drop_capabilities(self) -> str:
        keep: frozenset[int] = frozenset()
        if capabilities.is_root():
            keep = capabilities.needed_for_files(self.plan.writes)
        capabilities.drop(keep)
        left = capabilities.names_of(capabilities.effective())
        return f"only {', '.join(left)}, for files of others" if left else "none"

    # -- reporting -------------------------------------------------------------------------------
    def missing(self) -> list[Layer]:
        """Layers that were wanted and are not, or not wholly, there."""
        return [layer for layer in self.layers if layer.state in (MISSING, PARTLY)]

    def summary(self) -> str:
        """One line for the log."""
        lacking = [layer.name for layer in self.missing()]
        return "all layers" if not lacking else f"without {', '.join(lacking)}"

    def _note(self, name: str, state: str, detail: str, remedy: str = "") -> None:
        self.layers.append(Layer(name, state, detail, remedy))

    def _try(self, name: str, action: Callable[[], str], remedy: str) -> None:
        """Run a layer that may fail."""
        if name.removesuffix(" namespace") in self.plan.without:
            self._note(name, MISSING, "left out on purpose")
            return
        try:
            self._note(name, APPLIED, action())
        except OSError as error:
            self._note(name, MISSING, _words(error), remedy)


def _split(path: str) -> tuple[str, str]:
    """The directory to open, and the one name in it when ``path`` is not a directory."""
    if os.path.isdir(path):
        return path, ""
    os.stat(path)  # says why, when there is no such thing
    return os.path.dirname(path), os.path.basename(path)


def _is_above(path: str, other: str) -> bool:
    return path == "/" or other.startswith(path + "/")


def _all_but_kernel_directories(directory: int, writable: bool) -> Sequence[landlock.Grant]:
    """Without a mount namespace nothing can be hidden below "/": list what is in it instead."""
    found = [landlock.Grant(directory, listing=True)]
    hidden = {path.strip("/") for path in namespaces.ALWAYS_HIDDEN}
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for name in os.listdir(reading):
            if name not in hidden:
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                found.append(landlock.Grant(fd, writable, owned=True))
    finally:
        os.close(reading)
    return found


def _words(error: OSError) -> str:
    where = f": {os.fsdecode(error.filename)}" if error.filename else ""
    return (error.strerror or str(error)) + where
