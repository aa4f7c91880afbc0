"""What several tests of file systems are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from overlay_trees import Files, Maker, Tree, host_tree, tmpfs_tree


@pytest.fixture(params=["host", "tmpfs"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    def of_host(files: Files, size: int = 0) -> Tree:
        return host_tree(tmp_path, files, size)

    return of_host if request.param == "host" else tmpfs_tree
