"""The facts that are read from a directory are those of the card that describes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.models.directory_facts import facts_of
from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.models.registry import find_model


@pytest.mark.parametrize("name", ["tiny-qwen3-moe", "tiny-gemma3"])
def test_a_directory_says_what_its_card_says(name: str) -> None:
    card, read = find_model(name).architecture, facts_of(ensure(Named(name)).directory)
    assert read is not None
    of_card, of_files = card.model_dump(), read.model_dump()
    active = (of_card.pop("active_parameters"), of_files.pop("active_parameters"))
    assert of_card.pop("kv_bytes_per_token") in (None, read.token_bytes)
    assert read.token_bytes == card.token_bytes
    assert of_files.pop("kv_bytes_per_token") is not None
    assert of_files == of_card
    if active != (None, None):  # experts are counted by the matrices alone
        assert active[1] == pytest.approx(active[0], rel=0.01)


def test_nothing_is_guessed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(ensure(Named("tiny-gemma3")).directory, whole)
    assert facts_of(whole) is not None
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps({**config, "num_hidden_layers": None}))
    assert facts_of(whole) is None
    assert facts_of(tmp_path / "m.gguf") is None
