"""A process that runs code of a commit has temporary files and a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure.scratch import Scratch


def test_each_process_has_other_places_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    one, other = Scratch("/side"), Scratch("/side")
    given, theirs = one.make(), other.make()
    for name in ("TMPDIR", "XDG_CACHE_HOME"):
        assert given[name] != theirs[name]
        assert list(Path(given[name]).iterdir()) == []
        (Path(given[name]) / "answers.txt").write_text("x")
    one.remove()
    other.remove()
    left = [Path(place[name]) for place in (given, theirs) for name in ("TMPDIR", "XDG_CACHE_HOME")]
    assert not any(place.exists() for place in left)
    assert given["TORCH_EXTENSIONS_DIR"] == theirs["TORCH_EXTENSIONS_DIR"]
    another = Scratch("/another")
    assert given["TORCH_EXTENSIONS_DIR"] != another.make()["TORCH_EXTENSIONS_DIR"]
    another.remove()


def test_what_was_downloaded_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "BENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def places() -> list[str]:
        scratch = Scratch("/side")
        given = scratch.make()
        scratch.remove()
        return [given[name] for name in ("HF_HOME", "TORCH_HOME", "BENCH_CACHE")]

    cache = tmp_path / ".cache"
    assert places() == [f"{cache}/huggingface", f"{cache}/torch", f"{cache}/inference-cost-bench"]
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert places() == ["/elsewhere/huggingface", "/elsewhere/torch", "/elsewhere/inference-cost-bench"]
    monkeypatch.setenv("HF_HOME", "/models")
    assert places()[0] == "/models"


def test_a_process_that_runs_no_commit_has_those_of_the_user() -> None:
    scratch = Scratch(None)
    assert scratch.make() == {}
    scratch.remove()
