"""Define what a report format is, and what all formats share.

Each format is a module that is found by its name (``pytest-benchmark`` is ``pytest_benchmark.py``). It needs
four things:

- a docstring whose first line says what it is (``bench list reports`` prints it);
- ``SUFFIX: str``, the suffix of its file, without the leading dot;
- ``REQUIRES: tuple[str, ...]``, the packages it needs beyond the core;
- ``render(runs) -> str | bytes``, which takes a sequence of ``bench.results.run_summary.RunSummary``. It is a
  pure function without clock, file or torch: the same runs give the same bytes.

Names and reasons in a run are untrusted text (a model's name, the last output of a worker). So each format
passes them through ``harmless`` and escapes them by its own rules; JSON Lines escapes them to ASCII instead.
``presented`` cleans a whole run. A format also shows the gate of a run (``run.gate``) if there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from operator import eq, is_
from typing import Any, TypeVar

from bench.errors import IntegrityError
from bench.formatting import defused, printable
from bench.gate.findings import Finding
from bench.report.gate_reading import findings_of, flat_gate, flat_rules, without_replaced
from bench.results.run_summary import RunSummary

FlatRow = dict[str, Any]
Any_ = TypeVar("Any_")
LONGEST_CACHED = 200  # longest string that is cached when it is cleaned
MOST_COLUMNS = 6000  # a run of this version has 1,100
_PLAIN = frozenset({int, float, bool, type(None)})
_FIELDS: dict[type, tuple[str, ...]] = {}  # the field names of each class that was seen


def harmless(value: Any_) -> Any_:
    """Return ``value`` with every string in it, including keys, on one line and without control characters.

    ANSI sequences, NUL, U+2028, text direction marks and lone surrogates become U+FFFD; a line break becomes
    a space. Commands to a CI server are disabled too (``defused``), because a job may print a report. Markup
    is kept, because each format escapes its own.
    """
    cleaned: Any = _harmless(value)
    return cleaned  # type: ignore[no-any-return]


def _harmless(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:  # most of a run is numbers
        return value
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        line = _short_line(value) if len(value) <= LONGEST_CACHED else _line(value)
        return value if line == value else line
    if kind is dict or isinstance(value, Mapping):
        return _mapping(value)
    if names := _fields_of(kind):
        return _with_harmless_fields(value, names)
    if isinstance(value, Sequence):
        items = [_harmless(item) for item in value]
        return value if all(map(is_, items, value)) else type(value)(items)  # type: ignore[call-arg]
    return value


def _line(text: str) -> str:
    line = text if text.isprintable() else printable(text.replace("\r\n", "\n")).replace("\n", " ")
    return defused(line)


_short_line = lru_cache(maxsize=4096)(_line)  # units, formulas and names occur in every row


def _fields_of(kind: type) -> tuple[str, ...]:
    """Return the field names of a dataclass, and an empty tuple for any other class."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
    return _FIELDS[kind]


def _mapping(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a clean mapping; it is the same object if nothing had to be cleaned, which saves copies."""
    clean = {_harmless(key): item if type(item) in _PLAIN else _harmless(item) for key, item in value.items()}
    same = len(clean) == len(value) and all(map(eq, clean, value))
    return value if same and all(map(is_, clean.values(), value.values())) else clean


def _with_harmless_fields(value: Any, names: Sequence[str]) -> Any:
    changed = {}
    for name in names:
        before = getattr(value, name)
        if type(before) not in _PLAIN and (after := _harmless(before)) is not before:
            changed[name] = after
    return replace(value, **changed) if changed else value


def presented(run: RunSummary) -> RunSummary:
    """Return a run as formats show it: with clean strings, and without ratios that its gate replaces."""
    return harmless(without_replaced(run))


def flat_rows(runs: Sequence[RunSummary]) -> list[FlatRow]:
    """Return a flat dict for each row of all runs (``RunSummary.flat_rows``), with the run's identity first.

    In a gate's run each dict also has the gate's verdict, sides and differences, and the findings about the
    row. A row that was judged without a measurement has a dict too. All dicts have the same keys. Raises
    IntegrityError if there are more than ``MOST_COLUMNS`` keys.
    """
    rows = [row for run in runs for row in _rows_of(without_replaced(run))]
    keys = dict.fromkeys(key for row in rows for key in row)
    if len(keys) > MOST_COLUMNS:
        raise IntegrityError(f"{len(keys)} columns are more than a table holds ({MOST_COLUMNS})")
    return [{key: row.get(key) for key in keys} for row in rows]


def _rows_of(run: RunSummary) -> Iterator[FlatRow]:
    about = flat_gate(run.gate) if run.gate else {}
    for row, flat in zip(run.rows, run.flat_rows(), strict=True):
        yield {**_which(run), **flat, **about, **flat_rules(findings_of(run, row))}
    for (group, name), rules in _unmeasured(run).items():
        flat = {"name": name, "group": group, "is_baseline": False, "status": None, "reason": rules[0].reason}
        yield {**_which(run), **flat, **about, **flat_rules(rules)}


def _unmeasured(run: RunSummary) -> dict[tuple[str, str], list[Finding]]:
    """Return the findings about rows that the run does not have, because its gate did not measure them."""
    known, findings = {row.key for row in run.rows}, dict[tuple[str, str], list[Finding]]()
    for rule in run.gate.rules if run.gate else ():
        if (rule.group, rule.variant) not in known:
            findings.setdefault((rule.group, rule.variant), []).append(rule)
    return findings


def _which(run: RunSummary) -> FlatRow:
    return {
        "run_id": run.run_id,
        "run_name": run.name,
        "started_utc": run.started_utc,
        "model": (run.model or {}).get("name"),
    }


def ascii_json(value: object, indent: int | None = None) -> str:
    """Write JSON in ASCII, without raw U+2028, ANSI sequences or commands to a CI server (``##[error]``).

    Such characters, and the second ``#`` of two, are escaped, so a JSON reader gets the original text. Raises
    IntegrityError for NaN and infinity, which ``bench`` never writes into a run.
    """
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)
    except ValueError as bad:
        raise IntegrityError(f"a figure in the run is not finite ({bad}); see `bench verify`") from None
    return text.replace("##", r"#\u0023")
