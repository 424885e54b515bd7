"""What stands at the top of the tree: nothing that a tool has left there is under version control."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = {
    ".ci", ".github", ".gitignore", ".gitlab", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff",
    "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "bench", "configs", "docs", "mkdocs.yml",
    "models", "pyproject.toml", "results", "scripts", "tests",
}  # fmt: skip


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout says what is under version control")
def test_the_top_of_the_tree() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert {name.partition("/")[0] for name in tracked if name} == TOP
