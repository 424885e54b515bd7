"""What `bench check` says of encoders: the texts of drift, and nothing about what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_encoders import MEAN_NORMALISED, write_encoder

from bench.cli.check import describe
from bench.config.reader import read_config


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (
            "AutoModel",
            "the vectors of 512 texts (docstrings of Python), and how 128 queries rank 256 documents",
        ),
        ("AutoModelForSequenceClassification", "the labels of 512 texts (docstrings of Python)"),
    ],
)
def test_drift_of_encoders(tmp_path: Path, head: str, words: str) -> None:
    pooling = MEAN_NORMALISED if head == "AutoModel" else None
    write_encoder(tmp_path / "m", head=head, pooling=pooling)
    file = tmp_path / "config.yaml"
    file.write_text(f"model: {{path: {tmp_path / 'm'}}}\nvariants: [{{name: same}}]\n")
    said = " ".join(describe(read_config(file)).split())
    assert f"{words}, against the baseline's" in said
    for other in ("chat template", "windows of", "does not fit"):
        assert other not in said


def test_the_time_of_an_encoder_of_a_card_is_estimated(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: {random: bge-small-en-v1.5}\nvariants: [{name: same}]\n")
    assert "GiB of memory while two rows are in it" in " ".join(describe(read_config(file)).split())
