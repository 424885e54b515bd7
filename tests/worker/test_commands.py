"""The commands of a worker: prompts become batches, and what a warm-up checks."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
from fakes import FakeEngine

from bench.errors import NonFiniteOutput, Outcome, Unsupported, VariantFailed
from bench.records import Encoded
from bench.worker import commands
from bench.worker.commands import Worker
from bench.worker.prompt_tokens import encoded


def prompt(text: str, chat: bool = False, tokens: int | None = None) -> dict[str, Any]:
    return {"text": text, "chat": chat, "tokens": tokens}


def given(*prompts: dict[str, Any], batch_size: int = 2) -> tuple[Worker, Encoded]:
    worker = Worker()
    worker.engine = FakeEngine()
    message = {"prompts": prompts, "batch_size": batch_size, "output_tokens": 3}
    return worker, worker.prompts(message, [])


def test_prompts_are_cut_into_batches_in_order() -> None:
    worker, reply = given(*(prompt("x" * n) for n in (1, 2, 3, 4, 5)))
    assert worker.batches == [[[1], [2]], [[3], [4]], [[5]]]
    assert reply.input_tokens == (1, 1, 1, 1, 1)
    assert reply.end_ids == (2,)


def test_chat_goes_through_the_template_and_text_is_cut() -> None:
    worker, reply = given(prompt("aa bbb", chat=True), prompt("aa bbb c dddd", tokens=2), batch_size=8)
    assert worker.batches == [[[1, 2, 3], [2, 3]]]
    assert reply.input_tokens == (3, 2)


@pytest.mark.parametrize("room", [-1, 0])
@pytest.mark.bad_input(38)
def test_a_chat_message_fits_the_context_in_its_template(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that made 900,000 letters of "Hello" was read by the model, for minutes."""
    monkeypatch.setattr(FakeEngine, "encode_chat", lambda _engine, _text: [1] * 4096)
    engine = FakeEngine(facts={"context": 4096 + room})
    said = "4096 tokens, .* a message of 5 characters, do not fit the model's context of 4095"
    with pytest.raises(Unsupported, match=said) if room < 0 else nullcontext():
        assert encoded(engine, [prompt("Hello", chat=True)]) == [[1] * 4096]


def test_the_digest_is_that_of_the_tokens() -> None:
    one, same, other = (given(prompt(text))[1].digest for text in ("aa b", "cc d", "aa bb"))
    assert one == same != other


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (
            ("runtime", "quantise: x", "prune: y"),
            "does not decode after quantise: x, prune: y (RuntimeError: odd)",
        ),
        (("runtime",), "odd"),
    ],
)
def test_a_model_that_does_not_decode_as_it_was_changed(
    evidence: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _reply = given(prompt("aa"))
    worker.evidence = [{"step": step} for step in evidence]

    def fails(*_arguments: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(commands.passes, "warm_up", fails)
    with pytest.raises(VariantFailed if len(evidence) > 1 else RuntimeError, match=re.escape(said)) as caught:
        worker.warm_up({"least": 1}, [])
    if isinstance(caught.value, VariantFailed):
        assert caught.value.outcome == Outcome.RUN_ERROR


def test_what_is_loaded_is_frozen_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every batch of a duet begins with a search through all of torch."""
    calls: list[str] = []

    class Garbage:
        collect = staticmethod(lambda: calls.append("collect"))
        freeze = staticmethod(lambda: calls.append("freeze"))

    monkeypatch.setattr(commands, "gc", Garbage)
    worker, _reply = given(prompt("a"))
    found = worker.warm_up({"least": 2}, [])
    assert calls == ["collect", "freeze"]
    assert found.kernels == ()


def test_a_warm_up_decodes_the_batch_that_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, _reply = given(*(prompt("x") for _ in range(5)))
    decoded: list[Any] = []
    warm_up = commands.passes.warm_up
    monkeypatch.setattr(commands.passes, "warm_up", lambda *a: decoded.append(a[1]) or warm_up(*a))
    worker.warm_up({"least": 1}, [])
    worker.warm_up({"least": 1, "first": 2}, [])
    assert decoded == [worker.batches[0], worker.batches[2]]


@pytest.mark.parametrize(("finite", "refused"), [(True, False), (False, True)])
def test_logits_that_are_no_numbers_end_the_warm_up(finite: bool, refused: bool) -> None:
    worker, _reply = given(prompt("a"))
    worker.engine._finite = finite  # type: ignore[attr-defined]
    with pytest.raises(NonFiniteOutput, match="on the first prompt") if refused else nullcontext():
        worker.warm_up({"least": 1}, [])
    worker.warm_up({"least": 1, "finite": False}, [])


def test_a_probe_is_a_module_that_decodes_the_first_batch() -> None:
    worker, _reply = given(prompt("a b"), prompt("c"), prompt("d"))
    found = worker.probe({"module": "bench.probes.page_faults"}, [])
    assert set(found) == {"minor_page_faults_per_request", "major_page_faults_per_request"}
    assert all(value >= 0 for value in found.values())
    engine: Any = worker.engine
    assert [kind for kind, _number in engine.log] == ["prefill", "step", "step"]
