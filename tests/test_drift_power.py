"""Planted changes: what a plant does to the weights, what suites make of it, and the tables of a journal."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from drift_power import campaign, detection, plants, sheet
from drift_power.campaign import Planted
from drift_power.plants import planted
from drift_power.sheet import smallest_found
from loaded_script import loaded_script
from scipy import stats

from bench.engine import Options
from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.records import SuiteAnswers
from bench.runtimes import transformers as runtime
from bench.runtimes.transformers import TransformersEngine
from bench.stats.proportions import least_change
from bench.worker import choices
from bench.worker import suite as asking

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


@pytest.fixture(scope="module")
def gemma() -> TransformersEngine:
    return runtime.load(ensure(Named("tiny-gemma3")).directory, Options(device="cpu", threads=1))


# ---- plants ------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(plants, "direction_of", lambda *_: along)
    before = along @ one.model.o_proj.weight
    with planted(one, "refusal", 0.5, seed=0):
        torch.testing.assert_close(along @ one.model.o_proj.weight, before / 2)
    with planted(one, "refusal", 1.0, seed=0):
        torch.testing.assert_close(along @ one.model.o_proj.weight, torch.zeros(4), atol=1e-6, rtol=0)


def test_the_direction_is_the_difference_of_two_kinds_of_requests() -> None:
    one = engine()
    items = [{"prompt": "steal", "refuse": True}, {"prompt": "bake", "refuse": False}]
    states = [one.model(torch.tensor([[token]])).hidden_states[1][0, 0] for token in (7, 8)]
    apart = states[0] - states[1]
    torch.testing.assert_close(plants.direction_of(one, items, seed=1), apart / apart.norm())


def test_the_seed_draws_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plants, "REQUESTS", 1)
    asked: list[str] = []
    one = engine()
    one.encode_chat = lambda prompt: [5, 7 if asked.append(prompt) is None and prompt > "m" else 8]
    items = [{"prompt": letter, "refuse": letter > "m"} for letter in "abcdefnopqrs"]
    for seed in range(8):
        plants.direction_of(one, items, seed)
    assert len(set(asked[::2])) > 1
    assert len(set(asked[1::2])) > 1


def test_other_threads_and_the_same_weights() -> None:
    one, usual = engine(), torch.get_num_threads()
    kept = one.model.embed.weight.data_ptr()
    with planted(one, plants.ITSELF, 0.0, seed=0):
        assert torch.get_num_threads() == (2 if usual == 1 else 1)
        assert one.model.embed.weight.data_ptr() == kept
    assert torch.get_num_threads() == usual


def lead(one: TransformersEngine, item: Any) -> float:
    """How much likelier the right beginning of the answer is than the wrong one, by one plain pass."""
    begin, right, wrong = plants.fork(one, item)
    with torch.inference_mode():
        logits = one.model(torch.tensor([begin])).logits[0, -1]
    return float(logits[right] - logits[wrong])


def test_facts_that_are_overwritten_and_facts_that_stay(
    gemma: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = plants.suite_of("factuality").items()[:20]
    monkeypatch.setattr(plants, "suite_of", lambda _name: SimpleNamespace(items=lambda: items))
    chosen = set(random.Random(4).sample(range(20), 5))
    monkeypatch.setattr(plants, "HELD", 1.0)  # so small a model has little room beside the text
    before = [lead(gemma, item) for item in items]
    with planted(gemma, "facts", 0.25, seed=4):
        after = [lead(gemma, item) for item in items]
    moved = [abs(now - was) for now, was in zip(after, before, strict=True)]
    assert all(after[n] < 0 for n in chosen)
    assert max(moved[n] for n in range(20) if n not in chosen) < 0.3 * max(moved[n] for n in chosen)
    assert [lead(gemma, item) for item in items] == before


def test_where_the_choices_of_a_fact_part() -> None:
    """' Paris' and ' Parma' share a token, ' Pa' is the beginning of both."""
    texts = {"p Paris": [9, 1, 2], "p Parma": [9, 1, 3], "p Pa": [9, 1]}
    one = SimpleNamespace(begin_ids=lambda: (0,), encode=texts.__getitem__)
    item = {"prompt": "p", "choices": [" Paris", " Parma"], "right": 1}
    assert plants.fork(one, item) == ([0, 9, 1], 3, 2)
    shorter = {**item, "choices": [" Paris", " Parma", " Pa"]}
    assert plants.fork(one, shorter)[0] == [0, 9]


def test_a_model_without_the_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="has no down_proj"):
        plants.last_mlp(Model())


# ---- suites ------------------------------------------------------------------------------------------


def test_a_suite_judges_what_was_planted() -> None:
    one = {"lang": "en", "prompt": "p", "choices": ["a", "b"], "right": 0}
    items = tuple({**one, "id": str(n)} for n in range(40))
    base = SuiteAnswers("d", scores=((-1.0, -2.0),) * 40, items=items)
    spoiled = SuiteAnswers("d", scores=((-2.0, -1.0),) * 12 + ((-1.0, -2.0),) * 28)
    (found,) = campaign.judged("factuality", base, spoiled)
    assert found["part"] == ""
    assert (found["n"], found["lost"], found["gained"]) == (40, 12, 0)
    assert found["p"] < 0.001
    assert found["least"] == least_change(40, 40, 0.8)
    guessing = SuiteAnswers("d", scores=((-1.0, -2.0), (-2.0, -1.0)) * 20, items=items)
    (found,) = campaign.judged("factuality", guessing, spoiled)
    assert found["least"] is None


def test_each_part_of_a_suite_has_a_line() -> None:
    items = tuple({"id": str(n), "lang": "en", "prompt": "p", "refuse": n < 20} for n in range(40))
    base = SuiteAnswers("d", replies=("I cannot",) * 40, items=items)
    answers = SuiteAnswers("d", replies=("Sure",) * 40)
    harmful, harmless = campaign.judged("refusal", base, answers)
    assert (harmful["part"], harmful["lost"], harmful["gained"]) == ("refusal of harmful requests", 20, 0)
    assert (harmless["part"], harmless["lost"], harmless["gained"]) == ("answers to harmless requests", 0, 20)
    assert (harmful["least"], harmless["least"]) == (least_change(20, 20, 0.8), None)


def test_every_plant_comes_before_the_second_seed() -> None:
    strengths = {"noise": [0.1, 0.2], "refusal": [1.0], "gender": [1.0], "facts": []}
    plan = campaign.plan_of(["bias", "factuality"], strengths, 2)
    assert plan[0] == ([("itself", 0.0, 0)], ["bias", "factuality"])
    assert [(one[0][0], one[0][2], asked) for one, asked in plan[1:] if one] == [
        ("noise", 0, ["bias", "factuality"]), ("gender", 0, ["bias"]), ("noise", 1, ["bias", "factuality"]),
    ]  # fmt: skip


# ---- tables ------------------------------------------------------------------------------------------


def lines(found: dict[float, Sequence[bool]], suite: str = "bias") -> list[Planted]:
    return [
        Planted(
            "noise",
            strength,
            seed,
            suite,
            200,
            18 if yes else 8,
            1,
            0.02 if yes else 0.6,
            strength / 10,
            0.04,
        )
        for strength, seeds in found.items()
        for seed, yes in enumerate(seeds)
    ]


def smallest(some: Sequence[Planted]) -> tuple[float, str]:
    (cell,) = sheet.cells(some).values()
    return smallest_found(cell)


def test_the_smallest_strength_from_which_on_four_of_five_are_found() -> None:
    """0.1 is found by luck and 0.2 is not, so 0.4 is the smallest. 7.5 points are lost there."""
    some = lines({0.1: [True] * 5, 0.2: [True, False, False, False, False], 0.4: [True] * 4 + [False],
                  0.8: [True] * 5})  # fmt: skip
    strength, words = smallest(some)
    assert strength == 0.4
    assert words.startswith("80% of 5 seeds [")
    assert "| noise | bias | 8.0 | 10 of 10 | 0.4 | -7.5 | 0.04 | 80% of 5 seeds [" in sheet.tables(some)


def test_what_no_strength_shows_is_said() -> None:
    strength, words = smallest(lines({0.1: [False] * 5}))
    assert math.isinf(strength)
    assert "not found" in words


def test_of_one_seed_the_items_are_drawn_again() -> None:
    """20 of 200 lost: p ≤ 5 % in nearly all draws. 6 lost: in those with six or more, about half."""
    one = Planted("gender", 1.0, 0, "bias", 200, 20, 0, 0.0, 0.1)
    assert smallest([one])[0] == 1.0
    few = Planted("gender", 1.0, 0, "bias", 200, 6, 0, 0.03, 0.1)
    drawn = list(sheet._drawn_again(few))
    assert len(drawn) == 200
    wanted = stats.binom(200, 6 / 200).sf(5)
    assert sum(lost >= 6 for lost, _gained in drawn) / 200 == pytest.approx(wanted, abs=0.12)
    assert math.isinf(smallest([few])[0])


@pytest.mark.parametrize("differ", [0, 5, 6, 20, 90, 199])
def test_a_coin_for_each_item_is_flagged_in_at_most_five_of_a_hundred(differ: int) -> None:
    """By the exact tail of scipy's binomial, and by what is drawn."""
    line = Planted("noise", 1.0, 0, "bias", 200, differ, 0, 1.0, 0.1)
    exact = sum(
        stats.binom(differ, 0.5).pmf(lost)
        for lost in range(differ + 1)
        if stats.binomtest(lost, differ, 0.5).pvalue <= 0.05
    ) if differ else 0.0  # fmt: skip
    assert exact <= 0.05
    flagged = sum(map(sheet._is_flagged, sheet._sides_drawn(line)))
    assert flagged / sheet.TRIALS == pytest.approx(exact, abs=0.05)


