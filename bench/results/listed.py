"""Read only what a list shows of ``run.json``, in a third of the time that the whole file takes.

It is for a file whose text is the one that was written (``text_digest.py``), beside the journal that it was
made from. Any other file is left to ``load_run``, which alone says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from bench.bounded import content_or_nothing, contents_of
from bench.errors import BenchError
from bench.metrics import cost, energy, throughput
from bench.pricing.hardware import recorded_price
from bench.results.run_summary import RunSummary
from bench.results.schema import Judged
from bench.results.summary import MAX_BYTES, MOST, SEAL
from bench.results.text_digest import has_its_digest
from bench.store.blocks import Machine
from bench.store.journal_end import last_digest
from bench.store.replay import MOST_ROWS, journal_of
from bench.store.run_files import RUN_JSON
from bench.store.values import Above0, Amount, Count, Name, Number, Stamp, check_block

# The figures that are read of each row.
FIGURES = frozenset(
    metric.key for metric in (cost.PER_1K, throughput.TOTAL, throughput.REQUESTS, energy.PER_REQUEST)
)
# What the records of a run and of a row need beside what is read. No list shows it.
_OF_A_RUN: Mapping[str, Any] = {
    "harness": {}, "spec": {}, "spec_digest": "", "model": None, "text": {},
}  # fmt: skip
_OF_A_ROW: Mapping[str, Any] = {"reason": None, "workload": {}, "evidence": None, "drift": {}}


def listed_run(directory: Path) -> tuple[RunSummary, str] | None:
    """Return a run with its ``FIGURES`` and the digest of its journal's last line.

    Returns None for a directory of which ``load_run`` must judge whether it holds a sound run.
    """
    path = directory / RUN_JSON
    content = _parsed(content_or_nothing(path, MAX_BYTES, follow=False))
    if content is None:
        return None
    try:
        digest = last_digest(journal_of(directory))
        if content[SEAL]["journal_sha256"] != digest:
            return None
        check_block(Machine, content["machine"], "the machine")
        if content.get("gate"):
            check_block(Judged, content["gate"], "the gate")
        recorded_price(content["price"], content["run_id"])
        return RunSummary.from_json(content), digest
    except BenchError:
        return None


def _parsed(data: bytes) -> dict[str, Any] | None:
    """Return what is read of ``run.json`` if its text is the one that was written, else None.

    Unlike a strict parser, it takes the last one of two equal keys, and infinity for 1e999 where it reads no
    number. Our writer writes neither, so somebody gave such a file its digest on purpose.
    """
    if not has_its_digest(data):
        return None
    try:
        if len(data) > MOST.containers:  # a smaller file cannot hold more than that
            contents_of(data).must_fit(MOST)
        content: dict[str, Any] = _validator().validate_json(data, strict=True)
    except ValueError:
        return None
    rows = [{**_OF_A_ROW, **row} for row in content["variants"]]
    ratios = [ratio for ratio in content["comparisons"] if ratio["metric"] in FIGURES]
    return {**_OF_A_RUN, **content, "variants": rows, "comparisons": ratios}


@cache
def _validator() -> SchemaValidator:
    numbers = {"value?": Number, "mean?": Number, "ci_low": Number | None, "ci_high": Number | None}
    figure = core_schema.nullable_schema(_object(numbers))
    ratio = {
        "metric": Name, "ratio": Above0, "ci_low": Amount | None, "ci_high": Amount | None,
        "value?": Amount | None, "value_low?": Amount | None, "value_high?": Amount | None,
    }  # fmt: skip
    row = {
        "name": Name, "group": Name, "is_baseline": bool, "status": Name, "model": dict[str, Any] | None,
        "runtime": dict[str, Any], "optimisations": list[str],
        "facts": core_schema.nullable_schema(_object({"device": str, "threads?": Count | None})),
        "metrics": _object({f"{key}?": figure for key in FIGURES}, extra="ignore"),
    }  # fmt: skip
    run = {
        "schema_version": int, "run_id": Name, "name": Name, "started_utc": Stamp,
        "finished_utc": Stamp | None, "status": Name, "reasons": list[str], "machine": dict[str, Any],
        "price": dict[str, Any], "gate?": dict[str, Any] | None, SEAL: _object({"journal_sha256": str}),
        "variants": core_schema.list_schema(_object(row, extra="ignore"), max_length=MOST_ROWS),
        "comparisons": core_schema.list_schema(_object(ratio), max_length=20 * MOST_ROWS),
    }  # fmt: skip
    return SchemaValidator(_object(run, extra="ignore"))


def _object(keys: Mapping[str, Any], extra: core_schema.ExtraBehavior = "allow") -> CoreSchema:
    """Return the schema of an object with these keys, of a type or a schema each; ``?`` ends a key that may
    be missing. Other keys are kept as they are (``allow``), or not read (``ignore``)."""
    fields = {
        key.removesuffix("?"): core_schema.typed_dict_field(_schema(kind), required=not key.endswith("?"))
        for key, kind in keys.items()
    }
    return core_schema.typed_dict_schema(fields, extra_behavior=extra)


def _schema(kind: Any) -> CoreSchema:
    if isinstance(kind, dict):
        return kind
    return TypeAdapter(kind).core_schema
