"""Find every device that a row occupies: one, or several for a model that is split over them."""

from __future__ import annotations

from bench.config.settings import RuntimeBlock
from bench.machine.gpus import spread
from bench.records.devices_used import devices_used


def devices_of(runtime: RuntimeBlock) -> tuple[str, ...]:
    """Return the devices of a row, as the engines call them."""
    return spread(runtime.device, devices_used(dict(runtime.own)))
