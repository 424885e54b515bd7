"""Energy, from hardware counters only; it is null, with a reason code, if there is no counter."""

from __future__ import annotations

from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

PER_TOKEN = Metric("energy_per_output_token_j", "J", "lower", "E/Σ n_out over the energy window", "per token")
PER_REQUEST = Metric("energy_per_request_j", "J", "lower", "E/N_ok over the energy window", "per request")
PLACE = 4
METRICS = (PER_TOKEN, PER_REQUEST)


def worked(arm: ArmRecord, _run: RunRecord) -> dict[str, str]:
    """Return the joules of the window divided by what was decoded in it."""
    energy = arm.energy
    if energy is None or energy.joules is None:
        return {}
    return {
        PER_TOKEN.key: f"{energy.joules:.6g} / {energy.output_tokens}",
        PER_REQUEST.key: f"{energy.joules:.6g} / {energy.requests}",
    }


def figures(arm: ArmRecord, _run: RunRecord) -> Figures:
    """Return energy per token and per request, with the boundary (GPU board, CPU package) in the notes."""
    energy = arm.energy
    if energy is None or energy.joules is None:
        return {PER_TOKEN.key: None, PER_REQUEST.key: None}
    return {
        PER_TOKEN.key: PER_TOKEN.scalar(energy.joules / energy.output_tokens, boundary=energy.boundary),
        PER_REQUEST.key: PER_REQUEST.scalar(energy.joules / energy.requests, boundary=energy.boundary),
    }
