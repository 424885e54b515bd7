"""Find lasting changes of a figure over a project's runs.

Five changes of +0.7 % can each pass a gate, but the history shows them together. The change points come from
Apache Otava (windows of E-divisive means, Student's t at 0.1 %; Fleming et al. 2023,
doi:10.1145/3578244.3583719).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.errors import UsageError
from bench.formatting import format_significant, printable
from bench.results.paired_figures import shown_value
from bench.results.row import Row
from bench.results.run_comparison import PRICE_KEYS, files_by_name
from bench.results.run_summary import RunSummary
from bench.store.files import digest
from bench.store.replay import in_range

WINDOW = 50
MAX_P_VALUE = 0.001
FEWEST = 6  # runs that a series needs before change points are searched
# Runs belong to the same series only if these are equal. The installed packages may differ, because the
# history should show what they change.
MACHINE = ("architecture", "cpu_model", "cpus", "cgroup_cpu_max", "memory_bytes", "hypervisor", "gpus")


@dataclass(frozen=True)
class Change:
    """A change point of a series.

    ``run_id`` is the first run after the change. ``before`` and ``after`` are the means of the figure on both
    sides, up to the neighbouring change points.
    """

    run_id: str
    at_utc: str
    before: float
    after: float
    p_value: float


@dataclass(frozen=True)
class Series:
    """The values of one figure of one variant under the same conditions, the oldest first.

    ``changes`` is None if there are too few runs to search for change points.
    """

    name: str
    group: str
    variant: str
    metric: str
    conditions: str
    values: tuple[float, ...]
    runs: tuple[str, ...]
    changes: tuple[Change, ...] | None


def histories(runs: Iterable[RunSummary], metrics: Sequence[str]) -> list[Series]:
    """Return the series of these metrics over all runs, with their change points.

    Raises UsageError if a series is long enough for change points and Apache Otava is not installed, and
    IntegrityError for figures out of range.
    """
    by_series: dict[tuple[str, ...], list[tuple[str, str, float]]] = {}
    for run in sorted(runs, key=lambda run: (run.started_utc, run.run_id)):
        for key, value in _figures(run, metrics):
            by_series.setdefault(key, []).append((run.run_id, run.started_utc, value))
    with in_range("the history"):
        return [_series(key, points) for key, points in by_series.items()]


def _figures(run: RunSummary, metrics: Sequence[str]) -> Iterator[tuple[tuple[str, ...], float]]:
    for row in run.rows:
        for metric in metrics:
            value = shown_value(run, row, metric)
            if row.ok and value is not None:
                conditions = digest(_conditions(run, row, metric))
                yield (run.name, row.group, row.name, metric, conditions[:12]), value


def _conditions(run: RunSummary, row: Row, metric: str) -> list[object]:
    """Return all that must be equal for two values of a figure to be of one series.

    The figures of a variant rest on its baseline: drift is the distance from it, and times and money are its
    own times a ratio. Drift rests on the text too.
    """
    sides = [row] if row.is_baseline else [row, run.baseline_of(row)]
    drift = run.spec.get("drift") or {}
    text = [run.text.get("sha256"), drift.get("tokens"), drift.get("window")]
    return [
        {key: run.machine.get(key) for key in MACHINE},
        {key: run.price.get(key) for key in PRICE_KEYS},
        dict(sorted(files_by_name(run.inputs).items())),
        [
            [
                side.workload, side.runtime, list(side.optimisations), (side.model or {}).get("location"),
                side.prompts_sha256,
            ]
            for side in sides
        ],
        text if metric in row.drift else None,
    ]  # fmt: skip


def _series(key: tuple[str, ...], points: Sequence[tuple[str, str, float]]) -> Series:
    values = [value for _, _, value in points]
    name, group, variant, metric, conditions = key
    return Series(
        name,
        group,
        variant,
        metric,
        conditions,
        tuple(values),
        tuple(run_id for run_id, _, _ in points),
        None
        if len(points) < FEWEST
        else tuple(Change(*points[at][:2], *rest) for at, *rest in _changes(values)),
    )


def _changes(values: Sequence[float]) -> Iterator[tuple[int, float, float, float]]:
    """Yield (index of the first value after the change, mean before, mean after, p value)."""
    try:
        from otava.analysis import compute_change_points
    except ImportError:
        raise UsageError(
            "the history needs Apache Otava: pip install --no-deps apache-otava (its pins are older than "
            "ours; the part that is used needs NumPy and SciPy alone)"
        ) from None
    points, _weak = compute_change_points(
        list(values), window_len=WINDOW, max_pvalue=MAX_P_VALUE, min_magnitude=0.0
    )
    for point in points:
        stats = point.stats
        yield int(point.index), float(stats.mean_1), float(stats.mean_2), float(stats.pvalue)


def render(series: Sequence[Series]) -> str:
    """Write a line for each series, a line below it for each change, and a line about short series."""
    lines = [line for each in series if each.changes is not None for line in _lines(each, each.changes)]
    short = [len(each.values) for each in series if each.changes is None]
    if short:
        most = f"{max(short)} run{'s' * (max(short) != 1)} at most"
        what = "figure of a variant has" if len(short) == 1 else "figures of variants have"
        lines.append(f"{len(short)} {what} {most}: too few to look for changes, {FEWEST} are needed")
    return printable("\n".join(lines))


def _lines(series: Series, changes: Sequence[Change]) -> Iterator[str]:
    row = " ".join(filter(None, (series.name, series.group, series.variant)))
    last = format_significant(series.values[-1])
    count = f"{len(changes) or 'no'} change(s)"
    yield f"{row}  {series.metric}  {len(series.values)} runs, last {last}: {count}"
    for change in changes:
        percent = f"{100 * (change.after / change.before - 1):+.1f} %" if change.before else ""
        means = f"{format_significant(change.before)} → {format_significant(change.after)}"
        yield f"  from {change.run_id}: {means}  {percent}  (p = {change.p_value:.1g})"
