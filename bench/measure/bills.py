"""Say of one-off work of a load, such as calibration, whether it was done now, and who is billed for it."""

from __future__ import annotations

from dataclasses import replace

from bench.records import Loaded


def made_now(loaded: Loaded) -> bool:
    """Say whether this load did one-off work itself, such as calibration, instead of reusing the result."""
    return any(not bill["reused"] for bill in loaded.one_off_bills())


def with_bills_of(spent: Loaded, loaded: Loaded) -> Loaded:
    """Return ``loaded`` with the costs of calibration and training of an earlier load of the same row."""
    pairs = zip(loaded.evidence, spent.evidence, strict=True)
    steps = tuple({**step, "one_off": before.get("one_off", [])} for step, before in pairs)
    return replace(loaded, evidence=steps)
