"""Read the JSON files of a model directory, and how its weights are packed. Standard library only, because
the worker imports this file too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.bounded import must_be_modest, read_bounded, why
from bench.errors import UsageError
from bench.formatting import MIB
from bench.records.json_form import Json

CONFIG_MAX_BYTES = 4 * MIB
MOST_SHOWN = 200  # letters of what a library says


def json_object(path: Path, most_bytes: int = CONFIG_MAX_BYTES) -> Json:
    """Read a JSON file that holds one object. Raises UsageError if it does not, or if it is too large."""
    found = read_json(path, most_bytes)
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not one JSON object")
    return found


def read_json(path: Path, most_bytes: int = CONFIG_MAX_BYTES) -> object:
    """Read a JSON file of a model. Raises UsageError if it is none, or if it is too large."""
    if not os.path.lexists(path):
        raise UsageError(f"{path}: missing, so this is not a model directory")
    try:
        content = read_bounded(path, most_bytes)
        must_be_modest(content)
        found: object = json.loads(content.decode())
    except OSError as e:
        raise UsageError(f"{path}: {why(e)}") from None
    except (ValueError, RecursionError) as e:
        raise UsageError(
            f"{path}: not readable as JSON ({type(e).__name__}: {str(e)[:MOST_SHOWN]})"
        ) from None
    return found


def packing(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the block of a config that says how weights are packed; empty without one. It is the config's
    own, else that of its text, as transformers looks for it."""
    found: Mapping[str, Any] = config.get("quantization_config") or {}
    return found or (config.get("text_config") or {}).get("quantization_config") or {}


def text_block(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the block of a config that is about text: that of a multimodal model, else the whole config."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def method_of(packed: Mapping[str, Any]) -> str:
    """Return how weights are packed, by such a block. bitsandbytes once wrote no method."""
    method = str(packed.get("quant_method") or "bitsandbytes")
    return "bitsandbytes" if method.startswith("bitsandbytes") else method
