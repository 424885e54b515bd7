"""No record of a server names the user's own directories."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.serving.own_places import without_places


def test_cache_package_and_home_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "home" / ".cache"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    program = Path(bench.__file__).parent / "serving" / "x.py"
    said = {"a": [f"{cache}/envs/python", str(program)], "b": {"c": f"not read: {tmp_path}/home/m"}, "n": 3}
    assert without_places(said) == {
        "a": ["CACHE/envs/python", "BENCH/bench/serving/x.py"], "b": {"c": "not read: ~/m"}, "n": 3,
    }  # fmt: skip
    beside = f"{cache}-2/m"  # begins alike, and is another directory
    assert without_places(("--model", "/data/m", beside)) == ["--model", "/data/m", "~/.cache-2/m"]


def test_a_home_at_the_root_replaces_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert without_places("/usr/bin/llama-server") == "/usr/bin/llama-server"
