"""Define what a worker reports about a loaded model, read back from the model and not from the config.

This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.records.json_form import Json


@dataclass(frozen=True)
class Facts:
    """Describe a loaded model as its engine reports it.

    ``device`` is ``cpu`` or ``cuda:0``. ``context`` is the longest sequence in tokens, or None if the model
    has no limit. ``attention`` is empty if the engine has only one. ``quantised_checkpoint`` names the method
    that quantised the checkpoint before it was loaded. ``loaded`` is anything else that the engine can
    report, such as the operators it uses.
    """

    device: str
    dtype: str
    vocabulary: int
    random_weights: bool
    engine: str = ""
    device_name: str = ""
    attention: str = ""
    threads: int | None = None
    context: int | None = None
    kv_bytes_per_token: int | float | None = None  # an int stays an int, or `verify` finds a difference
    quantised_checkpoint: str | None = None
    loaded: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Return whether the model is on a GPU."""
        return self.device.startswith("cuda")

    @property
    def kind_of_device(self) -> str:
        """Return ``cpu`` or ``cuda``."""
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Mixture:
    """Describe the experts of a model that sends each token to only some of them.

    ``layers`` counts the layers that have experts, ``experts`` all experts of these layers together, and
    ``chosen`` the experts of one layer that work on one token. ``parameters`` and ``stored_bytes`` are those
    of all experts together, without shared experts, which work on every token.
    """

    layers: int
    experts: int
    chosen: int
    parameters: int
    stored_bytes: int

    @property
    def a_layer(self) -> float:
        """Return the mean number of experts per layer."""
        return self.experts / self.layers


@dataclass(frozen=True)
class Loaded:
    """Record what a worker found in its loaded model.

    ``evidence`` has one entry for the runtime and one for each optimisation. ``mixture`` is None for a model
    without experts. ``as_unpacked`` says that ``parameters`` counts packed weights as before packing; older
    journals count what is stored.
    """

    facts: Facts
    load_s: float
    optimise_s: float
    load_memory: Mapping[str, int | None]
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]
    parameters: int
    evidence: tuple[Json, ...]
    mixture: Mixture | None = None
    as_unpacked: bool = False

    def one_off_bills(self) -> tuple[Json, ...]:
        """Return the one-off costs (calibration, training) of all optimisations."""
        return tuple(bill for step in self.evidence for bill in step.get("one_off", ()))
