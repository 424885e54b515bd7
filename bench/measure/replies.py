"""Check the replies of a worker before anything in them is kept.

A time that does not increase, a missing request or a figure under the wrong name rejects the whole pass as
``worker_protocol_error``. No average is taken over the part that did arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from bench.config.spec import WorkloadBlock
from bench.errors import Outcome, VariantFailed
from bench.records import DriftWindow, Facts, Json, Loaded, TimedBatch, WarmUp

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class _Encoded:
    digest: str
    input_tokens: tuple[Positive, ...]
    end_ids: tuple[int, ...]


@dataclass(frozen=True)
class _Solo:
    batches: tuple[TimedBatch, ...]


@dataclass(frozen=True)
class _Memory:
    prefill: Mapping[str, int | None]
    decode: Mapping[str, int | None]


@dataclass(frozen=True)
class _Energy:
    energy_j: float | None
    energy_valid: bool
    code: str
    reason: str


@dataclass(frozen=True)
class _Corpus:
    tokens: int
    digest: str


@dataclass(frozen=True)
class _Windows:
    windows: tuple[DriftWindow, ...]


@dataclass(frozen=True)
class _Counted:
    requests: Positive
    input_tokens: Positive
    output_tokens: Positive
    forward_calls: Positive | None
    flops: int | None
    kv_cache_bytes: int | None


@dataclass(frozen=True)
class _Duet:
    durations_ns: tuple[tuple[Positive, ...], ...]


_SHAPES: dict[str, Any] = {
    "load": Loaded,
    "prompts": _Encoded,
    "warm_up": WarmUp,
    "solo": _Solo,
    "memory": _Memory,
    "energy": _Energy,
    "count": _Counted,
    "ceilings": dict[str, PositiveFloat],
    "corpus": _Corpus,
    "probe": dict[str, float | None],
    "floor": _Windows,
    "score": _Windows,
    "duet": _Duet,
}


@cache
def _adapter(do: str) -> TypeAdapter[Any]:
    return TypeAdapter(_SHAPES[do])


def check(do: str, result: Json, workload: WorkloadBlock) -> None:
    """Raise VariantFailed unless ``result`` is a complete reply to the command ``do``."""
    found = _shaped(do, result)
    if do == "prompts":
        _same(do, "prompts", len(found.input_tokens), workload.requests)
    if do == "warm_up":
        _growing(do, [0.0, *found.durations_ms[:1]])
    if do == "solo":
        _check_solo(found.batches, workload)


def facts_of(reply: Json) -> Facts:
    """Return the facts in a reply to ``load`` that has been checked."""
    found: Loaded = _shaped("load", reply)
    return found.facts


def check_duet(result: Json, batches: int, turns: int) -> None:
    """Check that one side sent a duration for every turn of every batch."""
    found = _shaped("duet", result)
    _same("duet", "batches", len(found.durations_ns), batches)
    for one in found.durations_ns:
        _same("duet", "turns", len(one), turns)


def check_windows(do: str, result: Json, windows: int, positions: int) -> None:
    """Check that every window is there, and has each statistic for every scored position."""
    found = _shaped(do, result)
    _same(do, "windows", len(found.windows), windows)
    for window in found.windows:
        four = (window.kld, window.same_top, window.ln_p_base, window.ln_p_variant)
        for values in (*four, *window.more.values()):
            _same(do, "positions", len(values), positions)


def _check_solo(batches: Sequence[TimedBatch], workload: WorkloadBlock) -> None:
    _same("solo", "requests", sum(batch.requests for batch in batches), workload.requests)
    for batch in batches:
        _same("solo", "prompt lengths", len(batch.input_tokens), batch.requests)
        _same("solo", "time stamps", len(batch.stamps_ns), workload.output_tokens)
        for tokens in batch.tokens:
            _same("solo", "tokens", len(tokens), workload.output_tokens)
        _growing("solo", [batch.sent_ns, *batch.stamps_ns])
        if batch.end_ns < batch.stamps_ns[-1]:
            raise _refused("solo", "a request that ended before its last token")


def _shaped(do: str, result: Json) -> Any:
    try:
        return _adapter(do).validate_python(result)
    except ValidationError as bad:
        first = bad.errors()[0]
        raise _refused(do, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None


def _same(do: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise _refused(do, f"{found} {what} instead of {wanted}")


def _growing(do: str, moments: Sequence[float]) -> None:
    if any(later <= earlier for earlier, later in pairwise(moments)):
        raise _refused(do, "a duration that is not above zero")


def _refused(do: str, problem: str) -> VariantFailed:
    return VariantFailed(Outcome.PROTOCOL_ERROR, f"the worker's answer to {do!r}: {problem}")
