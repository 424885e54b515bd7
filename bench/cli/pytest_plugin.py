"""Provide the pytest fixture ``bench_gate``: ``bench_gate("ci.yaml")`` fails a test if a limit does not hold.

The plugin is installed with the package (entry point ``pytest11``), and imports nothing heavy until the
fixture is used. The measurements are also stored in the format of pytest-benchmark, so that
``pytest-benchmark compare`` shows them.

With pytest-xdist, gates wait for each other, because only one process of a user may measure on a machine at a
time (see ``bench/store/run_lock.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from bench.errors import BenchError, ExitCode, InterruptedRun, UsageError
from bench.gate import DEFAULT_CAP, LEAST_CAP

if TYPE_CHECKING:
    from bench.cli.gate_run import Judged

Gated = Mapping[str, Any]
STORAGE = ".benchmarks"
UNSET_STORAGE = f"file://./{STORAGE}"  # the default of pytest-benchmark
WORKTREE = "worktree"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for where results go and how many units a gate may take."""
    group = parser.getgroup("inference-cost-bench")
    group.addoption(
        "--bench-out", default="results", help="directory for the runs of bench_gate, from the rootdir"
    )
    group.addoption(
        "--bench-cap",
        type=_cap,
        default=DEFAULT_CAP,
        help=f"units a gate may take at most; FAIL takes {LEAST_CAP}",
    )


def _cap(text: str) -> int:
    """Parse ``--bench-cap``. argparse turns a ValueError or ArgumentTypeError into a usage error."""
    if int(text) < LEAST_CAP:
        raise argparse.ArgumentTypeError(f"a gate of fewer than {LEAST_CAP} units cannot fail")
    return int(text)


@pytest.fixture
def bench_gate(request: pytest.FixtureRequest) -> Callable[..., Gated]:
    """Return the function ``bench_gate(config, base=None, overrides=())``, which works like ``bench gate``.

    Relative paths start at pytest's rootdir. ``base`` is a commit, an interpreter or a run, as for
    ``--base``; ``candidate``, ``limits_from`` and ``allow_identical`` are like the options with these names.
    The function returns the ``gate`` block of ``run.json`` if every limit holds. Otherwise the test fails
    with the verdict and the figures. INCONCLUSIVE fails too, because a gate that cannot decide has not
    passed. If nothing can be measured, the test fails with one sentence.
    """
    settings = request.config

    def gated(
        config: str | Path,
        base: str | Path | None = None,
        overrides: Sequence[str] = (),
        *,
        candidate: str | None = None,
        limits_from: Literal["base", "candidate"] = "base",
        allow_identical: bool = False,
    ) -> Gated:
        from bench.cli.gate_run import GateOptions, job_summary, judged

        root, ref = settings.rootpath, None if base is None else str(base)
        out, cap = root / settings.getoption("--bench-out"), int(settings.getoption("--bench-cap"))
        with _in_a_sentence(), contextlib.chdir(root):
            if limits_from not in ("base", "candidate"):
                raise UsageError(f"limits_from={limits_from!r}: give 'base' or 'candidate'")
            options = GateOptions(
                out, ref, cap, None, tuple(overrides), (), candidate, limits_from, allow_identical
            )
            result = judged(root / config, options, quiet=False)
            if result.directory != root / config:  # a finished run was already stored when it was measured
                _store(result, settings, candidate)
        with _uncaptured(settings):
            job_summary(result.run.name, result.gate, lead="\n")
        _must_have_passed(result)
        return result.gate.to_json()

    return gated


def _must_have_passed(result: Judged) -> None:
    """Fail the test with the verdict and the figures, unless every limit holds."""
    from bench.report.gate import lines

    if result.gate.exit_code != ExitCode.OK:
        said = lines(result.run.name, result.gate)
        pytest.fail("\n".join([*said, f"  {result.directory}/run.json"]), pytrace=False)


@contextlib.contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Turn an expected error into a failure with only its message. An interrupted gate ends pytest."""
    from bench.cli.output import speakable

    try:
        yield
    except InterruptedRun as stopped:
        said = f"bench gate: {speakable(str(stopped))}"
        raise pytest.exit.Exception(said, int(stopped.exit_code)) from None
    except BenchError as expected:
        raise pytest.fail.Exception(f"bench gate: {speakable(str(expected))}", pytrace=False) from None


def _uncaptured(settings: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Switch off pytest's capture, so that annotations reach the job's log even if the test passes."""
    capture = settings.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()


# ---- for pytest-benchmark ------------------------------------------------------------------------


def _store(result: Judged, settings: pytest.Config, candidate: str | None) -> None:
    """Store the times of the units where pytest-benchmark stores its results, if it is installed."""
    try:
        from pytest_benchmark.utils import get_commit_info, get_machine_id
    except ImportError:
        return
    from bench.report.formats import ascii_json, pytest_benchmark
    from bench.store.files import naming, write_atomic
    from bench.store.replay import load_record

    content = json.loads(pytest_benchmark.of_units(result.run, load_record(result.directory).units))
    project = settings.getoption("benchmark_project_name", None)
    here = get_commit_info(project)  # type: ignore[no-untyped-call]
    measured = content["commit_info"] if candidate not in (None, WORKTREE) else here
    content["commit_info"] = {**measured, "project": here["project"]}
    place = _storage(settings) / str(get_machine_id())  # type: ignore[no-untyped-call]
    with naming("create", place):
        place.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:4]) for p in place.glob("[0-9][0-9][0-9][0-9]_*.json")), default=0)
    name = f"{number:04d}_bench-{result.directory.name}.json"
    write_atomic(place / name, ascii_json(content, indent=1) + "\n")


def _storage(settings: pytest.Config) -> Path:
    """Return the directory of ``--benchmark-storage``, or ``.benchmarks`` in the rootdir without that option.

    A relative path starts where pytest was started, as in pytest-benchmark. If the storage is a server
    (Elasticsearch), the result is also ``.benchmarks``.
    """
    uri = str(settings.getoption("benchmark_storage", None) or UNSET_STORAGE)
    if uri == UNSET_STORAGE or ("://" in uri and not uri.startswith("file://")):
        return settings.rootpath / STORAGE
    return settings.invocation_params.dir / uri.removeprefix("file://")
