"""The gate's proof in its short form: a few real gates, the committed ones judged again, the simulation."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from byte_tokenizer import write_tokenizer
from identities import once
from loaded_script import loaded_script
from safetensors.numpy import save_file
from warm import Forked, Warm

import bench.runtimes
from bench.config.reader import read_config
from bench.measure import worker_process

__all__ = ["once"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]
PROOF = ROOT / "results" / "reference" / "gate"
SCRIPT = ROOT / "scripts" / "gate-proof"
WORKER = ROOT / "scripts" / "proof" / "worker.py"
PLANT = re.compile(r'BENCH_PLANT="([\w:]+) *"')  # in the interpreter of a side
CAP, FEW = 9, 2  # units of a gate: as many as a verdict needs, or enough to see that it runs
Gates = Callable[..., list[str]]


def script(name: str) -> ModuleType:
    """A script beside the journals, as a module."""
    spec = importlib.util.spec_from_file_location(name, PROOF / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


analyse, simulate = script("analyse"), script("simulate")


@pytest.fixture(autouse=True)
def _nobody_else_counts() -> None:
    """Here others do count: what these gates measure is real."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


@pytest.fixture(scope="module")
def proof() -> Iterator[ModuleType]:
    """``scripts/gate-proof`` as a module; the engine that it adds is there for these tests only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.runtimes, "__path__", list(bench.runtimes.__path__))
        yield loaded_script("gate-proof")


@pytest.fixture
def gates(proof: ModuleType, campaign: Path, request: pytest.FixtureRequest) -> Gates:
    """Measures the first gates of a kind here and now; what they said."""
    request.getfixturevalue("once")

    def measured(kind: str, count: int, cap: int = CAP) -> list[str]:
        proof.campaign(kind, count, 60.0, campaign, cap)
        return verdicts(campaign, kind, count)

    return measured


@pytest.fixture
def forked(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of both sides are forked: a start takes no seconds of imports, and the passes are as ever. The
    workers of two sides that are the same have interpreters of their own."""

    def popen(command: list[str], *, env: dict[str, str], **settings: Any) -> Forked:
        if command[0] == sys.executable:
            return warm.start(command, env=env, **settings)
        plant = PLANT.findall(Path(command[0]).read_text())[0]
        return warm.start(["", str(WORKER), *command[1:]], env={**env, "BENCH_PLANT": plant}, **settings)

    known = {**vars(subprocess), "Popen": popen}
    monkeypatch.setattr(worker_process, "subprocess", SimpleNamespace(**known))


def verdicts(place: Path, kind: str, count: int) -> list[str]:
    """Those in the journal of a kind, which must be of ``count`` gates."""
    lines = (place / f"{kind}.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, lines) if line["kind"] == "gate_closed"]
    assert [line["index"] for line in found] == list(range(count))
    return [line["verdict"] for line in found]


def test_two_sides_that_are_the_same(gates: Gates) -> None:
    assert "FAIL" not in gates("toy-aa", 1)


def test_a_side_that_does_three_percent_more(gates: Gates, forked: None) -> None:
    """One of two may be missed here, where tests share the machine with whatever else runs; not both."""
    assert gates("toy-plus3", 1) != ["PASS"] or gates("toy-plus3", 2) != ["PASS", "PASS"]


def test_one_request_in_twenty_takes_longer(gates: Gates, forked: None) -> None:
    assert gates("toy-sporadic", 1, FEW) != ["ERROR"]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("exact-token", "FAIL"),
        ("exact-call", "FAIL"),
        ("exact-layer", "FAIL"),
        ("exact-cache", "FAIL"),
        ("exact-same", "PASS"),
    ],
)
def test_what_is_counted_is_decided_by_one_unit(
    kind: str, verdict: str, campaign: Path, gates: Gates, forked: None
) -> None:
    assert gates(kind, 1) == [verdict]
    (closed,) = dict(analyse.journals(campaign))[kind]
    assert len(closed["units"]) == 1


