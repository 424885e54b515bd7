"""A config whose results no reader would take is refused before anything is measured or written."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import fake_runtime
from small_runs import small_config

from bench.config.reader import read_config
from bench.errors import UsageError
from bench.runs.before_measuring import price_to_keep
from bench.runs.gate import Plan, gate_spec
from bench.runs.run import run_spec

__all__ = ["fake_runtime"]  # a fixture
pytestmark = pytest.mark.usefixtures("fake_runtime")
LONG = "1" * 47


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("gate={ttft_ms: {max: 1.0e+30}}", "gate.ttft_ms.max: "),
        (f"gate={{ttft_ms: {{max: {LONG}}}}}", "gate.ttft_ms.max: "),
        ('gate={ttft_ms: {max_increase: "3.0000000000000000000000000%"}}', "gate.ttft_ms.max_increase: "),
        ("price={hardware: cloud-2vcpu-8gb, utilisation: 1.0e-9}", "utilisation must be above 0"),
    ],
)
def test_it_is_refused_with_its_key(tmp_path: Path, override: str, key: str) -> None:
    file = small_config(tmp_path / "c", {"a": ()})
    spec = read_config(file, [override])
    with pytest.raises(UsageError) as refused:
        price_to_keep(spec)
    assert f"{file}: {key}" in str(refused.value)
    with pytest.raises(UsageError):
        run_spec(spec, tmp_path / "out")
    if spec.gate:
        with pytest.raises(UsageError):
            gate_spec(spec, tmp_path / "out", Plan(cap=6))
    assert not (tmp_path / "out").exists()
