"""Find out whether a difference between two commits can have reached the measured processes.

A gate on commits measures the same row in both commits. If the measured processes read the same files, with
the same config, weights and prompts, then their times say nothing about the change, and the verdict must not
be PASS. The journal records which files were read (``ArmRecord.reached``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.gate.findings import GateVerdict
from bench.metrics.unit_ratios import COSTS
from bench.records import ANY, ArmRecord, Json, RunRecord

Pair = tuple[ArmRecord, ArmRecord]


def differences(run: RunRecord) -> Json | None:
    """Return what differs between the commits; None for a gate that does not compare commits."""
    between: Json | None = (run.gate or {}).get("differences")
    return between


def nothing_differs(run: RunRecord) -> bool:
    """Return whether the two commits do not differ in any file, so that there is nothing to measure."""
    between = differences(run)
    if between is None:
        return False
    return not any(between.get(key) for key in ("config", "packages", "files", "inputs"))


def reached(run: RunRecord, base: ArmRecord, candidate: ArmRecord) -> bool:
    """Return whether a difference between the commits reached this row, or may have reached it."""
    between = differences(run)
    if between is None or _another_price(run):
        return True
    return any(True for _reason in reasons(between, base, candidate))


def _another_price(run: RunRecord) -> bool:
    """Return whether the sides are charged different prices, and a limit is on a cost. A new price in the
    config alone says nothing: it may not be the one that counts (``bench/runs/gate_price.py``)."""
    head = run.gate or {}
    of_base = head.get("base_price")
    if of_base is None or not any(metric in COSTS for metric in head.get("limits", {})):
        return False
    return _numbers(of_base) != _numbers(run.price)


def _numbers(price: Json) -> Json:
    return {key: value for key, value in price.items() if isinstance(value, int | float)}


def reasons(between: Json, base: ArmRecord, candidate: ArmRecord) -> Iterator[str]:
    """Yield the differences that reached the measured row: files, packages, and parts of the config."""
    if ANY in candidate.reached:
        yield from (*between["files"], *(change["what"] for change in between["packages"]))
    yield from files(base.reached, candidate.reached)
    for what in ("runtime", "workload"):
        if _without_paths(getattr(base, what)) != _without_paths(getattr(candidate, what)):
            yield what
    for what in ("optimise", "prompts_digest"):
        if getattr(base, what) != getattr(candidate, what):
            yield what
    own = ("model", "optimise", *(() if candidate.prompts_digest else ("workload",)))  # prompts have a digest
    for file in between.get("inputs", ()):
        if file["row"] == candidate.group and file["what"].partition(".")[0] in own:
            yield file["what"]
    yield from _other_models(base, candidate)


def _other_models(base: ArmRecord, candidate: ArmRecord) -> Iterator[str]:
    """Yield the models that differ between the sides: the row's own, and those that its steps name."""
    for key in ("weights_sha256", "files_sha256"):
        if base.model.get(key) != candidate.model.get(key):
            yield "the model's weights" if key == "weights_sha256" else "the model's files"
            break
    for name in sorted(base.models.keys() | candidate.models.keys()):
        of_base, of_candidate = (side.models.get(name, {}).get("files_sha256") for side in (base, candidate))
        if of_base != of_candidate:
            yield f"the weights of {name}"


def files(base: Mapping[str, str], candidate: Mapping[str, str]) -> list[str]:
    """Return the files that were read and differ between the sides; of ``root:path`` only the path."""
    names = sorted(base.keys() | candidate.keys())
    return [name.partition(":")[2] or name for name in names if base.get(name) != candidate.get(name)]


def _without_paths(block: Json) -> Json:
    """Remove the paths that differ in every commit: the interpreter's, and that of a file of prompts."""
    return {key: value for key, value in block.items() if key not in ("python", "file")}


def any_reached(run: RunRecord, pairs: Iterable[Pair]) -> bool:
    """Return whether the change reached any row.

    If it did, all rows are judged by their times. Not every file that a process reads can be observed, so the
    change may have reached the other rows too.
    """
    return differences(run) is None or any(reached(run, *pair) for pair in pairs)


def unreached_verdict(run: RunRecord) -> GateVerdict:
    """Return the verdict on a row that the change did not reach: UNREACHED, or IDENTICAL if allowed."""
    return GateVerdict.IDENTICAL if (run.gate or {}).get("allow_identical") else GateVerdict.UNREACHED


def same_row(base: ArmRecord, candidate: ArmRecord) -> bool:
    """Return whether both sides of a row have the same config and models, apart from paths."""
    return (
        all(
            _without_paths(getattr(base, what)) == _without_paths(getattr(candidate, what))
            for what in ("runtime", "workload")
        )
        and base.optimise == candidate.optimise
        and not any(True for _model in _other_models(base, candidate))
    )
