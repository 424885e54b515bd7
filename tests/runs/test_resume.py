"""A run is continued only with what it was begun with, and in the directory that it has written itself."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import fake_runtime
from fakes import said as said_of
from tampering import tampered_journal
from test_run import REQUESTS, TOKENS, config, rows, run, summary, variant

from bench.config.inputs import digests, inputs_of
from bench.config.reader import read_config
from bench.config.spec import Spec
from bench.errors import BenchError, IncomparableError, IntegrityError, UsageError
from bench.measure import worker_process
from bench.measure.events import Event
from bench.runs import run as harness
from bench.runs.run import run_spec

__all__ = ["fake_runtime"]  # a fixture
pytestmark = pytest.mark.usefixtures("fake_runtime")
ITEM = {"id": "a", "lang": "en", "prompt": "one and one is", "choices": ["two", "three"], "right": 0}


@pytest.fixture(autouse=True)
def _quick_and_unedited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "GRACE_S", 5.0)
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)


def with_files(tmp_path: Path) -> Spec:
    """A config that names a file of each kind; its variant fails the first time."""
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "one"}\n' * REQUESTS)
    (tmp_path / "text.txt").write_text("a text of one's own " * 40)
    (tmp_path / "items.jsonl").write_text(json.dumps(ITEM) + "\n")
    load = {
        "name": "file", "file": str(tmp_path / "prompts.jsonl"), "requests": REQUESTS,
        "output_tokens": TOKENS,
    }  # fmt: skip
    drift = {
        "text": str(tmp_path / "text.txt"), "tokens": 64, "window": 16, "suites": ["own"],
        "items": str(tmp_path / "items.jsonl"),
    }  # fmt: skip
    failing = variant(tmp_path, "a", {"at": "step", "call": 3, "do": "kill", "once": True})
    return config(tmp_path, [failing], workload=load, drift=drift)


def other_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "another"}\n' * REQUESTS)


def other_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("another text " * 40)


def other_items(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({**ITEM, "right": 1}) + "\n")


def other_weights(tmp_path: Path) -> None:
    weights = tmp_path / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\1\1\1")


def other_packages(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.11" / "site-packages" / "extra-2.0.dist-info").mkdir(parents=True)


FILES = {"prompts.jsonl": other_prompts, "text.txt": other_text, "items.jsonl": other_items}


def test_every_kind_of_file_is_an_input(tmp_path: Path) -> None:
    spec = with_files(tmp_path)
    found = {one.key: one.path.name for one in inputs_of(spec)}
    assert found == {
        "drift.text": "text.txt", "drift.items": "items.jsonl", "workload.file": "prompts.jsonl",
    }  # fmt: skip
    assert {Path(file).name for file in digests(spec)} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_an_input_that_changes_during_a_run_ends_it(name: str, tmp_path: Path) -> None:
    spec, done = with_files(tmp_path), []

    def tell(event: Event) -> None:
        if said_of(event) == ("baseline", "memory") and not done:
            done.append(FILES[name](tmp_path))

    with pytest.raises(IntegrityError, match=f"{name} changed during the run"):
        run_spec(spec, tmp_path / "results", tell=tell)
    assert done, "the baseline was never measured"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_prompts, "prompts.jsonl"),
        (other_text, "text.txt, the evaluation text"),
        (other_items, "items.jsonl"),
        (other_weights, "the weights of baseline"),
        (other_packages, "the packages of"),
    ],
)
def test_what_has_changed_since_is_not_continued(
    change: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    python = tmp_path / "bin" / "python"
    spec = with_files(tmp_path)
    python.parent.mkdir(exist_ok=True)
    shutil.copy(str(spec.groups[0].baseline.runtime.python), python)
    spec = _with_python(spec, python)
    directory, before = run(spec, tmp_path)
    assert rows(before)["a"]["status"] == "oom_host"
    change(tmp_path)
    with pytest.raises(IncomparableError, match=named):
        run_spec(spec, tmp_path / "results", resume=directory)
    assert summary(directory) == before


def _with_python(spec: Spec, python: Path) -> Spec:
    file = Path(spec.file)
    file.write_text(file.read_text().replace(str(spec.groups[0].baseline.runtime.python), str(python)))
    return read_config(file)


def test_nothing_has_changed(tmp_path: Path) -> None:
    spec = with_files(tmp_path)
    directory, _before = run(spec, tmp_path)
    _again, after = run(spec, tmp_path, resume=directory)
    assert rows(after)["a"]["status"] == "ok"


@pytest.mark.parametrize("how", ["another run", "a link", "nothing"])
def test_a_directory_that_is_swapped_during_a_run_gets_no_summary(how: str, tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a")])
    other, before = run(config(tmp_path, []), tmp_path)
    spec = config(tmp_path, [variant(tmp_path, "a")])
    out = tmp_path / "swapped"

    def tell(event: Event) -> None:
        if said_of(event) == ("a", "memory"):
            (mine,) = out.iterdir()
            mine.rename(tmp_path / "mine")
            if how == "another run":
                shutil.copytree(other, mine)
            elif how == "a link":
                mine.symlink_to(other)

    with pytest.raises(IntegrityError, match="another file now than this run has written"):
        run_spec(spec, out, tell=tell)
    assert summary(other) == before, "nothing was written through the link"
    assert not (tmp_path / "mine" / "run.json").exists()


def test_logs_that_become_a_link_while_a_run_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look at the directory and the lock, somebody else may have the machine for hours."""
    failing = variant(tmp_path, "a", {"at": "step", "call": 3, "do": "kill", "once": True})
    spec = config(tmp_path, [failing])
    directory, _before = run(spec, tmp_path)
    (tmp_path / "precious").mkdir()

    @contextmanager
    def waiting(*_: object) -> Iterator[None]:
        shutil.rmtree(directory / "logs")
        (directory / "logs").symlink_to(tmp_path / "precious")
        yield

    monkeypatch.setattr(harness, "the_machine", waiting)
    with pytest.raises(UsageError, match="logs is a link"):
        run_spec(spec, tmp_path / "results", resume=directory)
    assert list((tmp_path / "precious").iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_journal_says_it_is_continued_or_refused_in_a_sentence(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured here: what is tested is everything before and after that."""
    spec = with_files(tmp_path)
    directory, _before = run(spec, tmp_path)
    monkeypatch.setattr(harness, "GroupRun", lambda *_: SimpleNamespace(run=lambda: None, measured=[]))
    draw, said = random.Random(seed), set[int]()
    for number in range(25):
        place = tmp_path / f"tampered-{number}"
        shutil.copytree(directory, place)
        edit = tampered_journal(place, draw)
        try:
            run_spec(spec, tmp_path / "results", resume=place)
        except BenchError as refused:
            said.add(int(refused.exit_code))
        except Exception as crash:
            raise AssertionError(f"{edit}: {crash!r}") from crash
    assert said <= {2, 4, 5, 6}
    assert said & {4, 6}, "no edit of 25 was seen"
