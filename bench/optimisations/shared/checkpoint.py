"""Save and load the state of a training: weights, best weights so far, optimizer moments, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.json_form import Json

if TYPE_CHECKING:
    from torch import Tensor

FILE = "last.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps for each weight


def save(
    directory: Path,
    weights: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimizer: Any,
    figures: Mapping[str, object],
) -> None:
    """Write a checkpoint completely or not at all: into another file first, which is then moved.

    ``figures`` must be JSON.
    """
    from safetensors.torch import save_file

    tensors = {f"weight/{key}": tensor.detach() for key, tensor in weights.items()}
    tensors |= {f"best/{key}": tensor for key, tensor in best.items()}
    for key, tensor in weights.items():
        for part, value in optimizer.state.get(tensor, {}).items():
            tensors[f"{part}/{key}"] = value
    directory.mkdir(parents=True, exist_ok=True)
    staged = directory / "next.safetensors"
    said = {"figures": json.dumps(dict(figures))}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, staged, said)
    staged.replace(directory / FILE)


def load(
    directory: Path, weights: Mapping[str, Tensor], optimizer: Any
) -> tuple[Json, dict[str, Tensor]] | None:
    """Return (figures, best weights) of the saved checkpoint, or None if there is none.

    ``weights`` and ``optimizer`` are set to what was saved.
    """
    from safetensors import safe_open

    if not (directory / FILE).is_file():
        return None
    device = str(next(iter(weights.values())).device)
    with safe_open(directory / FILE, framework="pt", device=device) as file:
        figures = json.loads(file.metadata()["figures"])
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    for key, tensor in weights.items():
        tensor.data.copy_(held[f"weight/{key}"])
        if f"{MOMENTS[0]}/{key}" in held:
            optimizer.state[tensor] = {part: held[f"{part}/{key}"] for part in MOMENTS}
    return figures, {key: held[f"best/{key}"] for key in weights}
