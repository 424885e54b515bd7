"""Tasks of lm-eval among the suites of a config: what is read, kept, refused, and watched during a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from config_files import BASE, Write, changed, refusal
from task_files import TASK, write_task

from bench import plugins
from bench.config.inputs import below, digests
from bench.config.reader import read_config
from bench.config.settings import DriftBlock
from bench.config.suite_reader import LmEvalBlock, lm_eval_of, names_of
from bench.drift.behaviour import suites_of

pytestmark = pytest.mark.usefixtures("cpu_machine")
SUITES = "{suites: [generation, {lm_eval: [arc_easy, hellaswag], limit: 20}]}"


def test_tasks_stand_among_the_suites(write: Write) -> None:
    drift = read_config(write(changed("{tokens: 0}", SUITES))).drift
    assert drift.suites == ("generation", LmEvalBlock(lm_eval=("arc_easy", "hellaswag"), limit=20))
    assert names_of(drift.suites) == ("generation", "lm-eval")
    assert suites_of(drift.suites) == [], "lm-eval has no items of ours"


def test_the_expanded_config_reads_as_the_config(write: Write, tmp_path: Path) -> None:
    spec = read_config(write(changed("{tokens: 0}", SUITES)))
    again = tmp_path / "again.yaml"
    again.write_text(spec.expanded)
    assert read_config(again).digest == spec.digest
    assert yaml.safe_load(spec.expanded)["drift"]["suites"][1] == {
        "lm_eval": ["arc_easy", "hellaswag"], "limit": 20, "num_fewshot": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("suites", "key", "words"),
    [
        ("[lm-eval]", "drift.suites", "lm-eval needs its tasks (write {lm_eval: [arc_easy, hellaswag]})"),
        ("[{lm_eval: []}]", "drift.suites[0].lm_eval", "at least 1 item"),
        ("[{lm_eval: arc_easy}]", "drift.suites[0].lm_eval", "should be a list"),
        ("[{lm_eval: [a, a]}]", "drift.suites[0].lm_eval", "name each task once"),
        ("[{lm_eval: [a], limt: 3}]", "drift.suites[0].limt", "did you mean 'limit'?"),
        ("[{lm_eval: [a], limit: 0}]", "drift.suites[0].limit", "greater than or equal to 1"),
        ("[{lm_eval: [a], num_fewshot: 1.5}]", "drift.suites[0].num_fewshot", "valid integer"),
        ("[{limit: 3}]", "drift.suites[0].lm_eval", "is missing"),
        ("[{lm_eval: [a]}, {lm_eval: [b]}]", "drift.suites[1]", "given twice"),
        ("[{lm_eval: [a, b, c], limit: 2000}]", "drift.suites[0]", "limit: 1666"),
        ("[{own: [a]}]", "drift.suites[0].own", "unknown key"),
        ("[3]", "drift.suites", "valid string"),
    ],
)  # fmt: skip
def test_a_wrong_block_is_refused(write: Write, suites: str, key: str, words: str) -> None:
    found = refusal(write(changed("{tokens: 0}", f"{{suites: {suites}}}")))
    assert (found.line, found.key) == (15, key)
    assert words in str(found)


def test_without_lm_eval_a_config_is_refused_with_how_to_install_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "missing_packages", lambda module: getattr(module, "REQUIRES", ()))
    found = refusal(write(changed("{tokens: 0}", SUITES)))
    assert str(found).endswith("lm-eval is not installed (pip install 'inference-cost-bench[lm-eval]')")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path, TASK, "task")


def test_a_task_file_with_code_is_refused_by_its_own_line(write: Write, task: Path) -> None:
    task.write_text(TASK.replace("right", "!function utils.right"))
    config = write(changed("{tokens: 0}", f"{{suites: [{{lm_eval: [{task}]}}]}}"))
    assert str(refusal(config)).startswith(f"{task}:9: holds code (!function)")


def test_a_task_file_and_its_data_are_inputs_of_the_run(write: Write, task: Path) -> None:
    spec = read_config(write(changed("{tokens: 0}", f"{{suites: [{{lm_eval: [{task}, arc_easy]}}]}}")))
    assert {Path(one).name for one in digests(spec)} == {"task.yaml", "items.jsonl"}


def test_the_side_of_a_gate_has_its_own_task_files() -> None:
    drift = DriftBlock(suites=("generation", LmEvalBlock(lm_eval=("arc_easy", "tasks/mine.yaml"))))
    found = lm_eval_of(below(drift, Path("/side")).suites)
    assert found is not None
    assert found.lm_eval == ("arc_easy", "/side/tasks/mine.yaml")


def test_a_limit_on_lm_eval_needs_its_tasks(write: Write) -> None:
    gate = "gate: {lm_eval_accuracy: {max_decrease: 5%}}\n"
    assert "drift.suites has no lm-eval" in str(refusal(write(BASE + gate)))
    assert read_config(write(changed("{tokens: 0}", SUITES) + gate)).gate[0][0] == "lm_eval_accuracy"


def test_servers_are_not_asked(write: Write) -> None:
    text = """
model: smollm2-135m
runtime: {name: openai-http, url: "http://127.0.0.1:8000", model: m}
workload: {name: closed-loop, users: 2, input_tokens: 8}
drift: {suites: [{lm_eval: [arc_easy]}]}
"""
    assert "lm-eval needs likelihoods of whole texts" in str(refusal(write(text)))
