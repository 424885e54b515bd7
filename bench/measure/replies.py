"""Read the replies of a worker as records, and check them before anything in them is used.

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

from bench.drift.encoded import SIMILARITIES
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
    """A command of the worker: its name, and the type of the record that it is answered with."""

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
    """Return a reply as its record. Raises VariantFailed unless it is complete and its numbers are
    possible."""
    try:
        reply: Reply = _adapter(command).validate_python(result)
    except ValidationError as bad:
        first = bad.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refused(command.do, f"{where}: {first['msg']}") from None
    _check(command.do, reply, asked)
    return reply


def _check(do: str, reply: object, asked: Asked) -> None:
    """Raise VariantFailed if a number in a reply cannot be, or if requests or turns are missing."""
    match reply:
        case Encoded():
            _same(do, "prompts", len(reply.input_tokens), asked.requests)
            _positive(do, reply.input_tokens)
        case WarmUp():
            _growing(do, [0.0, *reply.durations_ms[:1]])
        case Solo():
            _check_solo(reply.batches, asked)
            if reply.cascaded:
                _same(do, "routed requests", len(reply.cascaded), asked.requests)
        case Counted():
            _positive(do, (reply.requests, reply.input_tokens, reply.output_tokens + (asked.turns == 1)))
            _positive(do, () if reply.forward_calls is None else (reply.forward_calls,))
        case DeviceTimes():
            _same(do, "batches with steps", len(reply.steps_ns), len(reply.prefill_ns))
            _positive(do, reply.prefill_ns)
            for steps in reply.steps_ns:
                _same(do, "steps", len(steps), asked.turns - 1)
                _positive(do, steps)
        case Windows():
            if not all(low <= high for low, high in reply.logits):
                raise _refused(do, "a smallest logit above the largest")
            if reply.activations and not _possible(reply.activations):
                raise _refused(do, "more activations at the end of their format than there are")
        case Together() if not 0 <= reply.differ <= reply.requests:
            raise _refused(do, f"{reply.differ} of {reply.requests} requests that differ")
        case StepProfile():
            _positive(do, () if reply.gpu_busy_ms is None else (reply.gpu_busy_ms,))
        case dict() if do == CEILINGS.do:
            _positive(do, reply.values())
        case _:
            return


def _possible(read: Activations) -> bool:
    return 0 <= read.reach <= 1 and 0 <= sum(read.layers.values()) <= read.looked


def turn_times(result: Json, batches: int, turns: int) -> TurnTimes:
    """Return one side's times. Raises VariantFailed unless there is one above zero for every turn."""
    reply = read(DUET, result, Asked(0, turns))
    _same("duet", "batches", len(reply.durations_ns), batches)
    for durations in reply.durations_ns:
        _same("duet", "turns", len(durations), turns)
        _positive("duet", durations)
    if reply.replies:
        _same("duet", "fingerprints of replies", len(reply.replies), batches)
    return reply


def check_requests(reply: RequestAnswers, asked: int, *, replies: bool) -> None:
    """Check that every request has an answer of the right kind, and that no likelihood is above 1."""
    answers, others = (reply.replies, reply.likelihoods) if replies else (reply.likelihoods, reply.replies)
    _same("requests", "answers", len(answers), asked)
    _same("requests", "answers of another kind", len(others), 0)
    if not all(pair is None or -1e6 <= pair[0] <= 0 for pair in reply.likelihoods):
        raise _refused("requests", "a log-likelihood that none can be")


def check_answers(reply: SuiteAnswers, asked: Sequence[Json], output_tokens: int) -> None:
    """Check that every item of a suite has an answer of the right kind, with a score for every choice."""
    answers, others = (reply.replies, reply.scores) if output_tokens else (reply.scores, reply.replies)
    _same("suite", "items", len(answers), len(asked))
    _same("suite", "answers of another kind", len(others), 0)
    if reply.both is not None:
        _same("suite", "items of both models", len(reply.both.requests), len(asked))
    for item, scores in zip(asked, reply.scores, strict=False):
        if scores is not None:
            _same("suite", "choices", len(scores), len(item["choices"]))
            if not all(-1e6 <= score <= 0 for score in scores):
                raise _refused("suite", f"log-likelihoods {scores} of {item['id']}")


def check_encodings(reply: Encodings, texts: int) -> None:
    """Check that every text has its output, that all are of one length, and how two of them are compared."""
    _same("encode", "texts", len(reply.outputs), texts)
    if reply.similarity not in SIMILARITIES:
        raise _refused("encode", f"no two vectors are compared by {reply.similarity[:60]!r}")
    for row in reply.outputs:
        _same("encode", "numbers of a text", len(row), max(len(reply.outputs[0]), 1))


def check_windows(reply: Windows, windows: int, positions: int) -> None:
    """Check that every window is there, has each statistic for every scored position, and no likelihood that
    none can be."""
    _same("score", "windows", len(reply.windows), windows)
    if reply.logits:
        _same("score", "ranges of logits", len(reply.logits), windows)
    for window in reply.windows:
        four = (window.kld, window.same_top, window.ln_p_base, window.ln_p_variant)
        for values in (*four, *window.more.values(), *filter(None, [window.kinds])):
            _same("score", "positions", len(values), positions)
        if not all(0 <= value <= 1e6 for value in window.kld):
            raise _refused("score", "a divergence of more than a million nats")
        if not all(-1e6 <= value <= 0 for value in (*window.ln_p_base, *window.ln_p_variant)):
            raise _refused("score", "a log-likelihood that none can be")


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


def _same(do: str, what: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise _refused(do, f"{count} {what} instead of {wanted}")


def _positive(do: str, values: Iterable[float]) -> None:
    if any(value <= 0 for value in values):
        raise _refused(do, "a number that is not above zero")


def _growing(do: str, moments: Sequence[float]) -> None:
    if any(later <= earlier for earlier, later in pairwise(moments)):
        raise _refused(do, "a duration that is not above zero")


def _refused(do: str, problem: str) -> VariantFailed:
    return VariantFailed(Outcome.PROTOCOL_ERROR, f"the worker's answer to {do!r}: {problem}")
