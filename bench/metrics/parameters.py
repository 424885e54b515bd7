"""Count parameters, all and those that work on one token, and the bytes of weights that one token reads."""

from __future__ import annotations

from bench.records import ArmRecord, Loaded, RunRecord
from bench.stats.figure import Figures, Metric

ALL = Metric(
    "parameters",
    "1",
    None,
    "Σ elements of distinct tensors; of packed weights: before",
    "number of parameters",
)
ACTIVE = Metric(
    "active_parameters",
    "1",
    None,
    "parameters − those in experts · (1 − chosen/experts)",
    "parameters that work on one token",
)
EXPERTS = Metric(
    "experts_bytes",
    "B",
    "lower",
    "Σ bytes of the experts' tensors, shared ones apart",
    "bytes of the experts",
)
READ = Metric(
    "weights_read_bytes_per_token",
    "B",
    "lower",
    "weights − bytes of experts · (1 − chosen/experts), one sequence",
    "bytes of weights that decoding one token reads",
)
PLACE = 3.5
METRICS = (ALL, ACTIVE, EXPERTS, READ)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the counts; None without a loaded model. Only a mixture has the bytes of experts."""
    loaded, base = arm.loaded, run.baseline_of(arm)
    if loaded is None or not loaded.parameters:
        return dict.fromkeys(metric.key for metric in METRICS)
    mixture = loaded.mixture
    return {
        ALL.key: ALL.scalar(total(arm, base.loaded if base else None)),
        ACTIVE.key: ACTIVE.scalar(active(arm, base.loaded if base else None)),
        EXPERTS.key: EXPERTS.scalar(mixture.stored_bytes if mixture else None),
        READ.key: READ.scalar(round(read_bytes(loaded, 1)) or None),
    }


def total(arm: ArmRecord, base: Loaded | None) -> int:
    """Return the parameters of a row.

    Older journals count stored elements, and one may hold several weights, or may not be a parameter at all.
    There, a row with packed weights has as many parameters as its baseline, unless a step pruned some.
    """
    assert arm.loaded is not None
    if arm.loaded.as_unpacked:
        return arm.loaded.parameters
    packed = any("float" not in dtype for dtype in arm.loaded.bytes_by_dtype)
    whole = not any(step.startswith("prune") for step in arm.optimise)
    return base.parameters if packed and whole and base is not None else arm.loaded.parameters


def active(arm: ArmRecord, base: Loaded | None) -> int:
    """Return the parameters that work on one token, which are all but those of experts not chosen for it."""
    assert arm.loaded is not None
    mixture = arm.loaded.mixture
    idle = 0.0 if mixture is None else mixture.parameters * (1 - mixture.chosen / mixture.a_layer)
    return round(total(arm, base) - idle)


def read_bytes(loaded: Loaded, sequences: int) -> float:
    """Return the bytes of weights that one step of ``sequences`` sequences reads.

    It is assumed that each sequence chooses its experts at random. Then no sequence chooses a given expert
    with probability (1 − chosen/experts)^sequences.
    """
    mixture = loaded.mixture
    if mixture is None:
        return loaded.weights_bytes
    return loaded.weights_bytes - mixture.stored_bytes * (1 - mixture.chosen / mixture.a_layer) ** sequences
