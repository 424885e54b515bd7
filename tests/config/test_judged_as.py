"""In a gate on commits, rows are judged by the base's blocks, and the run keeps these as its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.config.reader import read_config
from bench.config.spec import Spec
from bench.store.files import digest

BASE: dict[str, Any] = {
    "name": "shop", "model": "smollm2-135m", "workload": {"requests": 4}, "slo": {"e2el_ms": 100.0},
    "energy": {"modelled_watts": 65.0}, "price": {"usd_per_hour": 2.0}, "drift": {"tokens": 512},
    "measure": {"seed": 1}, "gate": {"good_fraction": {"min": 0.9}},
}  # fmt: skip
# Everything that a branch could loosen, and one key of what is measured.
BRANCH: dict[str, Any] = {
    **BASE, "workload": {"requests": 8}, "slo": {"e2el_ms": 9000.0}, "energy": {"modelled_watts": 1.0},
    "price": {"usd_per_hour": 1.0}, "drift": {"tokens": 0}, "measure": {"seed": 2},
    "gate": {"good_fraction": {"min": 0.1}},
}  # fmt: skip


def spec(tmp_path: Path, content: dict[str, Any]) -> Spec:
    file = tmp_path / "ci.yaml"
    file.write_text(yaml.safe_dump(content))
    return read_config(file)


def test_a_branch_chooses_none_of_the_blocks_that_it_is_judged_by(tmp_path: Path) -> None:
    base, branch = spec(tmp_path, BASE), spec(tmp_path, BRANCH)
    judged = branch.judged_as(base)
    for key in ("price", "slo", "energy", "drift", "measure", "gate"):
        assert judged.content[key] == base.content[key] != branch.content[key], key
        assert getattr(judged, key, None) == getattr(base, key, None), key
    assert judged.content["workload"]["requests"] == 8
    assert judged.groups == branch.groups
    assert judged.digest == digest(judged.content)


def test_a_block_that_the_base_has_not_is_not_there(tmp_path: Path) -> None:
    branch = {**BRANCH, "gate": {"e2el_ms": {"max_increase": "3%"}}}
    plain = {key: one for key, one in BASE.items() if key not in ("slo", "energy", "gate")}
    judged = spec(tmp_path, branch).judged_as(spec(tmp_path, plain))
    assert judged.slo is None
    assert not {"slo", "energy"} & judged.content.keys()
    assert [key for key, _limit in judged.gate] == ["e2el_ms"], "without limits of the base its own count"
    assert judged.content["gate"] == branch["gate"]
