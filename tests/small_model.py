"""A model directory that is well but for what a test puts into it, and what is said of it then."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.models.checks import check_directory

SIZED = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}


def shard(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file; ``length`` is what it says of its header's."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def well(directory: Path) -> Path:
    """The directory with a config and one tensor, in which nothing is wrong."""
    (directory / "config.json").write_text(json.dumps(SIZED))
    one = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    (directory / "model.safetensors").write_bytes(shard(one, bytes(8)))
    check_directory(directory)
    return directory


def refused(model: Path) -> str:
    """What is said, in one line, of a directory that is refused."""
    with pytest.raises(UsageError) as caught:
        check_directory(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)
