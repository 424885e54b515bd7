"""A load that somebody edited is computed again and shown, or refused in one sentence."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import rich_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_readers import load_outcome
from tampering import edited, rechained, records_of, tampered_journal

from bench.errors import ExitCode, IntegrityError
from bench.serving import record
from bench.serving.load_verification import verify_load

ALLOWED = {ExitCode.OK, ExitCode.USAGE, ExitCode.INTEGRITY}
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_runs.write_load(tmp_path_factory.mktemp("sound") / "load")


def a_copy(sound: Path, place: Path) -> Path:
    return Path(shutil.copytree(sound, place / "load"))


def written(value: object) -> str:
    """JSON, in which 1 is not true, as it is to Python; -0.0 is no other number than 0.0."""
    return re.sub(r"-0\.0(?![0-9])", "0.0", json.dumps(value))


@QUICK
@given(draw=st.randoms(use_true_random=False))
def test_a_journal_of_a_load_that_was_edited(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    load = a_copy(sound, tmp_path_factory.mktemp("tampered"))
    said = tampered_journal(load, draw)
    assert load_outcome(load) in ALLOWED, said


@QUICK
@given(draw=st.randoms(use_true_random=False))
def test_a_summary_of_a_load_that_was_edited(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    """Nothing but `bench verify` reads it, which finds every edit that changes anything."""
    load = a_copy(sound, tmp_path_factory.mktemp("tampered"))
    before = json.loads((load / record.SUMMARY).read_text())
    after, said = edited(before, draw)
    (load / record.SUMMARY).write_text(json.dumps(after))
    if written(after) == written(before):
        verify_load(load)
        return
    with pytest.raises(IntegrityError, match=r"load\.json"):
        assert verify_load(load) is None, said


def test_a_sound_load_is_read(sound: Path, tmp_path: Path) -> None:
    assert load_outcome(a_copy(sound, tmp_path)) == ExitCode.OK


def test_a_price_that_makes_dollars_no_number(sound: Path, tmp_path: Path) -> None:
    """A device that is hardly ever used; what is too large is left out and named, as in a run."""
    load = a_copy(sound, tmp_path)
    records = records_of(load)
    records[0]["price"]["utilisation"] = 5e-324
    rechained(load, records)
    again = record.again(load, {})
    assert again.figures["cost_per_request_usd"] is None
    assert "larger than any figure that is kept: " in again.warnings[-1]
    assert load_outcome(load) == ExitCode.OK
