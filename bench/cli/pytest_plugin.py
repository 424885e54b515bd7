"""A pytest plugin: ``def test_cost(bench_gate): bench_gate("ci.yaml")`` fails if a limit does not hold.

It is installed with the package (entry point ``pytest11``), and imports nothing heavy until the fixture is
used. The measurements are also stored as pytest-benchmark stores its runs, so that
``pytest-benchmark compare`` shows them.

With pytest-xdist, gates wait for each other: one process of a user measures at a time on a machine (see
``bench/store/lock.py``).
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
UNSET_STORAGE = f"file://./{STORAGE}"  # what pytest-benchmark has if nobody names a storage
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
    """Parse ``--bench-cap``; argparse makes a usage error of text that is no number or of too few units."""
    if int(text) < LEAST_CAP:
        raise argparse.ArgumentTypeError(f"a gate of fewer than {LEAST_CAP} units cannot fail")
    return int(text)


@pytest.fixture
def bench_gate(request: pytest.FixtureRequest) -> Callable[..., Gated]:
    """``bench_gate(config, base=None, overrides=())`` measures and judges as ``bench gate`` does in pytest's
    rootdir, where relative paths begin.

    ``base`` is a commit, an interpreter or a run, as ``--base`` is; ``candidate``, ``limits_from`` and
    ``allow_identical`` are the options of these names. It returns the ``gate`` block of ``run.json`` if every
    limit holds; otherwise the test fails with the verdict and the figures. INCONCLUSIVE fails too: a gate
    that could not decide has not passed. What cannot be measured at all fails with one sentence.
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
            found = judged(root / config, options, quiet=False)
            if found.directory != root / config:  # a finished run was stored when it was measured
                _store(found, settings, candidate)
        with _uncaptured(settings):
            job_summary(found.run.name, found.gate, lead="\n")
        _must_have_passed(found)
        return found.gate.to_json()

    return gated


def _must_have_passed(found: Judged) -> None:
    """Fail the test with the verdict and the figures, unless every limit holds."""
    from bench.report.gate import lines

    if found.gate.exit_code != ExitCode.OK:
        said = lines(found.run.name, found.gate)
        pytest.fail("\n".join([*said, f"  {found.directory}/run.json"]), pytrace=False)


@contextlib.contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Fail the test with an expected error's message alone; an interrupted gate ends pytest."""
    from bench.cli.output import speakable

    try:
        yield
    except InterruptedRun as stopped:
        said = f"bench gate: {speakable(str(stopped))}"
        raise pytest.exit.Exception(said, int(stopped.exit_code)) from None
    except BenchError as expected:
        raise pytest.fail.Exception(f"bench gate: {speakable(str(expected))}", pytrace=False) from None


def _uncaptured(settings: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Let annotations reach the log of the job, also of a test that passes."""
    capture = settings.pluginmanager.getplugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()


# ---- for pytest-benchmark ------------------------------------------------------------------------


def _store(found: Judged, settings: pytest.Config, candidate: str | None) -> None:
    """Store the units' times where pytest-benchmark stores its own, if it is installed."""
    try:
        from pytest_benchmark.utils import get_commit_info, get_machine_id
    except ImportError:
        return
    from bench.report.formats import ascii_json, pytest_benchmark
    from bench.store.files import naming, write_atomic
    from bench.store.replay import load_record

    content = json.loads(pytest_benchmark.of_units(found.run, load_record(found.directory).units))
    project = settings.getoption("benchmark_project_name", None)
    content["commit_info"] = get_commit_info(project)  # type: ignore[no-untyped-call]
    if candidate not in (None, WORKTREE):
        content["commit_info"] |= _commit_of(found)
    place = _storage(settings) / str(get_machine_id())  # type: ignore[no-untyped-call]
    with naming("create", place):
        place.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[:4]) for p in place.glob("[0-9][0-9][0-9][0-9]_*.json")), default=0)
    name = f"{number:04d}_bench-{found.directory.name}.json"
    write_atomic(place / name, ascii_json(content, indent=1) + "\n")


def _commit_of(found: Judged) -> dict[str, Any]:
    """Return what is known of the commit that was measured instead of the files as they are."""
    commit = found.gate.to_json()["evidence"]["sides"]["candidate"]["commit"]
    return {"id": commit, "time": None, "author_time": None, "dirty": False, "branch": "(unknown)"}


def _storage(settings: pytest.Config) -> Path:
    """Return the directory that ``--benchmark-storage`` names, or ``.benchmarks`` in the rootdir.

    A relative one begins where pytest was started, as for pytest-benchmark itself. A server takes no files,
    so with Elasticsearch it is ``.benchmarks``, too.
    """
    uri = str(settings.getoption("benchmark_storage", None) or UNSET_STORAGE)
    if uri == UNSET_STORAGE or ("://" in uri and not uri.startswith("file://")):
        return settings.rootpath / STORAGE
    return settings.invocation_params.dir / uri.removeprefix("file://")
