"""Read the replies of a worker as records, and check them before anything in them is kept.

A time that does not increase, a missing request or a figure under the wrong name rejects the whole pass as
``worker_protocol_error``. No average is taken over the part that did arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.errors import Outcome, VariantFailed
from bench.records import (
    Activations,
    Corpus,
    Counted,
    DeviceTimes,
    Encoded,
    Encodings,
    EnergyReading,
    Exported,
    Json,
    Loaded,
    MemoryPeaks,
    RequestAnswers,
    Solo,
    StepProfile,
    SuiteAnswers,
    TimedBatch,
    Together,
    TurnTimes,
    WarmUp,
    Windows,
)

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Asked:
    """How many requests a pass has, and how many turns each takes: one per output token, or one for a whole
    answer of any length."""

    requests: int
    turns: int


@dataclass(frozen=True)
class Command(Generic[Reply]):
    """A command of the worker by its name, and the record that it is answered with."""

    do: str
    reply: Any  # a type; mypy has no word for "any form of a type, such as dict[str, float]"


LOAD: Command[Loaded] = Command("load", Loaded)
PROMPTS: Command[Encoded] = Command("prompts", Encoded)
WARM_UP: Command[WarmUp] = Command("warm_up", WarmUp)
SOLO: Command[Solo] = Command("solo", Solo)
DEVICE_TIMES: Command[DeviceTimes] = Command("device_times", DeviceTimes)
PROFILE: Command[StepProfile] = Command("profile", StepProfile)
MEMORY: Command[MemoryPeaks] = Command("memory", MemoryPeaks)
ENERGY: Command[EnergyReading] = Command("energy", EnergyReading)
COUNT: Command[Counted] = Command("count", Counted)
CEILINGS: Command[Mapping[str, float]] = Command("ceilings", dict[str, float])
PROBE: Command[Mapping[str, float | None]] = Command("probe", dict[str, float | None])
CORPUS: Command[Corpus] = Command("corpus", Corpus)
FLOOR: Command[Windows] = Command("floor", Windows)
TOGETHER: Command[Together] = Command("together", Together)
ENCODE: Command[Encodings] = Command("encode", Encodings)
SCORE: Command[Windows] = Command("score", Windows)
DUET: Command[TurnTimes] = Command("duet", TurnTimes)
REACHED: Command[Mapping[str, str]] = Command("reached", dict[str, str])
SUITE: Command[SuiteAnswers] = Command("suite", SuiteAnswers)
REQUESTS: Command[RequestAnswers] = Command("requests", RequestAnswers)
EXPORT: Command[Exported] = Command("export", Exported)


@cache
def _adapter(command: Command[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(command.reply)


def read(command: Command[Reply], result: Json, asked: Asked) -> Reply:
    """Return a reply as its record. Raises VariantFailed unless it is complete and possible."""
    try:
        found: Reply = _adapter(command).validate_python(result)
    except ValidationError as bad:
        first = bad.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refused(command.do, f"{where}: {first['msg']}") from None
    _check(command.do, found, asked)
    return found


def _check(do: str, found: object, asked: Asked) -> None:
    match found:
        case Encoded():
            _same(do, "prompts", len(found.input_tokens), asked.requests)
            _positive(do, found.input_tokens)
        case WarmUp():
            _growing(do, [0.0, *found.durations_ms[:1]])
        case Solo():
            _check_solo(found.batches, asked)
            if found.cascaded:
                _same(do, "routed requests", len(found.cascaded), asked.requests)
        case Counted():
            _positive(do, (found.requests, found.input_tokens, found.output_tokens + (asked.turns == 1)))
            _positive(do, () if found.forward_calls is None else (found.forward_calls,))
        case DeviceTimes():
            _same(do, "batches with steps", len(found.steps_ns), len(found.prefill_ns))
            _positive(do, found.prefill_ns)
            for steps in found.steps_ns:
                _same(do, "steps", len(steps), asked.turns - 1)
                _positive(do, steps)
        case Windows():
            if not all(low <= high for low, high in found.logits):
                raise _refused(do, "a smallest logit above the largest")
            if found.activations and not _possible(found.activations):
                raise _refused(do, "more activations at the end of their format than there are")
        case Together() if not 0 <= found.differ <= found.requests:
            raise _refused(do, f"{found.differ} of {found.requests} requests that differ")
        case StepProfile():
            _positive(do, () if found.gpu_busy_ms is None else (found.gpu_busy_ms,))
        case dict() if do == CEILINGS.do:
            _positive(do, found.values())
        case _:
            return


def _possible(read: Activations) -> bool:
    return 0 <= read.reach <= 1 and 0 <= sum(read.layers.values()) <= read.looked


def turn_times(result: Json, batches: int, turns: int) -> TurnTimes:
    """Return one side's times. Raises VariantFailed unless there is one above zero for every turn."""
    found = read(DUET, result, Asked(0, turns))
    _same("duet", "batches", len(found.durations_ns), batches)
    for durations in found.durations_ns:
        _same("duet", "turns", len(durations), turns)
        _positive("duet", durations)
    if found.replies:
        _same("duet", "fingerprints of replies", len(found.replies), batches)
    return found


