"""What a config may say of a split: refused before anything is loaded, with the line of the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.reader import read_config
from bench.errors import ConfigError
from bench.link import LinkSettings

HEAD = """\
model: smollm2-135m
variants:
  - name: halved
    optimise:
      - split: layers
"""


def config(tmp_path: Path, *keys: str) -> Path:
    file = tmp_path / "a.yaml"
    file.write_text(HEAD + "".join(f"        {key}\n" for key in keys))
    return file


def test_a_split_is_read_with_its_link(tmp_path: Path) -> None:
    file = config(tmp_path, "edge_layers: 29", "link:", "  round_trip_ms: 40", "  megabits_per_s: 10")
    (step,) = read_config(file).groups[0].variants[0].optimise
    assert dict(step.params)["link"] == LinkSettings(round_trip_ms=40, megabits_per_s=10)
    assert "edge_layers=29, edge_usd_per_hour=None, egress_usd_per_gb=None" in step.label
    assert "link={round_trip_ms: 40, megabits_per_s: 10}" in step.label


@pytest.mark.parametrize(
    ("keys", "line", "words"),
    [
        (["edge_layers: 30"], 5, "edge_layers 30: the model has 30; the nearest is 29"),
        (
            ["edge_layers: 1", "activations: int4"],
            7,
            "should be 'as-they-are', 'int8' or 'float8', not 'int4'",
        ),
        (["link:", "  loss: 1"], 7, "link.loss: loss must be 0 or more and below 1, not 1"),
        (["link:", "  megabit_per_s: 1"], 7, "unknown key (did you mean 'megabits_per_s'?)"),
        (["link:", "  outage:", "    for_s: 0"], 8, "for_s must be 0.001 to 1e+06, not 0"),
        (["cloud_usd_per_hour: -1"], 5, "cloud_usd_per_hour must be 0 to 1000000 dollars, not -1"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_its_line(
    tmp_path: Path, keys: list[str], line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(config(tmp_path, *keys))
    assert words in str(refused.value)
    assert refused.value.line == line
