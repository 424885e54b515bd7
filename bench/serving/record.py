"""Write and read the directory of a load: ``journal.jsonl`` has the raw times, ``load.json`` the figures.

The journal is written when the load is over (or was interrupted), because writing takes time from the client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError, IntegrityError, UsageError
from bench.metrics.requests import Counts, Limits, counts, figures
from bench.pricing.cost import Price, price_of
from bench.pricing.hardware import parse_price
from bench.records.json_form import Json
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.serving.address import Secret
from bench.serving.cache_hits import Hits
from bench.serving.drift import Drift
from bench.serving.drift_failed import FAILED, DriftFailed
from bench.serving.load import INTERRUPTED, Load
from bench.serving.text_drift import TextDrift
from bench.stats.figure import LARGER, Figures, kept, too_large
from bench.store.files import canonical_json, write_atomic
from bench.store.journal import Journal, read_journal
from bench.store.journal_limits import must_be_modest, weight_of_row
from bench.store.journal_place import journal_in
from bench.store.replay import judging
from bench.store.run_files import JOURNAL as JOURNAL
from bench.store.run_files import LOAD_JSON
from bench.store.served_blocks import check_load
from bench.store.values import MOST

SUMMARY = LOAD_JSON
SCHEMA_VERSION = 1
END = "end"  # the kind of its last record
BATCH = 100
ANSWERED_BY_CACHE = 0.01
TURNS = "multi-turn"  # its prompts are meant to begin alike
AnyDrift = Drift | TextDrift | DriftFailed


@dataclass(frozen=True)
class Result:
    """A load with its figures. ``head`` says what was measured: target, model, schedule, seed, evidence."""

    head: Mapping[str, Any]
    load: Load
    limits: Limits
    price: Mapping[str, Any] | None
    counts: Counts
    figures: Figures
    drift: AnyDrift | None = None
    too_large: Sequence[str] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Say why nothing may be concluded from it; nothing if it is valid."""
        none = () if self.counts.ok else ("no request got a whole reply",)
        return (*self.load.invalid, *none)

    @property
    def drift_failed(self) -> bool:
        """Return whether the drift that was asked for was not measured."""
        return isinstance(self.drift, DriftFailed)

    @property
    def interrupted(self) -> bool:
        """Return whether a signal ended the load, or the drift after it."""
        drift = self.drift.reason if isinstance(self.drift, DriftFailed) else ""
        return INTERRUPTED in (self.load.stopped, drift)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say what makes the figures less sure than they look."""
        lost = (f"{LARGER}: {', '.join(self.too_large)}",) if self.too_large else ()
        again = self.head.get("prompts_again")
        twice = (f"{again} prompts came again, which a prefix cache can answer",) if again else ()
        return (*warnings(self.load.samples, self._hits, self.prompts), *twice, *lost)

    @property
    def prompts(self) -> str:
        """Return the name of the workload if its prompts may begin alike; '' for prompts that do not."""
        return str((self.head.get("workload") or {}).get("name", ""))

    @property
    def answered_by_cache(self) -> float | None:
        """Return the share of input tokens that a prefix cache answered; None if the server does not tell."""
        told = self._hits or any(one.n_cached is not None for one in self.load.samples)
        return _hits(self.load.samples, self._hits).share if told else None

    @property
    def _hits(self) -> Hits | None:
        kept = self.head.get("prefix_cache")
        return Hits.from_json(kept) if kept else None

    @property
    def status(self) -> Literal["ok", "invalid", "interrupted"]:
        """Say how it ended: a load that a signal ended is interrupted, whatever else speaks against it."""
        return "interrupted" if self.load.stopped == INTERRUPTED else "invalid" if self.reasons else "ok"

    def to_json(self) -> Json:
        """Return the summary as it stands in ``load.json``."""
        return {
            "schema_version": SCHEMA_VERSION, "kind": "load", **self.head,
            "status": self.status, "reasons": list(self.reasons),
            "slo": dict(self.limits.most_ms), "price": self.price, "counts": self.counts.to_json(),
            "warnings": list(self.warnings), "client": self.load.client.to_json(),
            "figures": {key: one and one.to_json() for key, one in self.figures.items()},
            **({"drift": self.drift.how()} if self.drift else {}),
        }  # fmt: skip


def result(
    head: Mapping[str, Any], load: Load, limits: Limits, price: Mapping[str, Any] | None,
    drift: AnyDrift | None = None,
) -> Result:  # fmt: skip
    """Compute the figures of a load; ``price`` is a whole block of a price with its utilisation.

    Raises BenchError if there was no request.
    """
    if not load.samples:
        raise BenchError("nothing was measured: no request was sent")
    found = {**figures(load.samples, limits, _price(price)), **(drift.figures() if drift else {})}
    lost, of_all = too_large(found, MOST), counts(load.samples, limits)
    return Result(head, load, limits, price, of_all, kept(found, MOST), drift, lost)


def write(directory: Path, done: Result, clock: Callable[[], str], secret: Secret | None) -> None:
    """Write journal and summary. Raises BenchError, and writes nothing, if the key would be in them."""
    settings = {"slo": dict(done.limits.most_ms), "price": done.price}
    records: list[tuple[str, Mapping[str, object]]] = [("load", {"head": done.head, **settings})]
    rows = [one.to_json() for one in done.load.samples]
    records += [("samples", {"samples": rows[at : at + BATCH]}) for at in range(0, len(rows), BATCH)]
    if done.drift is not None:
        records.append(("drift", done.drift.to_json()))
    records.append((END, {"client": done.load.client.to_json(), "stopped": done.load.stopped}))
    summary = json.dumps(done.to_json(), indent=1, allow_nan=False)
    for text in (summary, *(canonical_json(payload) for _, payload in records)):
        if secret is not None and secret.is_in(text):
            raise BenchError(f"the key {secret.name} would be in the files of the load: nothing was written")
    with Journal.create(directory / JOURNAL, clock) as journal:
        for kind, payload in records:
            journal.append(kind, payload)
    write_atomic(directory / SUMMARY, summary)


def journal_at(directory: Path) -> Path:
    """Return the journal of the load in a directory: as it was written, packed or compacted.

    Raises UsageError if there is none.
    """
    path = journal_in(directory)
    if path is None:
        raise UsageError(f"{directory} holds no load (no {JOURNAL})")
    return path


Kept = tuple[Mapping[str, Any], Load, dict[str, float], Mapping[str, Any] | None, AnyDrift | None]


def read(directory: Path) -> Kept:
    """Read a journal back: head, load, limits, price, drift.

    Raises UsageError if there is none, or that of a run, and IntegrityError if it is damaged.
    """
    path = journal_at(directory)
    by_kind: dict[object, list[Mapping[str, Any]]] = {}
    for number, record in enumerate(read_journal(path).records, start=1):
        check_load(record, f"{path}:{number}")
        by_kind.setdefault(record["kind"], []).append(record)
    if "run_started" in by_kind:
        raise UsageError(f"{directory} is a run and no load: `bench compare {directory}` shows it")
    try:
        said = [one for found in by_kind.get("drift", []) for one in found.get("said", ())]
        must_be_modest([weight_of_row({"loads": by_kind.get("samples", ()), "said": said})])
        first, last = by_kind["load"][0], by_kind[END][0]
        samples = tuple(Sample.from_json(row) for one in by_kind.get("samples", []) for row in one["samples"])
        if not samples:
            raise ValueError("no request was sent")
        load = Load(samples, ClientOverhead.from_json(last["client"]), str(last["stopped"]))
        drift = next(map(_drift, by_kind.get("drift", [])), None)
        return dict(first["head"]), load, dict(first["slo"]), first["price"], drift
    except (KeyError, TypeError, IndexError, ValueError) as bad:
        raise IntegrityError(f"{path}: this is not the journal of a load ({bad!r:.80})") from None


def again(directory: Path, limits: Mapping[str, float], price: Mapping[str, Any] | None = None) -> Result:
    """Compute an earlier load again from its journal, with other limits or another price if given.

    Raises IntegrityError for a journal that is damaged, or of which the records do not fit together. If they
    do, an error with other limits or another price is a bug of ours.
    """
    head, done, kept_limits, kept_price, drift = read(directory)
    with judging(journal_at(directory)):
        kept = result(head, done, Limits(kept_limits), kept_price, drift)
    if not limits and price is None:
        return kept
    return result(head, done, Limits(limits or kept_limits), price or kept_price, drift)


def warnings(samples: Sequence[Sample], cache: Hits | None = None, prompts: str = "") -> tuple[str, ...]:
    """Say what makes the figures less sure than they look. ``prompts`` is the workload if its prompts may
    begin alike. ``cache`` holds the server's own counters, which count more surely than the usage in its
    replies."""
    ok = [one for one in samples if one.ok]
    found = []
    share = _hits(samples, cache).share
    if share > ANSWERED_BY_CACHE and prompts != TURNS:
        why = "as prompts of people may begin alike" if prompts else "although no prompt repeats"
        found.append(f"a prefix cache answered {share:.0%} of the input tokens, {why}")
    doubts = [one.doubt for one in ok if not one.verified]
    if doubts:
        found.append(f"the output tokens of {len(doubts)} of {len(ok)} replies are unverified: {doubts[0]}")
    short = sum(one.n_out < one.asked_out for one in ok)
    if short:
        found.append(f"{short} of {len(ok)} replies have fewer output tokens than asked for")
    if stopped := sum(one.finish == "content_filter" for one in ok):
        found.append(f"a filter of the server ended {stopped} of {len(ok)} replies, which count as any other")
    if not any(one.n_in for one in ok) and ok:
        found.append("the server sent no input tokens: those that were asked for are taken")
    return tuple(found)


def _drift(found: Mapping[str, Any]) -> AnyDrift:
    if FAILED in found:
        return DriftFailed.from_json(found)
    return TextDrift.from_json(found) if "said" in found else Drift.from_json(found)


def _hits(samples: Sequence[Sample], cache: Hits | None) -> Hits:
    """Return the server's own counters, or without them what its usage says."""
    ok = [one for one in samples if one.ok]
    return cache or Hits(sum(one.n_cached or 0 for one in ok), sum(one.input_tokens for one in ok))


def _price(block: Mapping[str, Any] | None) -> Price | None:
    if block is None:
        return None
    given = {key: value for key, value in block.items() if key != "utilisation"}
    try:
        return price_of(
            parse_price(given, "the price of the load"), None, float(block.get("utilisation", 1.0))
        )
    except UsageError as bad:  # the price of a load that is made has been checked
        raise IntegrityError(str(bad)) from None
