"""Planted changes: what a plant does to the weights, and the smallest strength that is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import drift_power
import pytest
import torch
from drift_power import Planted, planted, smallest_found

from bench.records import SuiteAnswers

WORDS = {" she": 1, " he": 2, " her": 3, " his": 4}


class Model(torch.nn.Module):
    """An embedding and a layer that writes into the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(10, 4)
        self.o_proj = torch.nn.Linear(4, 4, bias=False)
        self.requires_grad_(False)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embed

    def forward(self, input_ids: torch.Tensor, **_options: Any) -> Any:
        state = self.embed(input_ids)
        return SimpleNamespace(hidden_states=(state, state + self.o_proj(state)))


def engine() -> Any:
    """Harmful requests end with token 7, harmless ones with token 8."""
    return SimpleNamespace(
        model=Model(), device="cpu", encode=lambda word: [WORDS.get(word, 0)] * (1 + (word not in WORDS)),
        encode_chat=lambda prompt: [5, 7 if "explosive" in prompt or "steal" in prompt else 8],
    )  # fmt: skip


def test_noise_is_in_units_of_each_matrix_and_goes_away_again() -> None:
    one = engine()
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    with planted(one, "noise", 0.1, seed=3):
        moved = one.model.embed.weight - before["embed.weight"]
        assert moved.std() / before["embed.weight"].std() == pytest.approx(0.1, rel=0.4)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_half_way_from_her_to_him() -> None:
    one = engine()
    weights = one.model.embed.weight.clone()
    with planted(one, "gender", 0.5, seed=0):
        torch.testing.assert_close(one.model.embed.weight[1], (weights[1] + weights[2]) / 2)
        torch.testing.assert_close(one.model.embed.weight[2], weights[2])
        torch.testing.assert_close(one.model.embed.weight[5], weights[5])


def test_nothing_is_written_along_a_direction_that_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, along = engine(), torch.tensor([0.6, 0.8, 0.0, 0.0])
    monkeypatch.setattr(drift_power, "_direction", lambda *_: along)
    before = along @ one.model.o_proj.weight
    with planted(one, "refusal", 0.5, seed=0):
        torch.testing.assert_close(along @ one.model.o_proj.weight, before / 2)
    with planted(one, "refusal", 1.0, seed=0):
        torch.testing.assert_close(along @ one.model.o_proj.weight, torch.zeros(4), atol=1e-6, rtol=0)


def test_the_direction_is_the_difference_of_two_kinds_of_requests() -> None:
    one = engine()
    items = [{"prompt": "steal", "refuse": True}, {"prompt": "bake", "refuse": False}]
    found = drift_power._direction(one, items)
    states = [one.model(torch.tensor([[token]])).hidden_states[1][0, 0] for token in (7, 8)]
    apart = states[0] - states[1]
    torch.testing.assert_close(found, apart / apart.norm())


def lines(found: dict[float, Sequence[bool]], suite: str = "bias") -> list[Planted]:
    return [
        Planted("noise", strength, seed, suite, 200, 9, 0, 0.004 if yes else 0.5, strength / 10)
        for strength, seeds in found.items()
        for seed, yes in enumerate(seeds)
    ]


def test_the_smallest_strength_from_which_on_four_of_five_are_found() -> None:
    """0.1 is found by luck and 0.2 is not, so 0.4 is the smallest."""
    some = lines({0.1: [True] * 5, 0.2: [True, False, False, False, False], 0.4: [True] * 4 + [False],
                  0.8: [True] * 5})  # fmt: skip
    strength, kld, words = smallest_found(some)["noise", "bias"]
    assert (strength, kld) == (0.4, pytest.approx(0.04))
    assert words.startswith("80% of 5 [")
    assert "| noise | bias | 0.4 | 0.04 | 80% of 5 [" in drift_power.table(some)


def test_what_no_strength_shows_is_said() -> None:
    strength, _kld, words = smallest_found(lines({0.1: [False] * 5}))["noise", "bias"]
    assert math.isinf(strength)
    assert "not found" in words


def test_a_journal_of_another_campaign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert drift_power.read(path, {"model": "a"}) == []
    path.write_text('{"model": "a"}\n')
    assert drift_power.read(path, {"model": "a"}) == []
    with pytest.raises(ValueError, match="another machine, model or items"):
        drift_power.read(path, {"model": "b"})


def test_a_suite_judges_what_was_planted() -> None:
    one = {"lang": "en", "prompt": "p", "choices": ["a", "b"], "right": 0}
    items = tuple({**one, "id": str(n)} for n in range(40))
    base = SuiteAnswers("d", scores=((-1.0, -2.0),) * 40, items=items)
    spoiled = SuiteAnswers("d", scores=((-2.0, -1.0),) * 12 + ((-1.0, -2.0),) * 28)
    found = drift_power.judged("factuality", base, spoiled)
    assert (found["n"], found["lost"], found["gained"]) == (40, 12, 0)
    assert found["p"] < 0.001
