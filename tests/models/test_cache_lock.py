"""A cache to which nothing can be written: one sentence, whatever was to be kept there."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import environments
from bench.errors import BenchError
from bench.models import disk_cache
from bench.models.cache_lock import locked, writing
from bench.plan import ceilings
from bench.serving import environments as servers
from bench.serving.engines import ADAPTERS
from bench.serving.engines.recipe import Recipe
from bench.sides.layer import layer

PACKAGE = Path(environments.__file__).parent
MAY_LOCK = {"models/disk_cache.py", "models/cache_lock.py", "store/run_lock.py"}


def lock_a_commit() -> None:
    with locked("build a commit", disk_cache.cache_root() / "sides" / "x"):
        pytest.fail("it cannot be held")


KEPT: dict[str, Callable[[], object]] = {
    "a model": lambda: disk_cache.fill("x", lambda _staging: None),
    "an environment": lambda: environments.make_engine_environment("onnxruntime"),
    "an environment of a server": lambda: servers.make("vllm", lambda _line: None),
    "the packages of this tool": layer,
    "ceilings": lambda: next(ceilings.measure_all()),
    "a commit": lock_a_commit,
}


@pytest.mark.parametrize("what", KEPT)
@pytest.mark.parametrize("place", ["/proc/nowhere", "/proc/self/cmdline", "/dev/null/x", "file", "dangling"])
def test_a_cache_that_cannot_be_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, place: str
) -> None:
    """Below /proc, for one, nothing can be made, and the kernel says that the directory is not there."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("/proc/nowhere")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / place))
    monkeypatch.setattr(ceilings, "_measure", lambda *_of: pytest.fail("it is measured before that is known"))
    toy = Recipe("toy", "toy", disk_bytes=0)
    monkeypatch.setitem(ADAPTERS, "vllm", replace(ADAPTERS["vllm"], recipe=lambda: toy))
    with pytest.raises(BenchError, match=r"cannot .+ in /.+: .+; set BENCH_CACHE to a directory that"):
        KEPT[what]()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "set BENCH_CACHE to"),
    ],
)
def test_space_is_asked_for_only_where_none_is_left(tmp_path: Path, code: int, advice: str) -> None:
    with pytest.raises(BenchError, match=f"; {advice}"), writing("keep a model", tmp_path):
        raise OSError(code, "no")


def test_an_environment_that_is_a_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").touch()
    (tmp_path / "cache" / "envs").mkdir(parents=True)
    (tmp_path / "cache" / "envs" / "onnxruntime-1").symlink_to(mine)
    with pytest.raises(BenchError, match=r"cannot delete an environment in .* symbolic link"):
        environments.remove_engine_environments("onnxruntime")
    assert (mine / "file").exists()


def test_no_other_module_locks_an_entry_of_the_cache() -> None:
    """Such a module would have to say what went wrong, and the first ones did not."""
    locks = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bFileLock\(", path.read_text())
    }
    assert locks == MAY_LOCK


@pytest.mark.parametrize(("free", "said"), [(1000, "no space is left in "), (2**30, "")])
def test_what_a_child_says_of_a_full_disk_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str
) -> None:
    """`python -m venv` says of its pip only that it "returned non-zero exit status 1"."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=free))
    with (
        pytest.raises(BenchError, match=r"^exit status 1") as caught,
        locked("make an environment", tmp_path / "envs" / "x"),
    ):
        raise BenchError("exit status 1")
    assert str(caught.value).partition("\n")[2].strip().startswith(said)
    assert (said != "") == ("set BENCH_CACHE" in str(caught.value))
