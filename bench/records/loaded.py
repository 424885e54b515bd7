"""What was found in a loaded model, read back from the model itself. Standard library only, as replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.records.plain import Json


@dataclass(frozen=True)
class Facts:
    """What an engine reports about its loaded model, read back from the model and not from the config.

    ``device`` is ``cpu`` or ``cuda:0``. ``context`` is the longest sequence in tokens, or None if the model
    has no limit. ``quantised_checkpoint`` is the method that packed the checkpoint before it was loaded.
    ``loaded`` is anything else that the engine can report, such as the operators it uses.
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
    kv_bytes_per_token: int | float | None = None  # whole numbers stay so, or `verify` finds a difference
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
    """The experts of a model that sends each token to some of them.

    ``experts`` are those of all ``layers`` that have any; ``chosen`` is how many of a layer work on one
    token; ``parameters`` and ``stored_bytes`` are those of all experts together, shared ones not counted.
    """

    layers: int
    experts: int
    chosen: int
    parameters: int
    stored_bytes: int

    @property
    def a_layer(self) -> float:
        """Return the number of experts of a layer."""
        return self.experts / self.layers


@dataclass(frozen=True)
class Loaded:
    """What was found in the loaded model, read back from it. ``evidence`` has one entry for the runtime and
    one for each optimisation. ``mixture`` is None for a model whose every weight works on every token."""

    facts: Facts
    load_s: float
    optimise_s: float
    load_memory: Mapping[str, int | None]
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]
    parameters: int
    evidence: tuple[Json, ...]
    mixture: Mixture | None = None

    def one_off_bills(self) -> tuple[Json, ...]:
        """Return the costs of calibration and training, of all optimisations."""
        return tuple(bill for step in self.evidence for bill in step.get("one_off", ()))