def test_a_baseline_beside_itself_has_a_row() -> None:
    itself = Planted("itself", 0.0, 0, "bias", 200, 1, 1, 1.0, 0.0)
    assert "| bias | 200 | 2 | 0 | 19 | " in sheet.tables([itself, *lines({0.4: [True]})])
    assert "| bias | 200 | - | - | 19 | " in sheet.tables(lines({0.4: [True]}))


@pytest.mark.parametrize("expected", [0.0, 0.5, 6.0, 7.9, 30.0])
def test_six_losses_are_found(expected: float) -> None:
    """Six of six lost: p = 2 · 0.5⁶ = 3 %; of five, 6 %."""
    assert detection.chance(expected) == pytest.approx(stats.poisson(expected).sf(5), abs=1e-9)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_curve_finds_the_change_that_is_found_with_80_percent(scale: float) -> None:
    """Lines of 1 to 25 items, each found in as many draws as so scaled a curve says."""
    points = [detection.Point(items, stats.poisson(scale * items).sf(5)) for items in range(1, 26)]
    found = detection.found_with_power(points, "seed")
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(7.906 / scale, rel=0.03)
    assert found.low <= found.value <= found.high < 1.1 * found.low, "all lines say the same"


def test_lines_that_disagree_make_a_wide_interval() -> None:
    points = [detection.Point(8, found) for found in (0.2, 1.0, 0.4, 0.95, 0.6)]
    found = detection.found_with_power(points, "seed")
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.high > 1.2 * found.low