def check_requests(found: RequestAnswers, asked: int, *, replies: bool) -> None:
    """Check that every request has an answer of the kind asked for, and that no likelihood is above 1."""
    ours, others = (found.replies, found.likelihoods) if replies else (found.likelihoods, found.replies)
    _same("requests", "answers", len(ours), asked)
    _same("requests", "answers of another kind", len(others), 0)
    if not all(one is None or -1e6 <= one[0] <= 0 for one in found.likelihoods):
        raise _refused("requests", "a log-likelihood that none can be")


def check_answers(found: SuiteAnswers, asked: Sequence[Json], output_tokens: int) -> None:
    """Check that every item of a suite has an entry of the kind asked for, and every choice its score."""
    ours, others = (found.replies, found.scores) if output_tokens else (found.scores, found.replies)
    _same("suite", "items", len(ours), len(asked))
    _same("suite", "answers of another kind", len(others), 0)
    if found.both is not None:
        _same("suite", "items of both models", len(found.both.requests), len(asked))
    for item, one in zip(asked, found.scores, strict=False):
        if one is not None:
            _same("suite", "choices", len(one), len(item["choices"]))
            if not all(-1e6 <= value <= 0 for value in one):
                raise _refused("suite", f"log-likelihoods {one} of {item['id']}")


def check_encodings(found: Encodings, texts: int) -> None:
    """Check that every text has its output, and that all are of one length."""
    _same("encode", "texts", len(found.outputs), texts)
    for row in found.outputs:
        _same("encode", "numbers of a text", len(row), max(len(found.outputs[0]), 1))


def check_windows(found: Windows, windows: int, positions: int) -> None:
    """Check that every window is there, and has each statistic for every scored position."""
    _same("score", "windows", len(found.windows), windows)
    if found.logits:
        _same("score", "ranges of logits", len(found.logits), windows)
    for window in found.windows:
        four = (window.kld, window.same_top, window.ln_p_base, window.ln_p_variant)
        for values in (*four, *window.more.values(), *filter(None, [window.kinds])):
            _same("score", "positions", len(values), positions)


def _check_solo(batches: Sequence[TimedBatch], asked: Asked) -> None:
    _same("solo", "requests", sum(batch.requests for batch in batches), asked.requests)
    for batch in batches:
        _same("solo", "prompt lengths", len(batch.input_tokens), batch.requests)
        _same("solo", "time stamps", len(batch.stamps_ns), asked.turns)
        for tokens in batch.tokens if asked.turns > 1 else ():
            _same("solo", "tokens", len(tokens), asked.turns)
        _growing("solo", [batch.sent_ns, *batch.stamps_ns])
        if batch.end_ns < batch.stamps_ns[-1]:
            raise _refused("solo", "a request that ended before its last token")


def _same(do: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise _refused(do, f"{found} {what} instead of {wanted}")


def _positive(do: str, values: Iterable[float]) -> None:
    if any(value <= 0 for value in values):
        raise _refused(do, "a number that is not above zero")


def _growing(do: str, moments: Sequence[float]) -> None:
    if any(later <= earlier for earlier, later in pairwise(moments)):
        raise _refused(do, "a duration that is not above zero")


def _refused(do: str, problem: str) -> VariantFailed:
    return VariantFailed(Outcome.PROTOCOL_ERROR, f"the worker's answer to {do!r}: {problem}")
