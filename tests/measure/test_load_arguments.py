"""What a worker is told before it loads a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.reader import read_config
from bench.measure.arm import load_arguments
from bench.models.reference import LocalModel, SourceRecord


@pytest.mark.parametrize(
    ("workload", "padded"),
    [
        ("{name: chat, batch_size: 1}", False),
        ("{name: chat, batch_size: 2}", True),
        ("{name: fixed, input_tokens: 8, batch_size: 2}", False),
    ],
)
def test_a_padded_batch_is_checked_only_where_there_can_be_one(
    tmp_path: Path, workload: str, padded: bool
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"model: {{random: tiny-llama}}\nworkload: {workload}\nruntime: {{device: cpu}}\n")
    model = LocalModel(tmp_path, SourceRecord("path", "x", "x", None, None), ())
    assert load_arguments(read_config(config).groups[0].baseline, model, model)["padded"] is padded
