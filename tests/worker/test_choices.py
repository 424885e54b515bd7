"""Scores of the choices of items, against the model called directly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_tokenizer import write_tokenizer
from engines import saved, small_configs

from bench.engine import Options
from bench.errors import NonFiniteOutput
from bench.runtimes import transformers as runtime
from bench.worker import choices as scoring


def plain(engine: Any, prompt: str, choice: str, shared: int) -> float:
    """ln P of the tokens from ``shared`` on, by one call of the model itself, in float64."""
    ids = [*engine.begin_ids(), *engine.encode(prompt + choice)]
    with torch.inference_mode():
        logits = engine.model(torch.tensor([ids])).logits[0].double()
    ln_p = torch.log_softmax(logits, -1)
    return float(sum(ln_p[place - 1, ids[place]] for place in range(shared, len(ids))))


@pytest.mark.parametrize(
    ("prompt", "choices", "shared"),
    [
        ("Ice is", [" cold", " warm"], 7),  # the space is shared; the words differ from their first letter
        ("Two and", [" a", " b", " c"], 8),  # one token each: a single pass
        ("Ice", [" a", " a cold", " a b"], 4),  # one choice is the beginning of all others
        ("A", [" b", " bc"], 2),  # one choice is the beginning of the other
    ],
)
def test_the_score_of_a_choice_is_its_log_likelihood(
    engine: Any, prompt: str, choices: list[str], shared: int
) -> None:
    found = scoring.scores(engine, [{"prompt": prompt, "choices": choices}])[0]
    assert found == pytest.approx([plain(engine, prompt, choice, shared) for choice in choices], abs=1e-4)


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        ("", ["He ran.", "She ran."]),
        ("", ["a", "b"]),  # one token each
        ("", ["a", "ab"]),  # one choice is the beginning of the other
    ],
)
def test_an_end_token_predicts_the_first_token_where_nothing_stands_before_it(
    engine: Any, prompt: str, choices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not engine.begin_ids()
    item = {"prompt": prompt, "choices": choices}
    found = scoring.scores(engine, [item])[0]
    monkeypatch.setattr(engine, "begin_ids", lambda: engine.end_ids()[:1])
    assert found == pytest.approx([plain(engine, prompt, choice, 1) for choice in choices], abs=1e-4)
    monkeypatch.undo()
    monkeypatch.setattr(engine, "end_ids", lambda: ())
    assert scoring.scores(engine, [item]) == [None]


def test_choices_of_one_token_share_a_pass(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = engine.logits
    monkeypatch.setattr(engine, "logits", lambda ids: calls.append(len(ids)) or real(ids))
    scoring.scores(engine, [{"prompt": "Ice is", "choices": [" a", " b", " c", " d"]}])
    assert calls == [7]


@pytest.fixture
def whole(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine, which reads each choice whole."""
    monkeypatch.setattr(scoring, "SCORES_ALIKE", {engine: False})
    return engine


