"""Random operations on an overlay and on a real directory."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from overlay_trees import NO_TASK, Files, Tree, contents, host_tree, names

from wardian.sentry.errno import LinuxError
from wardian.sentry.fs.overlay import OverlayDir
from wardian.sentry.vfs.file import O_RDONLY
from wardian.sentry.vfs.inode import Inode


def test_random_operations_agree_with_a_real_directory(tmp_path: Path) -> None:
    """A few thousand operations done to the overlay and to a plain copy of the lower tree."""
    files: Files = {}
    for i in range(12):
        files[f"d{i % 3}/s{i % 2}/f{i}"] = b"%d" % i
        files[f"d{i % 3}/g{i}"] = b"g%d" % i
    (tmp_path / "lower").mkdir()
    (tmp_path / "real").mkdir()
    host_tree(tmp_path / "real", files)
    tree = host_tree(tmp_path / "lower", files)
    rng = random.Random(7)
    for step in range(3000):
        compare_one(tree, tmp_path / "real", rng, step)
        if step % 300 == 0:
            assert walk_overlay(tree.root, "") == walk_real(tmp_path / "real", "")
    assert walk_overlay(tree.root, "") == walk_real(tmp_path / "real", "")


def compare_one(tree: Tree, real: Path, rng: random.Random, step: int) -> None:
    paths = sorted(walk_real(real, ""))
    path = rng.choice(paths) if paths else "top"
    other = rng.choice(paths) if paths and rng.random() < 0.5 else f"n{rng.randrange(30)}"
    if rng.random() < 0.5 and (real / path).is_dir():
        other = f"{path}/n{rng.randrange(10)}"
    action = rng.choice(["create", "write", "unlink", "rmdir", "mkdir", "rename", "rename", "link"])
    mine = attempt(lambda: overlay_action(tree, action, path, other, step))
    theirs = attempt(lambda: real_action(real, action, path, other, step))
    assert mine == theirs, (step, action, path, other, mine, theirs)


def attempt(action: Callable[[], None]) -> bool:
    try:
        action()
    except (OSError, LinuxError, AssertionError, ValueError):
        return False
    return True


def require(condition: bool) -> None:
    """What the VFS checks before it calls an inode."""
    if not condition:
        raise ValueError


def overlay_action(tree: Tree, action: str, path: str, other: str, step: int) -> None:
    above, name = tree.parent(other)
    require(above.is_dir)
    if action == "create":
        require(above.lookup(name) is None)
        tree.create(other, b"%d" % step)
    elif action == "mkdir":
        require(above.lookup(name) is None)
        tree.mkdir(other)
    elif action == "write":
        require(not tree.at(path).is_dir)
        tree.write(path, b"%d" % step)
    elif action == "unlink":
        require(not tree.at(path).is_dir)
        tree.unlink(path)
    elif action == "rmdir":
        require(tree.at(path).is_dir)
        tree.rmdir(path)
    elif action == "link":
        require(above.lookup(name) is None and not tree.at(path).is_dir)
        above.link(name, tree.at(path))
    else:
        replaced = above.lookup(name)
        require(not f"{other}/".startswith(f"{path}/") and not f"{path}/".startswith(f"{other}/"))
        require(replaced is None or replaced.is_dir == tree.at(path).is_dir)
        tree.rename(path, other)


def real_action(real: Path, action: str, path: str, other: str, step: int) -> None:
    if action == "create":
        with open(real / other, "xb") as f:
            f.write(b"%d" % step)
    elif action == "mkdir":
        os.mkdir(real / other)
    elif action == "write":
        fd = os.open(real / path, os.O_WRONLY)
        os.write(fd, b"%d" % step)
        os.close(fd)
    elif action == "unlink":
        os.unlink(real / path)
    elif action == "rmdir":
        os.rmdir(real / path)
    elif action == "link":
        os.link(real / path, real / other)
    else:
        require(path != other)
        os.rename(real / path, real / other)


def walk_overlay(inode: Inode, prefix: str) -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    file = inode.open(NO_TASK, O_RDONLY).hold()
    for name in names(file):
        if name in (".", ".."):
            continue
        child = inode.lookup(name.encode())
        assert child is not None
        if isinstance(child, OverlayDir):
            found[prefix + name] = (b"", 0)
            found |= walk_overlay(child, f"{prefix}{name}/")
        else:
            handle = child.open(NO_TASK, O_RDONLY).hold()
            found[prefix + name] = (contents(handle), child.getattr().nlink)
            handle.drop()
    file.drop()
    return found


def walk_real(directory: Path, prefix: str) -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    for entry in os.scandir(directory):
        if entry.is_dir():
            found[prefix + entry.name] = (b"", 0)
            found |= walk_real(directory / entry.name, f"{prefix}{entry.name}/")
        else:
            data = (directory / entry.name).read_bytes()
            found[prefix + entry.name] = (data, os.stat(entry.path).st_nlink)
    return found
