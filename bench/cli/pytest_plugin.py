"""A pytest plugin: ``def test_cost(bench_gate): bench_gate("ci.yaml")`` fails if a limit does not hold.

It is installed with the package (entry point ``pytest11``), and imports nothing heavy until the fixture is
used. The measurements are also stored as pytest-benchmark stores its runs, so that
``pytest-benchmark compare`` shows them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.errors import ExitCode
from bench.gate import LEAST_CAP

if TYPE_CHECKING:
    from bench.config.spec import Spec
    from bench.results.run_summary import RunSummary

Gated = Mapping[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for where results go and how many units a gate may take."""
    group = parser.getgroup("inference-cost-bench")
    group.addoption("--bench-out", default="results", help="directory for the runs of bench_gate")
    group.addoption(
        "--bench-cap", type=_cap, default=40, help=f"units a gate may take at most; FAIL takes {LEAST_CAP}"
    )


def _cap(text: str) -> int:
    """Parse ``--bench-cap``; argparse makes a usage error of text that is no number or of too few units."""
    if int(text) < LEAST_CAP:
        raise argparse.ArgumentTypeError(f"a gate of fewer than {LEAST_CAP} units cannot fail")
    return int(text)


@pytest.fixture
def bench_gate(request: pytest.FixtureRequest) -> Callable[..., Gated]:
    """``bench_gate(config, base=None, overrides=())`` measures and judges as ``bench gate`` does.

    It returns the ``gate`` block of ``run.json`` if every limit holds; otherwise the test fails with the
    verdict and the figures. INCONCLUSIVE fails too: a gate that could not decide has not passed.
    """
    out = Path(request.config.getoption("--bench-out"))
    cap = int(request.config.getoption("--bench-cap"))

    def gated(config: str | Path, base: str | None = None, overrides: Sequence[str] = ()) -> Gated:
        from bench.config.reader import read_config
        from bench.environments import interpreter_of
        from bench.report.gate import lines
        from bench.results.summary import load_run
        from bench.runs.gate import Plan, gate_spec

        spec: Spec = read_config(Path(config), overrides)
        python, label = interpreter_of(base) if base else (None, "")
        directory = gate_spec(spec, out, Plan(python, label, cap))
        run = load_run(directory)
        _store(run, directory, Path(str(request.config.rootpath)))
        assert run.gate is not None, "a gate has a verdict"
        if run.gate.exit_code != ExitCode.OK:
            said = lines(run.name, run.gate)
            pytest.fail("\n".join([*said, f"  {directory}/run.json"]), pytrace=False)
        return run.gate.to_json()

    return gated


def _store(run: RunSummary, directory: Path, root: Path) -> None:
    """Store the units' times where pytest-benchmark stores its own, if it is installed."""
    try:
        from pytest_benchmark.utils import get_machine_id
    except ImportError:
        return
    from bench.report.formats import pytest_benchmark
    from bench.store.files import write_atomic
    from bench.store.replay import load_record

    place = root / ".benchmarks" / str(get_machine_id())  # type: ignore[no-untyped-call]
    place.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:4]) for p in place.glob("[0-9][0-9][0-9][0-9]_*.json")), default=0)
    content = pytest_benchmark.of_units(run, load_record(directory).units)
    write_atomic(place / f"{number:04d}_bench-{directory.name}.json", content)
