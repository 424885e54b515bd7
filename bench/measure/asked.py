"""Say what the workers of a pair are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import plugins
from bench.config.spec import Arm


def prompts_of(arm: Arm) -> Sequence[Any]:
    """Return the requests of the arm's workload."""
    found: Sequence[Any] = plugins.load("workloads", arm.workload.name).prompts(arm.workload)
    return found
