"""Passes of a step with a fixed part and a part for each sequence, whose queues have formulas."""

from __future__ import annotations

from bench.plan.pass_times import MeasuredSteps


def affine_steps(
    prompt_token_s: float, fixed_s: float, each_s: float, most: int, chunk: int | None = None
) -> MeasuredSteps:
    """A step of b sequences takes ``fixed_s + b * each_s`` seconds."""
    points = {size: fixed_s + size * each_s for size in (1, most)}
    return MeasuredSteps(prompt_token_s, tuple(points.items()), chunk)
