"""Whether what differs between two commits can have reached what was measured.

A gate on commits measures a row of each. If the measured processes read the same files, with the same config,
the same weights and the same prompts, then their times say nothing about the change: the verdict must not be
PASS. Which files were read is in the journal (``ArmRecord.reached``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.gate.verdict import GateVerdict
from bench.records import ANY, ArmRecord, Json, RunRecord

Pair = tuple[ArmRecord, ArmRecord]


def differences(run: RunRecord) -> Json | None:
    """Return what differs between the commits; None for a gate that compares none."""
    found: Json | None = (run.gate or {}).get("differences")
    return found


def nothing_differs(run: RunRecord) -> bool:
    """Return whether the commits are the same to the last file, so that there is nothing to measure."""
    found = differences(run)
    return found is not None and not any(found.get(key) for key in ("config", "packages", "files", "inputs"))


def reached(run: RunRecord, base: ArmRecord, candidate: ArmRecord) -> bool:
    """Return whether something that differs is part of what this row measured, or can have been."""
    found = differences(run)
    return found is None or any(True for _what in reasons(found, base, candidate))


def reasons(found: Json, base: ArmRecord, candidate: ArmRecord) -> Iterator[str]:
    """Yield what differs in the measured row: files, and parts of the config."""
    if ANY in candidate.reached:
        yield from (*found["files"], *(change["what"] for change in found["packages"]))
    yield from files(base.reached, candidate.reached)
    for what in ("runtime", "workload"):
        if _without_paths(getattr(base, what)) != _without_paths(getattr(candidate, what)):
            yield what
    for what in ("optimise", "prompts_digest"):
        if getattr(base, what) != getattr(candidate, what):
            yield what
    for one in found.get("inputs", ()):  # prompts have a digest of their own
        if one["row"] == candidate.group and one["what"].partition(".")[0] in ("model", "optimise"):
            yield one["what"]
    yield from _other_models(base, candidate)
    if any(change["what"].startswith("price") for change in found["config"]):
        yield "price"


def _other_models(base: ArmRecord, candidate: ArmRecord) -> Iterator[str]:
    """Yield the models, the row's own and those that its steps name, that are not the same on both sides."""
    for key in ("weights_sha256", "files_sha256"):
        if base.model.get(key) != candidate.model.get(key):
            yield "the model's weights" if key == "weights_sha256" else "the model's files"
            break
    for name in sorted(base.models.keys() | candidate.models.keys()):
        of_base, of_candidate = (side.models.get(name, {}).get("files_sha256") for side in (base, candidate))
        if of_base != of_candidate:
            yield f"the weights of {name}"


def files(base: Mapping[str, str], candidate: Mapping[str, str]) -> list[str]:
    """Return the files that were read and are not the same on both sides, without their root's name."""
    names = sorted(base.keys() | candidate.keys())
    return [name.partition(":")[2] or name for name in names if base.get(name) != candidate.get(name)]


def _without_paths(block: Json) -> Json:
    """Leave out what is at another place in each commit: the interpreter, and a file of prompts."""
    return {key: value for key, value in block.items() if key not in ("python", "file")}


def any_reached(run: RunRecord, pairs: Iterable[Pair]) -> bool:
    """Return whether the change reaches any row. Then all rows are judged by their times: not all that a
    process reads is seen, so one row may be reached unseen where another one is."""
    return differences(run) is None or any(reached(run, *pair) for pair in pairs)


def unreached_verdict(run: RunRecord) -> GateVerdict:
    """Return the verdict on what was not measured: UNREACHED, or IDENTICAL where the user allows it."""
    return GateVerdict.IDENTICAL if (run.gate or {}).get("allow_identical") else GateVerdict.UNREACHED


def same_row(base: ArmRecord, candidate: ArmRecord) -> bool:
    """Return whether both sides of a row have the same config and models, but for paths."""
    return (
        all(
            _without_paths(getattr(base, what)) == _without_paths(getattr(candidate, what))
            for what in ("runtime", "workload")
        )
        and base.optimise == candidate.optimise
        and not any(True for _what in _other_models(base, candidate))
    )
