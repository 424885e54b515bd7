"""Find the files of a model directory that hold its weights. Standard library only, because the worker
imports this file too."""

from __future__ import annotations

import json
from pathlib import Path

WHOLE = "model.safetensors"  # whoever finds it looks for no index
INDEX = "model.safetensors.index.json"


def weight_files(directory: Path) -> list[Path]:
    """Return the files that hold the weights of a checked model directory, as transformers chooses them:
    ``model.safetensors``, else those that the index names, else all that are there."""
    if (directory / WHOLE).exists():
        return [directory / WHOLE]
    index = directory / INDEX
    if index.is_file():
        return sorted(
            {
                directory / name
                for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            }
        )
    return sorted(directory.glob("*.safetensors"))