@pytest.mark.parametrize("mutant", ["fixed-order", "one-process"])
def test_gates_that_are_built_wrong_run_to_an_end(mutant: str, gates: Gates, forked: None) -> None:
    assert gates(f"toy-aa-{mutant}", 1, FEW) != ["ERROR"]


@pytest.mark.parametrize("plant", ["aa", "plus3"])
def test_the_sides_made_of_a_real_model_can_be_gated(
    plant: str, proof: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is a small one here, and its config is read as a gate's is; nothing is measured."""
    config, weights = proof.models.toy_weights()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    save_file(weights, tmp_path / "model" / "model.safetensors")
    write_tokenizer(tmp_path / "model")
    monkeypatch.setattr(proof.models, "ensure", lambda model: SimpleNamespace(directory=tmp_path / "model"))
    ratio = proof.models.models("real", plant, tmp_path)["work_ratio"]
    assert ratio == 1.0 if plant == "aa" else ratio > 1.0
    file, _ = proof.config_of(proof.setting_of("real", plant), plant, tmp_path, 0)
    assert [arm.name for group in read_config(file).groups for arm in group.variants] == ["y"]


def test_a_campaign_goes_on_where_it_stopped(campaign: Path) -> None:
    """In another process, by the command line."""
    command = [sys.executable, str(SCRIPT), "exact-same", "2", "--to", str(campaign), "--cap", str(CAP)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert verdicts(campaign, "exact-same", 2) == ["PASS", "PASS"]
    found = dict(analyse.journals(campaign))
    assert [gate["index"] for gate in found["exact-same"]] == [0, 1]


def test_the_second_implementation_agrees(campaign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyse.report(dict(analyse.journals(campaign))) == 0
    assert "0 verdicts differ" in capsys.readouterr().out


def test_a_journal_that_was_changed_is_refused(campaign: Path, tmp_path: Path) -> None:
    text = (campaign / "toy-aa.jsonl").read_text()
    (tmp_path / "toy-aa.jsonl").write_text(text.replace('"kind":', '"kind" :', 1))
    with pytest.raises(SystemExit, match="chain"):
        dict(analyse.journals(tmp_path))


def test_the_committed_verdicts_are_those_of_the_rule() -> None:
    found = dict(analyse.journals(PROOF))
    assert found
    for kind, closed in found.items():
        judged = [gate for gate in closed if gate["verdict"] != "ERROR"]
        assert [analyse.again(kind, gate) for gate in judged] == [gate["verdict"] for gate in judged], kind


@pytest.mark.fault(26)
def test_the_committed_gates_never_fail_without_a_change() -> None:
    found = dict(analyse.journals(PROOF))
    same = [gate for kind in ("toy-aa", "toy-aa-neighbour", "real-aa") for gate in found.get(kind, ())]
    assert same
    assert "FAIL" not in {gate["verdict"] for gate in same}


@pytest.mark.parametrize("noise", simulate.MODELS)
@pytest.mark.fault(26)
def test_false_alarms_by_noise_of_the_machine(noise: str) -> None:
    """0.5 % at most; 2,000 gates that do better than that rarely show more than 1 %."""
    assert simulate.failing(simulate.MODELS[noise], 1, 2000) <= 0.01


@pytest.mark.parametrize(
    ("mutant", "noise"),
    [("fixed order", "slot order"), ("one process", "bimodal processes")],
)
def test_a_gate_without_one_of_its_rules_alarms(mutant: str, noise: str) -> None:
    assert simulate.failing(simulate.MODELS[noise], 1, 1000, mutant) > 0.02


def test_both_implementations_of_the_analysis_agree() -> None:
    import numpy as np

    units = np.random.default_rng(1).normal(0.015, 0.02, (100, 40))
    words = {-1: "FAIL", 0: "INCONCLUSIVE", 1: "PASS"}
    assert [words[int(v)] for v in simulate.verdicts(units)] == [
        analyse.verdict(row, 1.0)[0] for row in units
    ]
