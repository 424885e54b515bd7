"""Define the schema of a journal, and check each of its records.

A run may come from anywhere, and anybody may have edited it. So everything that later code relies on is
checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from bench.errors import IntegrityError, UsageError
from bench.records import ArmRecord, UnitRecord
from bench.store.blocks import Encoded, Harness, Machine, Price, Spec, Text
from bench.store.chain import seal
from bench.store.gate_blocks import Gate
from bench.store.row_blocks import (
    MOST_KERNELS,
    KernelBlock,
    Model,
    Noise,
    Runtime,
    ServerHead,
    Step,
    UnitNoise,
    Workload,
)
from bench.store.served_blocks import Clock, LoadOfServer, LoadsOfPair, Said
from bench.store.suite_blocks import MOST_ITEMS, Answers, Read, Routed
from bench.store.values import (
    Amount,
    Block,
    Count,
    Hex,
    Name,
    Nanoseconds,
    Nats,
    Number,
    Reply,
    Seconds,
    Small,
    Stamp,
    check_block,
    explained,
)

MOST_SUITES = 50
MOST_POSITIONS, MOST_FLOORS, MOST_FURTHER = 8192, 10, 50
MOST_TOKENS = 131_072  # of a reply; the same limit as in a config
KINDS = frozenset({"run_started", "arm", "unit", "run_finished"})


class Head(Block):
    """Hold the first record of a journal."""

    kind: Literal["run_started"]
    at_utc: Stamp
    run_id: Name
    name: Name
    schema_version: Annotated[int, Field(ge=1)]
    harness: Harness
    spec: Spec
    spec_digest: Hex
    machine: Machine
    price: Price
    text: Text
    inputs: dict[str, Hex] = Field(default_factory=dict)
    gate: Gate | None = None


class Finished(Block):
    """Hold the last record of a run that was measured to its end."""

    kind: Literal["run_finished"]
    at_utc: Stamp


class Turns(Block):
    """Hold a batch that ran in turns, as journals had it before there were pairs of processes."""

    baseline_ns: list[Count]
    variant_ns: list[Count]


class Window(Block):
    """Hold a window of the evaluation text: log probabilities, and statistics of the distributions."""

    kld: list[Nats]
    same_top: list[Count]
    ln_p_base: list[Nats]
    ln_p_variant: list[Nats]
    more: dict[Name, list[Number]] = Field(default_factory=dict)
    kinds: Annotated[str, Field(max_length=MOST_POSITIONS, pattern="^[lcadpwx]*$")] = ""


class Profile(Block):
    """Hold the operators of one decode step."""

    kernels: Annotated[list[KernelBlock], Field(max_length=MOST_KERNELS)]
    launches: Count | None = None
    gpu_busy_ms: Amount | None = None


class Batch(Block):
    """Hold requests that were decoded together: times in nanoseconds, and a list of tokens per request."""

    sent_ns: Clock
    stamps_ns: list[Clock]
    end_ns: Clock
    input_tokens: list[Small]
    tokens: list[Annotated[list[int], Field(max_length=MOST_TOKENS)]]


# Fields with a stricter type here than in the records, where many of them are plain mappings.
_ARM: dict[str, Any] = {
    "name": Name,
    "group": Name,
    "model": Model,
    "models": Annotated[dict[Name, Model], Field(max_length=MOST_FURTHER)],
    "runtime": Runtime,
    "workload": Workload,
    "noise": list[Noise],
    "profile": Profile,
    "server": ServerHead,
    "loads": list[LoadOfServer],
    "solo": list[Batch],
    "drift": list[Window],
    "floor": list[Window],
    "said": Annotated[list[Said], Field(max_length=MOST_ITEMS)],
    "floors": Annotated[dict[Name, list[Window]], Field(max_length=MOST_FLOORS)],
    "texts": Annotated[
        list[Annotated[list[Reply], Field(min_length=2, max_length=2)]], Field(max_length=MOST_ITEMS)
    ],
    "suites": Annotated[dict[Name, Answers], Field(max_length=MOST_SUITES)],
    "activations": list[Read],
    "cascaded": list[Routed],
    "encoded": Encoded,
}
_UNIT: dict[str, Any] = {
    "variant": Name,
    "group": Name,
    "noise": UnitNoise,
    "took_s": Seconds,
    "baseline_ns": list[list[Nanoseconds]],
    "variant_ns": list[list[Nanoseconds]],
    "loads": LoadsOfPair,
    "cascaded": list[Routed],
    "baseline_cascaded": list[Routed],
}


@cache
def _kinds() -> Mapping[str, TypeAdapter[Any]]:
    """Return the checker of each kind of record."""
    arm = _partial("Arm", ArmRecord, _ARM, ("name", "group"))
    unit = _partial("Unit", UnitRecord, _UNIT, ("number", "group", "variant", "batches", "spawned_first"))
    kinds: dict[str, type[BaseModel]] = {
        "run_started": Head,
        "arm": arm,
        "unit": unit,
        "run_finished": Finished,
    }
    return {kind: TypeAdapter[Any](model) for kind, model in kinds.items()}


def _partial(
    name: str, record: type, narrower: Mapping[str, Any], required: tuple[str, ...]
) -> type[BaseModel]:
    """Make a model in which all but ``required`` fields may be absent: an arm is written in several parts."""
    hints = {**get_type_hints(record), **narrower, "duet": list[Turns], "started": bool}
    hints["at_utc"] = Stamp
    fields: dict[str, Any] = {
        key: (kind, ...) if key in required else (kind | None, None) for key, kind in hints.items()
    }
    return create_model(name, **fields)


def check_record(number: int, record: Mapping[str, Any], where: str) -> None:
    """Check the record on line ``number`` of the journal at ``where``.

    Raises IntegrityError with file, line and key. A record of an unknown kind is not checked, because no code
    reads it.
    """
    _check(record, f"{where}:{number}: ")


def must_be_readable(record: Mapping[str, Any]) -> None:
    """Check a record before it is written, as ``check_record`` does when it is read. Raises IntegrityError
    with the key."""
    _check(record, "")


def _check(record: Mapping[str, Any], place: str) -> None:
    kind = str(record.get("kind"))
    if kind not in _kinds():
        return
    try:
        _kinds()[kind].validate_python(record)
    except ValidationError as bad:
        raise IntegrityError(f"{place}{explained(bad)}") from None
    for step in (record.get("loaded") or {}).get("evidence") or ():
        check_block(Step, step, f"{place}loaded.evidence")


def must_fit(content: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Check a config as the journal's first record will hold it, and the names of its cells, before anything
    is measured. Raises UsageError with the key."""
    try:
        seal({"spec": content})
        TypeAdapter(Spec).validate_python(content)
        TypeAdapter(list[Name]).validate_python(list(labels))
    except ValidationError as bad:
        raise UsageError(explained(bad)) from None
    except ValueError as bad:
        raise UsageError(str(bad)) from None
