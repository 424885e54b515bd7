"""Every rule of a cascade through its whole contract, found by name, in a worker's own loading."""

from __future__ import annotations

import dataclasses
import re
from itertools import count
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import saved, sizes, told

from bench import optimisations, plugins
from bench.engine.cascading import Cascade
from bench.engine.confidence import LearningRule, Rule
from bench.errors import NotApplied, Unsupported, UsageError
from bench.optimisations.shared.cascading import CascadeParams, Edge
from bench.optimisations.shared.logistic import Logistic
from bench.records import Json
from bench.worker import cascaded_suite, learning, passes, session

RULES = plugins.names("optimisations.cascade")
every_rule = pytest.mark.parametrize("name", RULES)
PROMPTS = [[[5, 6, 7]], [[9] * 20]]
CHOICES: list[Json] = [
    {"id": f"{n}", "prompt": f"{n} is", "choices": [" a", " bc"], "right": 0} for n in range(6)
]
REPLIES: list[Json] = [{"id": f"{n}", "prompt": f"what is {n}?"} for n in range(4)]
LEARN = {
    "choices": {"suite": "factuality", "tokens": 0, "items": CHOICES},
    "replies": {"suite": "arithmetic", "tokens": 3, "items": REPLIES},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rule learns is kept on the disk, for this test alone."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


def module_of(name: str) -> Any:
    return plugins.load("optimisations.cascade", name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    found = []
    for layers in (1, 3):
        config = transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": layers})
        path = saved(config, tmp_path_factory.mktemp("m"))
        write_tokenizer(path)
        found.append(path)
    return found[0], found[1]


def load(directory: Path, *steps: dict[str, Any]) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "runtime": "bench.runtimes.transformers",
        "options": {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False},
        "optimise": list(steps),
    }


def message(
    models: tuple[Path, Path], name: str, threshold: float = 0.0, *edge_steps: dict[str, Any]
) -> dict[str, Any]:
    module = plugins.module_name("optimisations.cascade", name)
    terms = {
        "threshold": threshold, "edge": "small", "edge_usd_per_hour": 0.01, "egress_usd_per_gb": 0.0,
        "link": {"round_trip_ms": 1},
    }  # fmt: skip
    step = {"label": f"cascade: {name}", "module": module, "params": {}, "told": terms}
    if issubclass(type(module_of(name).RULE), LearningRule):
        step["learn"] = LEARN
    return load(models[1], {**step, "edge": load(models[0], *edge_steps)})


@every_rule
def test_a_rule_says_what_it_is(name: str) -> None:
    module = module_of(name)
    assert 10 < len(plugins.describe(module)) < 110
    assert isinstance(module.RULE, Rule)
    low, high = module.RULE.range
    assert low < high
    assert issubclass(module.Params, CascadeParams)
    assert module.Params.__doc__
    assert all(optimisations.unsupported(module, device, "float32") is None for device in ("cpu", "cuda"))
    edge = Edge("smollm2-135m", 0.1)
    inside = max(low, -1.0) if module.RULE.sure == "above" else 1.0
    assert dataclasses.replace(module.Params(edge, inside), threshold=inside).link.round_trip_ms == 0


@every_rule
def test_a_rule_that_works(models: tuple[Path, Path], name: str) -> None:
    engine, found = session.load(message(models, name))
    assert isinstance(engine, Cascade)
    steps = [one["step"] for one in found.evidence]
    assert steps == ["runtime", "edge: runtime", f"cascade: {name}"]
    assert all(check["holds"] for one in found.evidence for check in one["checks"])
    assert found.evidence[-1]["cascade"]["rule"] == name
    assert found.weights_bytes == engine.census().weights_bytes > engine.cloud.census().weights_bytes
    assert found.optimise_s >= 0
    engine.longest_answer(5)
    solo = passes.solo(engine, PROMPTS, 1)
    assert len(solo.cascaded) == len(PROMPTS)
    assert [len(row) for batch in solo.batches for row in batch.tokens] == [5, 5]


def test_what_is_done_to_the_edge_is_evidence_too(models: tuple[Path, Path]) -> None:
    engine, found = session.load(
        message(models, "margin", 0.0, told("prune", "magnitude", {"sparsity": 0.3}))
    )
    assert [one["step"] for one in found.evidence][1:3] == ["edge: runtime", "edge: prune: magnitude"]
    assert isinstance(engine, Cascade)
    zeros = [one.zero_fraction or 0 for one in engine.edge.census().matrices if not one.is_head]
    assert min(zeros) > 0.25
    assert max(one.zero_fraction or 0 for one in engine.cloud.census().matrices) < 0.01


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, "no score") for name in RULES),
        ("margin", "never"),
        ("entropy", "always"),
        ("log-probability", "the edge's answer"),
    ],
)
def test_a_rule_that_does_not_decide_is_caught(
    models: tuple[Path, Path], name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = module_of(name).RULE
    if fault == "no score":
        monkeypatch.setattr(type(rule), "of_step", lambda self, logits: logits[:, :1] * 0 + len(logits))
        monkeypatch.setattr(type(rule), "of_answer", lambda self, steps, most: fmean(one for (one,) in steps))
        if name == "agreement":  # it draws, and sees no steps
            drawn = count()
            monkeypatch.setattr(type(rule), "of_answers", lambda self, *_asked: [float(next(drawn))])
    elif fault == "the edge's answer":
        real = Cascade._escalate

        def keeps(self: Cascade, *asked: Any) -> Any:
            answers, done = real(self, *asked)
            return [[1] * len(one) for one in answers], done

        monkeypatch.setattr(Cascade, "_escalate", keeps)
    else:
        monkeypatch.setattr(type(rule), "escalates", lambda self, *_asked: fault == "always")
    with pytest.raises(NotApplied, match=f"cascade: {name}: .*: expected .*, found"):
        session.load(message(models, name))


def test_an_edge_that_cannot_show_its_scores_is_refused(models: tuple[Path, Path]) -> None:
    with pytest.raises(Unsupported, match="drafted"):
        session.load(message(models, "margin", 0.0, told("speculate", "prompt-lookup", {"shortest": 1})))


@every_rule
def test_both_models_answer_a_suite(models: tuple[Path, Path], name: str) -> None:
    engine, _found = session.load(message(models, name))
    assert isinstance(engine, Cascade)
    if isinstance(engine.rule, LearningRule):  # two toys may agree on nothing, which teaches one answer
        taught = Logistic((0.0,) * 4, (1.0,) * 4, (1.0, -0.5, 1.0, 0.1, 0.0))
        engine.rule = engine.rule.trained({"choices": taught, "replies": taught})
    for items, tokens in ((CHOICES, 0), (REPLIES, 6)):
        first = cascaded_suite.answered(engine, items, tokens)
        assert first.both is not None
        scores = sorted(one.score for one in first.both.requests if one)
        assert len(scores) == len(items)
        engine.threshold = scores[len(scores) // 2]
        found = cascaded_suite.answered(engine, items, tokens)
        assert found.both is not None
        kinds = {
            side: answers.replies if tokens else answers.scores
            for side, answers in (("edge", found.both.edge), ("cloud", found.both.cloud))
        }
        own = found.replies if tokens else found.scores
        for place, one in enumerate(found.both.requests):
            assert one is not None
            assert own[place] == kinds["cloud" if one.escalated else "edge"][place]
            assert min(one.edge_s, one.cloud_s, one.link_s, one.sent_bytes, one.received_bytes) > 0
        if name != "agreement" or scores[0] < scores[-1]:  # two toys may draw nothing that agrees
            assert {one.escalated for one in found.both.requests if one} == {True, False}


def test_a_suite_scores_a_reply_as_a_request_is_scored(models: tuple[Path, Path]) -> None:
    engine, _found = session.load(message(models, "log-probability"))
    assert isinstance(engine, Cascade)
    engine.longest_answer(6)
    both = cascaded_suite.answered(engine, REPLIES, 6).both
    assert both is not None
    for item, one in zip(REPLIES, both.requests, strict=True):
        engine.cascaded()
        engine.prefill([[*engine.begin_ids(), *engine.encode(item["prompt"])]], 1)
        assert one is not None
        assert engine.cascaded()[0].score == pytest.approx(one.score, rel=1e-5)


def test_an_item_that_does_not_fit_is_nobodys(models: tuple[Path, Path]) -> None:
    engine, _found = session.load(message(models, "margin"))
    assert isinstance(engine, Cascade)
    long: Json = {"id": "long", "prompt": "a" * 4000, "choices": [" a", " b"], "right": 0}
    for tokens in (0, 4):
        found = cascaded_suite.answered(engine, [long], tokens)
        assert found.both is not None
        assert found.both.requests == (None,)
        assert (found.replies if tokens else found.scores) == (None,)


def test_a_rule_that_learns_is_trained_once(models: tuple[Path, Path]) -> None:
    """Its classifiers are those of the answers of both models, which a plain loop counts."""
    engine, found = session.load(message(models, "learnt", 0.5))
    assert isinstance(engine, Cascade)
    step = found.evidence[-1]
    (bill,) = step["one_off"]
    assert (bill["what"], bill["took_s"] > 0) == ("cascade-learnt", True)
    by_form = {one["form"]: one for one in step["cascade"]["learnt"]}
    assert [one["id"] for one in CHOICES] == by_form["choices"]["ids"]
    for form, items, tokens in (("choices", CHOICES, 0), ("replies", REPLIES, 3)):
        both = cascaded_suite.answered(engine, items, tokens).both
        assert both is not None
        if tokens:
            pairs = zip(both.edge.replies, both.cloud.replies, strict=True)
            same = sum((a or "").split() == (b or "").split() for a, b in pairs)
        else:
            same = sum(
                np.argmax(a or ()) == np.argmax(b or ())
                for a, b in zip(both.edge.scores, both.cloud.scores, strict=True)
            )
        assert (by_form[form]["n"], by_form[form]["same"]) == (len(items), same)
        scores = [one.score for one in both.requests if one]
        wanted = (same * (same + 1) / (same + 2) + (len(items) - same) / (len(items) - same + 2)) / len(items)
        assert fmean(scores) == pytest.approx(wanted, abs=1e-4)  # the mean of Platt's targets
    again, later = session.load(message(models, "learnt", 0.5))
    assert isinstance(again, Cascade)
    assert later.evidence[-1]["one_off"][0]["reused"]
    assert later.evidence[-1]["cascade"]["learnt"] == step["cascade"]["learnt"]


def test_questions_that_no_model_can_read_teach_nothing(models: tuple[Path, Path]) -> None:
    long = {"suite": "factuality", "tokens": 3, "items": [{"id": "1", "prompt": "a" * 5000}]}
    asked = message(models, "learnt", 0.5)
    asked["optimise"][0]["learn"] = {"replies": long}
    with pytest.raises(NotApplied, match="no question of factuality fits both models"):
        session.load(asked)


def test_each_rule_keeps_what_it_has_learnt_for_itself() -> None:
    """On the same questions and models: its features are others, and may be as many."""
    engine = SimpleNamespace(logits=lambda ids: torch.ones(len(ids), 4))
    cascade: Any = SimpleNamespace(edge_reads=lambda ids: (ids, ""), edge=engine, cloud=engine)
    rule = module_of("learnt").RULE

    class Other(type(rule)):  # type: ignore[misc]
        """A rule of somebody else."""

    keys = [learning._key(cascade, one, LEARN, [1, 2]) for one in (rule, rule, Other())]
    assert keys[0] == keys[1] != keys[2]


class Half(Rule):
    """A rule of a researcher that is not whole yet: it has no range."""

    def of_step(self, logits: Any) -> Any:
        return logits[..., 0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "Params needs `rule = RULE`"),
        ({"rule": Half}, "Params needs `rule = RULE`"),
        ({"rule": Half()}, "Half needs `range`"),
        ({"rule": type("Turned", (Half,), {"range": (1.0, 0.0)})()}, "Turned needs `range`"),
        ({"rule": type("Loud", (Half,), {"range": (0.0, 1.0), "sure": "Above"})()}, "Loud.sure is the side"),
    ],
)
def test_a_rule_that_is_not_whole_is_refused_when_it_is_imported(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^her_rules: {re.escape(said)}"):
        type("Params", (CascadeParams,), {"__module__": "her_rules", **more})
