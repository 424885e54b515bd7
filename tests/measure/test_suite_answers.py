"""What a worker is asked for a suite, what of its answers is kept, and which answers are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from desk import Desk

from bench.config.settings import DriftBlock
from bench.drift.behaviour import suites_of
from bench.errors import BenchError, TerminatedRun, VariantFailed
from bench.measure import suites
from bench.measure.arm import ArmUnderTest

Patch = pytest.MonkeyPatch


def answers(_do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    items = arguments["items"]
    if arguments["output_tokens"]:
        return {"digest": "", "replies": ["7"] * len(items), "scores": []}
    return {"digest": "", "replies": [], "scores": [[-1.0] * len(item["choices"]) for item in items]}


def under(
    patch: Patch, *names: str, baseline: bool = False, answer: Any = answers, **facts: Any
) -> ArmUnderTest:
    from fakes import ScriptedWorker

    desk = Desk(patch, facts=facts)
    context = replace(desk.context, drift=DriftBlock(suites=names))
    arm = next(one for one in desk.group.arms if one.is_baseline == baseline)
    return ArmUnderTest(arm, "", context, ScriptedWorker(answer), replace(desk._facts))  # type: ignore[arg-type]


def kept(found: ArmUnderTest) -> dict[str, Any]:
    notes: Any = found.context.journal
    return {name: one for record in notes.of(found.arm.name, "suites") for name, one in record.items()}


def test_a_suite_is_asked_in_parts_and_kept_as_a_whole(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "generation", "factuality", "arithmetic")
    suites.answer(found)
    asked: Any = found.worker
    assert [len(arguments["items"]) for _do, arguments in asked.asked] == [50, 50, 50, 50, 40] + [50] * 4
    assert {name: (len(one.scores), len(one.replies), one.items) for name, one in kept(found).items()} == {
        "factuality": (240, 0, ()),
        "arithmetic": (0, 200, ()),
    }


def test_items_of_one_length_are_asked_together_and_kept_in_their_order(monkeypatch: Patch) -> None:
    """The reply to each item is its own prompt."""

    def echo(_do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"digest": "", "replies": [item["prompt"] for item in arguments["items"]], "scores": []}

    found = under(monkeypatch, "refusal", answer=echo)
    suites.answer(found)
    items = suites_of(["refusal"])[0].items()
    assert kept(found)["refusal"].replies == tuple(item["prompt"] for item in items)
    worker: Any = found.worker
    for _do, arguments in worker.asked:
        lengths = [(item["lang"], len(item["prompt"])) for item in arguments["items"]]
        assert lengths == sorted(lengths)


def test_a_call_has_all_items_that_share_a_long_text(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "long-context")
    suites.answer(found)
    worker: Any = found.worker
    assert [len(arguments["items"]) for _do, arguments in worker.asked] == [46]


def test_the_baseline_keeps_the_items(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "long-context", baseline=True)
    suites.answer(found)
    one = kept(found)["long-context"]
    assert len(one.items) == len(one.replies) == 46
    assert max(len(item["prompt"]) for item in one.items) == 400


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: {**found, "scores": found["scores"][:-1]},
        lambda found: {**found, "scores": [[-1.0], *found["scores"][1:]]},
        lambda found: {**found, "scores": [[0.5] * 4, *found["scores"][1:]]},
        lambda found: {**found, "scores": [[float("nan")] * 4, *found["scores"][1:]]},
        lambda found: {**found, "replies": ["x"]},
    ],
    ids=["an item is missing", "a choice is missing", "a probability above 1", "NaN", "replies instead"],
)
def test_answers_that_cannot_be_are_refused(monkeypatch: Patch, spoil: Any) -> None:
    found = under(monkeypatch, "factuality", answer=lambda do, arguments: spoil(answers(do, arguments)))
    with pytest.raises(VariantFailed, match="suite"):
        suites.answer(found)
    assert kept(found) == {}


def test_random_weights_are_not_asked(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "factuality", random_weights=True)
    found.facts = replace(found.known, random_weights=True)
    suites.answer(found)
    notes: Any = found.context.journal
    assert notes.of("v", "suites_reason") == ["random weights have no behaviour to lose"]
    assert found.worker.asked == []  # type: ignore[attr-defined]


def test_only_suites_that_ask_are_asked() -> None:
    assert [suite.name for suite in suites_of(["generation", "bias", "long-context"])] == [
        "bias",
        "long-context",
    ]


def test_every_suite_without_answers_is_named(monkeypatch: Patch) -> None:
    """The record of a row keeps the last reason that is written, so all of them are written at once."""
    found = under(monkeypatch, "factuality", "bias", "arithmetic")
    monkeypatch.setattr(ArmUnderTest, "turns", 1)
    suites.answer(found)
    notes: Any = found.context.journal
    whole = "an answer that comes as a whole has no log-likelihoods"
    assert notes.of("v", "suites_reason") == [f"factuality: {whole}; bias: {whole}"]
    assert list(kept(found)) == ["arithmetic"]


def test_a_reply_that_no_result_can_keep_costs_the_suite_and_not_the_row(monkeypatch: Patch) -> None:
    def endless(_do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"digest": "", "replies": ["7" * 10**6] * len(arguments["items"]), "scores": []}

    found = under(monkeypatch, "arithmetic", answer=endless)
    suites.answer(found)
    notes: Any = found.context.journal
    (why,) = notes.of(found.arm.name, "suites_reason")
    assert why.startswith("arithmetic: the reply to '")
    assert why.endswith("' has 1,000,000 characters, and at most 65,536 are kept")
    assert kept(found) == {}


def test_a_signal_while_answers_are_kept_is_no_reason_of_a_suite(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "factuality")

    def stopping(kind: str, _payload: Mapping[str, Any]) -> None:
        raise TerminatedRun(kind)

    monkeypatch.setattr(found.context.journal, "append", stopping)
    with pytest.raises(TerminatedRun):
        suites.answer(found)


def test_answers_that_a_journal_refuses_cost_the_suite_and_not_the_row(monkeypatch: Patch) -> None:
    found = under(monkeypatch, "factuality")
    notes: Any = found.context.journal
    append = notes.append

    def refusing(kind: str, payload: Mapping[str, Any]) -> None:
        if "suites" in payload:
            raise BenchError("cannot store a record of kind 'arm': it has 9 MiB")
        append(kind, payload)

    monkeypatch.setattr(notes, "append", refusing)
    suites.answer(found)
    (why,) = notes.of(found.arm.name, "suites_reason")
    assert why == "factuality: cannot store a record of kind 'arm': it has 9 MiB"
