"""Read what is known of a model before it is loaded: the config.json of its directory, or its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.models.json_files import json_object
from bench.models.lora import config_directory
from bench.models.reference import LocalPath, ModelRef, Named, Random
from bench.models.registry import FindModel
from bench.models.text_config import text_config


def context_of(model: ModelRef, find: FindModel) -> int | None:
    """Return the longest sequence of a model, as its card or the config.json of its directory says; None if
    neither does."""
    if isinstance(model, Named | Random):
        return find(model.name).architecture.context
    if not isinstance(model, LocalPath) or not model.path.is_dir():
        return None
    config = text_config(json_object(config_directory(model.path) / "config.json"))
    for key in ("max_position_embeddings", "n_positions"):
        if type(config.get(key)) is int and config[key] > 0:
            return int(config[key])
    return None


def config_of(model: ModelRef, find: FindModel) -> Mapping[str, Any]:
    """Return the config of a model as its directory or its card has it; empty if it is not known."""
    if isinstance(model, LocalPath):
        return json_object(config_directory(model.path) / "config.json") if model.path.is_dir() else {}
    return find(model.name).config if isinstance(model, Named | Random) else {}
