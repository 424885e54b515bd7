"""Compare the variants that two runs have in common, or say why the two runs must not be compared.

``bench/results/changes.py`` decides how a figure is compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from bench.errors import IncomparableError
from bench.formatting import format_significant, one_line, printable, row_title
from bench.metrics import memory
from bench.results.changes import IN_PAIRS, TIMES, change, verdict
from bench.results.disturbance import quiet_words
from bench.results.measured_by import measured_otherwise
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.ratio_verdict import Verdict
from bench.store.replay import in_range

KEY_FIGURES = (*TIMES, memory.RSS, memory.ALLOCATED, *IN_PAIRS)
# These must be equal, or the dollars of both runs are not comparable. The source of a price may differ.
PRICE_KEYS = (
    "kind", "ownership", "currency", "includes_power", "vcpus", "gpus", "usd_per_hour", "purchase_usd",
    "overhead", "life_hours", "usd_per_kwh", "pue", "average_watts", "idle_watts",
    "utilisation",
)  # fmt: skip
OWN_FILES = "model.files_sha256"
SHOWN = 60
ALWAYS_RECORDED = ("torch", "transformers", "bitsandbytes", "accelerate", "numpy", "nvidia-ml-py")


@dataclass(frozen=True)
class RowChange:
    """How one figure of one row changed between two runs (see `changes.Change`)."""

    variant: str
    group: str
    metric: str
    before: float | None
    after: float | None
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: Verdict
    basis: str
    note: str

    @property
    def title(self) -> str:
        """Return the row's name, with its cell of the sweep if there is one."""
        return row_title(self.group, self.variant)


def between_runs(before: RunSummary, after: RunSummary) -> list[RowChange]:
    """Return the change of each key figure of every variant that is in both runs.

    If either figure has no interval, ``ci_low`` and ``ci_high`` are None and the verdict is ``cannot tell``.
    Raises IncomparableError, which names every field that differs but must be equal, and IntegrityError if a
    ratio of two figures is out of range, as for 1e-300 and 1e24.
    """
    pairs = _pairs(before, after)
    of_rows = (difference for pair in pairs for difference in _of_rows(*pair))
    differing = [
        f"{one_line(place)}: {_shown(a)} and {_shown(b)}"
        for place, a, b in (*_of_runs(before, after), *of_rows)
    ]
    if not pairs:
        differing.append("no variant is in both")
    if differing:
        lines = "".join(f"\n  {line}" for line in dict.fromkeys(differing))
        raise IncomparableError(
            f"{one_line(before.run_id)} and {one_line(after.run_id)} cannot be compared:{lines}"
        )
    with in_range(f"{one_line(before.run_id)} and {one_line(after.run_id)}"):
        return [row for pair in pairs for row in _changes((before, pair[0]), (after, pair[1]))]


def _pairs(before: RunSummary, after: RunSummary) -> list[tuple[Row, Row]]:
    """Return the rows that are in both runs, each as (row before, row after)."""
    by_key = {row.key: row for row in after.rows}
    return [(row, by_key[row.key]) for row in before.rows if row.key in by_key]


# ---- may they be compared? -----------------------------------------------------------------------


def _of_runs(before: RunSummary, after: RunSummary) -> Iterator[tuple[str, object, object]]:
    """Yield (place, before, after) of differences between the runs: machine, text, files that the configs
    name, drift settings, price."""
    yield from _differ("machine", *_flat(before.machine, after.machine))
    yield from _differ("text", {"sha256": before.text["sha256"]}, {"sha256": after.text["sha256"]})
    files = files_by_name(before.inputs), files_by_name(after.inputs)
    both = sorted(files[0].keys() & files[1].keys())
    yield from _differ("file", *({name: side[name] for name in both} for side in files))
    drift = [
        {key: (run.spec.get("drift") or {}).get(key) for key in ("tokens", "window")}
        for run in (before, after)
    ]
    yield from _differ("drift", *drift)
    yield from _differ("price", *({key: run.price.get(key) for key in PRICE_KEYS} for run in (before, after)))


def _of_rows(before: Row, after: Row) -> Iterator[tuple[str, object, object]]:
    """Yield (place, before, after) of differences between two rows with the same name.

    They are compared by weights and other files of the model, engine (as configured and as loaded), workload,
    prompts and optimisations.
    """
    name = printable(before.title)
    yield from _differ(f"{name}.workload", before.workload or {}, after.workload or {})
    yield from _differ(f"{name}.runtime", before.runtime or {}, after.runtime or {})
    if before.facts and after.facts:
        keys = ("engine", "device_name", "threads")
        facts = [{key: getattr(side, key) for key in keys} for side in (before.facts, after.facts)]
        yield from _differ(f"{name}.facts", *facts)
    if before.prompts_sha256 and after.prompts_sha256:
        prompts = [{"prompts_sha256": row.prompts_sha256} for row in (before, after)]
        yield from _differ(name, *prompts)
    digests = [_digests(row) for row in (before, after)]
    known = digests[0].keys() & digests[1].keys()  # earlier versions kept fewer
    parts = [
        {
            "model.weights_sha256": (row.model or {}).get("weights_sha256"),
            # The same files in another directory are the same model.
            "model.location": None if OWN_FILES in known else (row.model or {}).get("location"),
            "optimisations": list(row.optimisations),
        }
        for row in (before, after)
    ]
    yield from _differ(name, *parts)
    yield from _differ(name, *({key: one[key] for key in sorted(known)} for one in digests))