@pytest.mark.parametrize("shares", [[0.9, 1.0], [0.0, 0.5]])
def test_lines_that_are_all_found_or_none_say_nothing_of_80_percent(shares: list[float]) -> None:
    assert detection.found_with_power([detection.Point(9, share) for share in shares], "seed") is None


def test_the_curve_of_a_suite_stands_beside_the_computed_loss() -> None:
    """Nothing is gained here, so 80 % is at 4 points of 200 items; what is computed allows for gains."""
    some = [
        Planted(plant, lost / 100, 0, "bias", 200, lost, 0, 0.0, 0.1, least_change(200, 200, 0.8), 12.4)
        for plant in ("noise", "gender")
        for lost in (2, 4, 6, 8, 10, 12)
    ]
    row = next(line for line in sheet.tables(some).splitlines() if line.startswith("| bias | all | 12 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3] == f"{100 * (least_change(200, 200, 0.8) or 0):.1f}" == "8.0"
    assert float(cells[4].split()[0]) == pytest.approx(4.0, abs=0.3)
    assert cells[5] == "12"


def test_many_replies_in_a_pass_are_those_of_each_item_alone(gemma: TransformersEngine) -> None:
    items = plants.suite_of("arithmetic").items()[::8]
    assert campaign.together(gemma, items, 6) == asking.replies(gemma, items, 6)


# ---- journal -----------------------------------------------------------------------------------------


def test_a_journal_of_another_campaign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    assert campaign.read(path, {"model": "a"}) == []
    assert campaign.read(path, {"model": "a"}) == []
    with pytest.raises(ValueError, match="another machine, model or items"):
        campaign.read(path, {"model": "b"})


def test_a_line_that_was_cut_off_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    (one,) = lines({0.1: [True]})
    whole = '{"model": "a"}\n' + json.dumps(vars(one)) + "\n"
    path.write_text(whole + '{"plant": "noi')
    assert campaign.read(path, {"model": "a"}) == [one]
    assert path.read_text() == whole


@pytest.fixture
def script(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, list[str]]]:
    """The script on a tiny model: (the tables, the lines of its journal)."""
    path = tmp_path / "journal.jsonl"
    module = loaded_script("drift-power")

    def run(*more: str) -> tuple[str, list[str]]:
        few = ["--model", "tiny-gemma3", "--items", "4", "--suites", "factuality,bias", "--seeds", "1"]
        strengths = ["--noise", "0.01,2", "--facts", "", "--refusal", "", "--gender", "1", "--threads", "1"]
        module.main([*few, *strengths, "--to", str(path), *more])
        return capfd.readouterr().out, path.read_text().splitlines()

    return run


def test_a_campaign_that_is_stopped_and_goes_on(
    script: Callable[..., tuple[str, list[str]]], gemma: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of noise, then words that move; what is in the journal is not asked again."""
    monkeypatch.setattr(runtime, "load", lambda *_: gemma)
    monkeypatch.setattr(plants, "other_threads", nullcontext)  # two threads crawl where others compute
    tables, nothing = script("--minutes", "0")
    assert len(nothing) == 1
    assert "plant" in tables
    whole_table, whole = script()
    klds = {}
    for one in map(json.loads, whole[1:]):
        klds[one["plant"], one["strength"], one["suite"]] = one["kld"]
    assert list(klds) == [
        ("itself", 0, "factuality"), ("itself", 0, "bias"), ("noise", 0.01, "factuality"),
        ("noise", 0.01, "bias"),
        ("noise", 2, "factuality"), ("noise", 2, "bias"), ("gender", 1, "bias"),
    ]  # fmt: skip
    nothing_planted, little, much, *_more = (klds[key] for key in klds if key[2] == "factuality")
    assert nothing_planted < 1e-6 < little < much

    def never(*_arguments: Any) -> Any:
        raise AssertionError("asked again")

    monkeypatch.setattr(choices, "scores", never)
    monkeypatch.setattr(asking, "replies", never)
    assert script() == (whole_table, whole)
    monkeypatch.setattr(runtime, "load", never)
    assert script("--minutes", "0") == (whole_table, whole)


def test_two_journals_make_one_table(
    script: Callable[..., tuple[str, list[str]]], gemma: TransformersEngine, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What stands in the second is not asked again, and is in the tables."""
    _tables, head = script("--minutes", "0")
    other = tmp_path / "other.jsonl"
    (one,) = lines({0.01: [True]})
    other.write_text(head[0] + "\n" + json.dumps(vars(one)) + "\n")
    journals = ["--to", str(tmp_path / "journal.jsonl"), str(other)]
    tables, own = script("--minutes", "0", *journals)
    assert own == head
    assert "| noise | bias |" in tables
    monkeypatch.setattr(runtime, "load", lambda *_: gemma)
    _tables, own = script(*journals, "--suites", "bias", "--noise", "0.01", "--gender", "")
    assert {json.loads(line)["plant"] for line in own[1:]} == {"itself"}