def test_texts_of_one_length_share_a_pass(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are those of each item alone, in the order of the items, at most eight texts in a pass."""
    items = [
        {"prompt": f"{word} is", "choices": [" cold", " warm", " a"]} for word in ("Ice", "Sun", "Snow", "It")
    ]
    batches: list[list[int]] = []
    real = whole.logits_in_batch
    monkeypatch.setattr(
        whole, "logits_in_batch", lambda texts: batches.append(list(map(len, texts))) or real(texts)
    )
    found = scoring.scores(whole, items * 3)
    assert batches
    assert all(len(set(lengths)) == 1 and 1 < len(lengths) <= 8 for lengths in batches)
    alone = [scoring.scores(whole, [item])[0] for item in items]
    for together, one in zip(found, alone * 3, strict=True):
        assert together == pytest.approx(one, abs=1e-4)


def test_few_texts_share_a_pass_where_their_logits_are_large(
    whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"prompt": f"{word} is", "choices": [" cold", " warm"]} for word in ("Ice", "Sun", "Oil")]
    sizes: list[int] = []
    real = whole.logits_in_batch
    monkeypatch.setattr(whole, "logits_in_batch", lambda texts: sizes.append(len(texts)) or real(texts))
    tokens = len(whole.encode("Ice is cold")) - 1
    monkeypatch.setattr(scoring, "BATCH_BYTES", 2 * tokens * 4 * whole.facts().vocabulary)
    scoring.scores(whole, items)
    assert sizes == [2, 2, 2]
    monkeypatch.setattr(scoring, "BATCH_BYTES", 1)
    scoring.scores(whole, items)
    assert sizes == [2, 2, 2]  # each text alone


# ---- what choices begin with is read once ------------------------------------------------------------

ICE = [
    {"prompt": f"{word} is", "choices": [" cold", " warm and wet", " a", " b"]}
    for word in ("Ice", "Sun", "Snow", "It", "Rain in the north")
]


def model_of(config: Any, path: Path) -> Any:
    write_tokenizer(saved(config, path))
    return runtime.load(path, Options(device="cpu", threads=1))


@pytest.mark.parametrize("kind", sorted(small_configs()))
@pytest.mark.parametrize("most", [4096, 1])
def test_scores_behind_a_beginning_are_those_of_whole_texts(
    kind: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one pass, and one choice at a time."""
    engine = model_of(small_configs()[kind](), tmp_path)
    wanted = [scoring.scores(engine, [item])[0] for item in ICE]
    monkeypatch.setattr(scoring, "MOST_KEPT", most)
    monkeypatch.setattr(scoring, "SCORES_ALIKE", {engine: True})
    monkeypatch.setattr(engine, "logits", lambda _ids: pytest.fail("read whole"))
    monkeypatch.setattr(engine, "logits_in_batch", lambda _texts: pytest.fail("read whole"))
    for found, one in zip(scoring.scores(engine, ICE), wanted, strict=True):
        assert found == pytest.approx(one, abs=1e-4)


def test_each_beginning_is_read_once(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SCORES_ALIKE", {engine: True})
    begun: list[list[int]] = []
    behind: list[list[int]] = []
    first, then = engine.read_beginnings, engine.logits_behind
    monkeypatch.setattr(
        engine, "read_beginnings", lambda texts: begun.append([*map(len, texts)]) or first(texts)
    )
    monkeypatch.setattr(
        engine, "logits_behind",
        lambda kept, at, rests: behind.append([*map(len, rests)]) or then(kept, at, rests),
    )  # fmt: skip
    scoring.scores(engine, ICE[:3])
    assert begun == [[6, 6], [7]], "of one length in one pass; the last shared token is the space"
    assert behind == [[4, 12, 1] * 2, [4, 12, 1]], "choices of one token have their pass in common"


def test_a_model_that_reads_otherwise_in_parts_reads_each_choice_whole(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [scoring.scores(engine, [item])[0] for item in ICE]
    real = engine.logits_behind
    monkeypatch.setattr(engine, "logits_behind", lambda *given: 0 * real(*given))
    monkeypatch.setattr(scoring, "SCORES_ALIKE", {})
    for _ in range(2):
        for found, one in zip(scoring.scores(engine, ICE), wanted, strict=True):
            assert found == pytest.approx(one, abs=1e-4)
        assert scoring.SCORES_ALIKE[engine] is False
        monkeypatch.setattr(engine, "read_beginnings", lambda _texts: pytest.fail("tried again"))


def test_one_item_alone_is_read_whole(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cascade times each item, and the first one must not pay for trying something."""
    monkeypatch.setattr(scoring, "SCORES_ALIKE", {})
    monkeypatch.setattr(engine, "read_beginnings", lambda _texts: pytest.fail("read in parts"))
    assert scoring.scores(engine, ICE[:1])[0] is not None
    assert not scoring.SCORES_ALIKE


def test_not_a_number_ends_the_suite(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ids: Sequence[int]) -> torch.Tensor:
        return torch.full((len(ids), 512), float("nan"))

    monkeypatch.setattr(engine, "logits", broken)
    with pytest.raises(NonFiniteOutput):
        scoring.scores(engine, [{"prompt": "Ice is", "choices": [" a", " b"]}])
