"""Check, before anything is measured, that a gate's limits on energy can be judged on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.spec import Spec
from bench.config.support import device_here
from bench.engine.energy_counters import NoCounter, find
from bench.errors import UsageError
from bench.gate.limits import Rule
from bench.machine.gpus import gpu_for
from bench.metrics import energy

OF_THE_MODEL = frozenset({energy.MODELLED_PER_REQUEST.key, energy.CO2_PER_REQUEST.key})


def check_meters(wanted: Sequence[Rule], spec: Spec) -> None:
    """Raise UsageError for a limit on joules or CO2 that could not be judged here.

    A modelled figure has the interval of the time that it is computed from. A machine that counts energy
    models nothing, and a figure that is counted once has no interval to judge by. On any other machine the
    config must give the watts.
    """
    modelled = "modelled_watts" in (spec.content.get("energy") or {})
    keys = sorted({rule.metric for rule in wanted} & OF_THE_MODEL)
    asked = {arm.runtime.device for group in spec.groups for arm in group.arms} if keys else set()
    devices = {device: device_here(device) for device in sorted(asked)}
    for counter in (find(kind, gpu_for(device)) for device, kind in devices.items()):
        if not isinstance(counter, NoCounter):
            raise UsageError(
                f"{spec.file}: a limit on {keys[0]}, but this machine counts energy ({counter.boundary}), so "
                "nothing is modelled, and what is counted once has no interval: limit a time or a cost"
            )
        if not modelled:
            raise UsageError(
                f"{spec.file}: a limit on energy, which cannot be measured here: {counter.reason}; give "
                "energy: {modelled_watts: ...}"
            )
