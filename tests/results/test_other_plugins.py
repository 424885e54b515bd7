"""A stored run that was measured with plug-ins of a package which is not here names that package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import arm_record, run_record
from journals import MACHINE, SPEC, write_journal
from rich_rows import loaded, solo

import bench
from bench.errors import IntegrityError, UsageError
from bench.records import RunRecord
from bench.results.stored_gate import against_run, judge_run
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON
from bench.results.verify import verify_run
from bench.store import packages
from bench.store.packages import other_plugins
from bench.store.replay import load_record
from bench.store.source import source_digest

HERS = {"packages": {"torch": "1.0", "her-package": "1.2"}}
CLAUSE = "; the run was measured with plug-ins of her-package 1.2 (not installed here)"


def a_run(machine: Any, spec: Any) -> RunRecord:
    arms = [arm_record(name, solo=solo(1.0), loaded=loaded()) for name in ("baseline", "v")]
    return replace(run_record(*arms), spec=spec, machine=machine, text={"sha256": "01"})


def test_a_suite_that_is_not_here() -> None:
    asked = {"drift": {"suites": ["first-word"]}, "gate": {"same_first_token": {"min": 0.5}}}
    with pytest.raises(UsageError, match=r"no suite called 'first-word'.*her-package 1\.2 \(not installed"):
        summarise(a_run(HERS, asked))
    with pytest.raises(UsageError, match=r"no suite called 'first-word' \(known: [^;]*\)$"):
        summarise(a_run({"packages": {"torch": "1.0"}}, asked))


def test_a_limit_on_a_metric_that_is_not_here() -> None:
    run = summarise(a_run(HERS, {"gate": {"jitter_ms": {"max": 1}}}))
    for judged in (judge_run(run), against_run(run, run)):
        assert judged.gate is not None
        found = [one for one in judged.gate.rules if one.variant == "v"]
        assert [(str(one.verdict), one.reason) for one in found] == [
            ("ERROR", f"no metric is called jitter_ms here{CLAUSE}")
        ]


@pytest.mark.parametrize(
    ("machine", "clause"),
    [
        ({}, ""),
        ({"packages": None}, ""),
        ({"packages": {"bitsandbytes": "0.1", "pytest": pytest.__version__}}, ""),
        ({"packages": {"pytest": "0.1"}}, f"pytest 0.1 (here it is {pytest.__version__})"),
        ({"packages": dict.fromkeys(("no-a", "no-b", "no-c", "d"), "1")}, "no-b 1 (not installed here)"),
    ],
)  # fmt: skip
def test_only_packages_with_plugins_are_named(machine: Any, clause: str) -> None:
    said = other_plugins(machine)
    assert clause in said
    assert bool(clause) == bool(said)


def by_this_code(to: Path, machine: Any) -> tuple[Path, Any]:
    """A run of this very code, and what its ``run.json`` must hold."""
    write_journal(
        to, machine=machine, harness={"version": bench.__version__, "source_sha256": source_digest()}
    )
    (to / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    return to, summarise(load_record(to)).to_json()


def test_a_figure_of_a_metric_that_is_not_here(tmp_path: Path) -> None:
    run, made = by_this_code(tmp_path, {**MACHINE, **HERS})
    made["variants"][0]["metrics"]["jitter_ms"] = 1.0
    (run / RUN_JSON).write_text(json.dumps(made))
    with pytest.raises(
        IntegrityError, match=r"jitter_ms: 1\.0, the journal gives absent; the run was measured"
    ):
        verify_run(run)
    (run / RUN_JSON).write_text(json.dumps({**made, "name": "another"}))
    with pytest.raises(IntegrityError, match=r'name: "another", the journal gives "\w+"$'):
        verify_run(run)


@pytest.mark.parametrize("added", [True, False])
def test_a_metric_that_a_package_adds_only_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: bool
) -> None:
    """The run is as it was; that somebody has installed a package since is no edit of it."""
    monkeypatch.setattr(packages, "versions_of_others", lambda: {"her-package": "1.2"} if added else {})
    run, made = by_this_code(tmp_path, MACHINE)
    del made["variants"][1]["metrics"]["ttft_ms"]
    (run / RUN_JSON).write_text(json.dumps(made))
    if added:
        assert "without 1 keys" in verify_run(run)
    else:
        with pytest.raises(IntegrityError, match="ttft_ms: absent, the journal gives"):
            verify_run(run)