def _digests(row: Row) -> dict[str, str]:
    """Return the digests of all files of the models that a row loads, tokenizers and templates included."""
    found = {f"{key}.files_sha256": digest for key, digest in row.models_sha256.items()}
    own = (row.model or {}).get("files_sha256")
    return {**found, OWN_FILES: own} if own else found


def files_by_name(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of files by their last names, which stay the same in another checkout.

    A name that several files have is left out, because it does not say which of them is meant.
    """
    named = [(PurePath(path).name, digest) for path, digest in inputs.items()]
    times = Counter(name for name, _digest in named)
    return {name: digest for name, digest in named if times[name] == 1}


def _differ(
    place: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[tuple[str, object, object]]:
    """Yield (place, before, after) of every key whose values differ."""
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{place}.{key}", before.get(key), after.get(key)


def _flat(*machines: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the fingerprints of two machines with a field for each package.

    Earlier versions recorded only a few packages. So a package that is in only one of the fingerprints may be
    installed on both machines: it is kept only if every version of ``bench`` records it.
    """
    packages = [machine.get("packages") or {} for machine in machines]
    counted = {*ALWAYS_RECORDED, *set.intersection(*map(set, packages))}
    return [
        {
            **{key: value for key, value in machine.items() if key != "packages"},
            **{f"packages.{name}": version for name, version in installed.items() if name in counted},
        }
        for machine, installed in zip(machines, packages, strict=True)
    ]


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return one_line(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


# ---- the figures ---------------------------------------------------------------------------------


def _changes(before: tuple[RunSummary, Row], after: tuple[RunSummary, Row]) -> Iterator[RowChange]:
    """Yield the change of each key figure of a row; ``before`` and ``after`` are (run, row).

    Raises OverflowError if a ratio is out of range.
    """
    row = before[1]
    for metric in KEY_FIGURES:
        changed = change(metric, (before, after))
        if changed is None:
            continue
        bounds = [bound for bound in (changed.ratio, changed.low, changed.high) if bound is not None]
        if not all(map(math.isfinite, bounds)) or (changed.after and 0.0 in bounds):
            raise OverflowError(f"{metric.key} of {row.title}")
        yield RowChange(
            variant=row.name,
            group=row.group,
            metric=metric.key,
            before=changed.before,
            after=changed.after,
            ratio=changed.ratio,
            ci_low=changed.low,
            ci_high=changed.high,
            verdict=verdict(metric, changed),
            basis=changed.basis,
            note=changed.note,
        )


def heading(before: RunSummary, after: RunSummary) -> str:
    """Return the lines above the table: both runs, how quiet they were, rows of one, what measured them."""
    lines = []
    for word, run in (("before", before), ("after", after)):
        when = str(run.started_utc).replace("T", " ").removesuffix("Z")
        lines.append(f"{word:6}  {printable(run.run_id)}, {printable(when)} UTC: {quiet_words(run)}")
    for word, run, partner in (("before", before, after), ("after", after, before)):
        known = {row.key for row in partner.rows}
        alone = [row.title for row in run.rows if row.key not in known]
        if alone:
            lines.append(f"not compared, because only the run {word} has it: {one_line(', '.join(alone))}")
    lines += measured_otherwise(before, after)
    if before.run_id == after.run_id:
        lines.append("these are one and the same run, so nothing can differ")
    return "\n".join(lines)


def render(rows: Sequence[RowChange]) -> str:
    """Return a table with a line for each change, and the notes below it, each of them once."""
    table = [("variant", "metric", "before", "after", "ratio [95 %]", "verdict", "compared")]
    for row in rows:
        bounds = "" if row.ci_low is None else f" [{row.ci_low:.3f}, {row.ci_high:.3f}]"
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}{bounds}"
        before, after = format_significant(row.before), format_significant(row.after)
        table.append((printable(row.title), row.metric, before, after, ratio, row.verdict, row.basis))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    notes = dict.fromkeys(f"{printable(row.title)}: {printable(row.note)}" for row in rows if row.note)
    return "\n".join([*lines, *notes])
