"""A run is continued only with what it was begun with, and in the directory that it has written itself."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from fakes import arm_record, fake_model, fake_runtime, run_record
from fakes import said as said_of
from tampering import tampered_journal
from test_run import REQUESTS, TOKENS, config, rows, run, summary, variant

from bench.config.inputs import digests, inputs_of
from bench.config.reader import read_config
from bench.config.spec import Optimisation, Spec
from bench.errors import (
    BenchError,
    IncomparableError,
    IntegrityError,
    InterruptedRun,
    JournalFailed,
    TerminatedRun,
    UsageError,
)
from bench.measure import worker_process
from bench.measure.events import Event
from bench.measure.interrupt import Interrupt
from bench.measure.models import model_record, models_by_key
from bench.models.fetch import ensure
from bench.results.verify import verify_run
from bench.runs import run as harness
from bench.runs.resume import same_models
from bench.runs.run import finishing, run_spec
from bench.store import journal
from bench.store.journal import Journal

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


def other_draft(tmp_path: Path) -> None:
    weights = tmp_path / "draft" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\1\1\1")


def other_settings(tmp_path: Path) -> None:
    config = tmp_path / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rope_theta": 2.0}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_draft, "the weights of optimise.speculate.model of baseline"),
        (other_settings, "the files of the model of baseline"),
    ],
)
def test_another_model_of_a_row_is_not_continued(
    change: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    """Its own model was looked at, and of that the weights alone."""
    spec = config(tmp_path, [])
    step = Optimisation("speculate", "draft-model", (("model", str(fake_model(tmp_path / "draft"))),))
    (group,) = spec.groups
    spec = replace(spec, groups=(replace(group, baseline=replace(group.baseline, optimise=(step,))),))
    models = {key: model_record(ensure(one)) for key, one in models_by_key(spec.groups[0].baseline)}
    before = run_record(arm_record(model=models.pop("model"), models=models))
    same_models(before, spec, ensure)
    same_models(run_record(arm_record(model={"kind": "path"})), spec, ensure)  # earlier code said less
    change(tmp_path)
    with pytest.raises(IncomparableError, match=named):
        same_models(before, spec, ensure)


def test_the_journal_is_read_once_before_and_once_after_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have continued the run meanwhile, so twice; the rest is for the summary."""
    spec = config(tmp_path, [variant(tmp_path, "a")])
    directory, _before = run(spec, tmp_path)
    opened, read = list[Path](), journal._read

    def counting(file: BinaryIO, path: Path, *rest: Any) -> Any:
        opened.append(path)
        return read(file, path, *rest)

    monkeypatch.setattr(journal, "_read", counting)
    run_spec(spec, tmp_path / "results", resume=directory)
    assert len(opened) == 3


def end_elsewhere(tmp_path: Path, how: BaseException) -> None:
    """End a run whose journal has gone meanwhile."""
    directory, _before = run(config(tmp_path, []), tmp_path)
    mine = Journal.reopen(directory / "journal.jsonl", lambda: "2026-01-31T12:00:00Z")
    with finishing(directory, mine, Interrupt()):
        (directory / "journal.jsonl").rename(tmp_path / "mine")
        raise how


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), TerminatedRun("x"), InterruptedRun("x")])
def test_who_stops_a_run_hears_that_its_files_are_not_its_own(stop: BaseException, tmp_path: Path) -> None:
    """It said that what was measured is in the directory, in which another run was then."""
    with pytest.raises(IntegrityError, match="another file now"):
        end_elsewhere(tmp_path, stop)


def made_of(signal: BaseException) -> BenchError:
    """What code that has caught a signal as one of its own errors raises then."""
    found = BenchError("the server was not healthy")
    found.__context__ = signal
    return found


@pytest.mark.parametrize("signal", [TerminatedRun("terminated"), KeyboardInterrupt()])
def test_a_signal_that_was_taken_for_another_error_ended_the_run(
    signal: BaseException, tmp_path: Path
) -> None:
    directory, _before = run(config(tmp_path, []), tmp_path)
    mine = Journal.reopen(directory / "journal.jsonl", lambda: "2026-01-31T12:00:00Z")
    told = pytest.raises(TerminatedRun, match="what was measured is in")
    with told, finishing(directory, mine, Interrupt()):
        raise made_of(signal)


def test_of_two_failures_the_first_is_reported(tmp_path: Path) -> None:
    with pytest.raises(JournalFailed, match="full"):
        end_elsewhere(tmp_path, JournalFailed("full"))


@pytest.mark.fault(37)
def test_a_summary_that_was_not_written_is_written_by_continuing(tmp_path: Path) -> None:
    spec = config(tmp_path, [variant(tmp_path, "a")])
    directory, before = run(spec, tmp_path)
    (directory / "run.json").unlink()
    _again, after = run(spec, tmp_path, resume=directory)
    assert after["variants"] == before["variants"]
    assert "figure by figure" in verify_run(directory)
