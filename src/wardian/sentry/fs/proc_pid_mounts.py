"""mounts, mountinfo and mountstats of /proc/<pid> (proc_pid_mounts(5), proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.fs.devices import dev_major, dev_minor
from wardian.sentry.fs.proc_pid_status import dead
from wardian.sentry.vfs.dentry import (
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RELATIME,
    Dentry,
    Mount,
    Path,
)
from wardian.sentry.vfs.namei import path_text

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MOUNT_FLAGS: Final = [
    (MS_NOSUID, "nosuid"),
    (MS_NODEV, "nodev"),
    (MS_NOEXEC, "noexec"),
    (MS_NOATIME, "noatime"),
    (MS_NODIRATIME, "nodiratime"),
    (MS_RELATIME, "relatime"),
]


def mount_options(mount: Mount) -> str:
    """``rw,nosuid,...``."""
    words = ["ro" if mount.read_only else "rw"]
    words += [word for flag, word in MOUNT_FLAGS if mount.flags & flag]
    return ",".join(words)


def visible_mounts(task: Task) -> list[tuple[Mount, bytes]]:
    """Mounts below the task's root, with their places."""
    found: list[tuple[Mount, bytes]] = []
    for mount in task.kernel.mounts.mounts():
        place = path_text(Path(mount, mount.root), task.fs.root)
        if place.startswith(b"/"):
            found.append((mount, place))
    return found


def escape_path(text: bytes) -> bytes:
    """Blanks and backslashes as octal (getmntent(3))."""
    for raw in (b"\\", b" ", b"\t", b"\n", b"#"):
        text = text.replace(raw, b"\\%03o" % raw[0])
    return text


def mounts(task: Task) -> bytes:
    """The mounts, as in fstab(5)."""
    if dead(task):
        return b""
    lines: list[bytes] = []
    for mount, place in visible_mounts(task):
        options = mount_options(mount) + mount.sb.options()
        lines.append(
            b"%s %s %s %s 0 0\n"
            % (
                escape_path(os.fsencode(mount.source)),
                escape_path(place),
                mount.sb.name.encode(),
                escape_path(options.encode()),
            )
        )
    return b"".join(lines)


def place_in_file_system(dentry: Dentry) -> bytes:
    """The path of a mount's root in its own file system: ``/``, but for bind mounts."""
    names: list[bytes] = []
    while not dentry.is_root:
        names.append(dentry.name)
        dentry = dentry.parent
    return b"/" + b"/".join(reversed(names))


def mountinfo(task: Task) -> bytes:
    """The mounts with ids."""
    if dead(task):
        return b""
    lines: list[bytes] = []
    for mount, place in visible_mounts(task):
        sb = mount.sb
        parent = mount.parent.mount_id if mount.parent is not None else 0
        inner = place_in_file_system(mount.root)
        rights = "ro" if sb.read_only else "rw"
        lines.append(
            b"%d %d %d:%d %s %s %s - %s %s %s\n"
            % (
                mount.mount_id,
                parent,
                dev_major(sb.dev),
                dev_minor(sb.dev),
                escape_path(inner),
                escape_path(place),
                mount_options(mount).encode(),
                sb.name.encode(),
                escape_path(os.fsencode(mount.source)),
                escape_path((rights + sb.options()).encode()),
            )
        )
    return b"".join(lines)


def mountstats(task: Task) -> bytes:
    """The mounts in words."""
    if dead(task):
        return b""
    return b"".join(
        [
            b"device %s mounted on %s with fstype %s\n"
            % (escape_path(os.fsencode(mount.source)), escape_path(place), mount.sb.name.encode())
            for mount, place in visible_mounts(task)
        ]
    )
