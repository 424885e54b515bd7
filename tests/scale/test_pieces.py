"""Cutting configs into pieces: a piece is read back as its group and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.reader import MOST_LETTERS, read_config
from bench.scale.pieces import pieces_of

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["sweep-batch", "quickstart", "ci", "random-weights"])
def test_a_piece_is_one_group_of_its_config(name: str, tmp_path: Path) -> None:
    file = CONFIGS / f"{name}.yaml"
    whole = read_config(file)
    pieces = pieces_of([file])
    assert len(pieces) == len(whole.groups) == len({piece.digest for piece in pieces})
    by_label = {f"{whole.name} {group.label}".strip(): group for group in whole.groups}
    for piece in pieces:
        config = tmp_path / "piece.yaml"
        config.write_text(piece.text)
        alone = read_config(config)
        (group,) = alone.groups
        assert group.arms == by_label[piece.name].arms
        assert (alone.price, alone.drift, alone.measure) == (whole.price, whole.drift, whole.measure)


def test_the_first_group_of_every_config_comes_first_and_the_largest_of_a_config_too() -> None:
    pieces = pieces_of([CONFIGS / "sweep-batch.yaml", CONFIGS / "quickstart.yaml"])
    names = [piece.name for piece in pieces]
    assert names == [
        "sweep-batch batch_size=8",
        "quickstart",
        "sweep-batch batch_size=4",
        "sweep-batch batch_size=1",
    ]


def test_overrides_and_only_hold_in_every_piece(tmp_path: Path) -> None:
    pieces = pieces_of([CONFIGS / "sweep-batch.yaml"], ["workload.requests=8"], ["bf16"])
    for piece in pieces:
        config = tmp_path / "piece.yaml"
        config.write_text(piece.text)
        (group,) = read_config(config).groups
        assert [arm.name for arm in group.variants] == ["bf16"]
        assert group.baseline.workload.requests == 8


def test_a_piece_of_a_config_with_a_long_name_can_be_read(tmp_path: Path) -> None:
    """Its name is made of two, and each of them may be as long as a name may be."""
    for piece in pieces_of([CONFIGS / "sweep-batch.yaml"], [f"name={'n' * MOST_LETTERS}"]):
        config = tmp_path / "piece.yaml"
        config.write_text(piece.text)
        assert read_config(config).name == piece.name


def test_a_config_that_is_given_twice_is_measured_once() -> None:
    file = CONFIGS / "ci.yaml"
    told = list[str]()
    pieces = pieces_of([file, CONFIGS / "quickstart.yaml", file], tell=told.append)
    assert len(pieces) == len(pieces_of([file])) + 1
    assert told == [f"{file}: {pieces[0].name} is also in {file}, so it is measured once"]
