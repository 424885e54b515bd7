"""lm-eval itself: its requests, its judgement, what it refuses, and its own run beside ours, item by item.

Skipped where lm-eval is not installed: ``pip install 'inference-cost-bench[lm-eval]'``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from task_files import CLOSED, OPEN, write_task

from bench.config.suite_reader import LmEvalBlock
from bench.errors import BenchError, UsageError
from bench.measure import lm_eval_tasks as process

pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'inference-cost-bench[lm-eval]'")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are written below a directory of the test."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    process.listed.cache_clear()


def asked(*tasks: object, limit: int = 10) -> LmEvalBlock:
    return LmEvalBlock(lm_eval=tuple(map(str, tasks)), limit=limit)


def test_a_task_file_is_asked_and_judged(tmp_path: Path) -> None:
    closed, text = (write_task(tmp_path, text, name) for text, name in ((CLOSED, "closed"), (OPEN, "open")))
    block = asked(closed, text)
    found = process.listed(block)
    assert found.harness.startswith("lm-eval 0.4.")
    assert {name: (one.version, one.metrics) for name, one in found.tasks.items()} == {
        "closed": (2.0, ("acc", "acc_norm")), "open": (1.0, ("exact_match",)),
    }  # fmt: skip
    items = process.items_of(found)
    assert [item["chance"] for item in items[:3]] == [1 / 2, 1 / 3, 1 / 4]
    assert items[0]["prompt"] == "Question: Is ice number 0 tea?\nAnswer:"
    first = found.requests[0]
    assert (first.kind, first.task, first.doc) == ("loglikelihood", "closed", 0)
    assert first.args == (items[0]["prompt"], " ice")
    right = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    answers: list[Any] = []
    for one in found.requests:  # the model knows every second answer of either task
        wanted = right[one.doc]["choices"][right[one.doc]["right"]]
        knows = one.doc % 2 == 0
        if one.kind == process.REPLY:
            answers.append(wanted if knows else "no")
        else:
            answers.append((-1.0 if (one.args[1] == f" {wanted}") == knows else -9.0, False))
    done = process.judged(block, answers, lambda: None)
    assert [one.values[0] for one in done.documents] == [1.0, 0.0] * 10


def test_a_template_that_reaches_for_python_is_stopped(tmp_path: Path) -> None:
    evil = OPEN.replace('"{{question}}"', "\"{{ ''.__class__.__mro__[1].__subclasses__() }}\"")
    with pytest.raises(BenchError, match="unsafe"):
        process.listed(asked(write_task(tmp_path, evil, "evil")))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arc_eazy", "no task of lm-eval is called 'arc_eazy' .did you mean 'arc_easy'"),
        ("arc_easy", "arc_easy: its data set is not on this disk, and none is downloaded"),
    ],
)
def test_a_task_without_data_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        process.listed(asked(name))


def test_lm_eval_s_own_run_says_the_same_of_every_item() -> None:
    """Both with the model that is shipped: closed questions by likelihood, and greedy replies."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "lm-eval-agreement"), "--limit", "12", "--threads", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    closed, replies = map(json.loads, done.stdout.splitlines())
    assert (closed["documents"], closed["judged_alike"]) == (12, 12)
    assert closed["largest_difference_nats"] < 1e-4
    assert (replies["documents"], replies["judged_alike"], replies["same_replies"]) == (12, 12, 12)
