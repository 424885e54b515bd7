"""Drift by text: replies of servers that give no probabilities, their statistics, and the rows of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from byte_tokenizer import write_tokenizer
from engines import saved, sizes
from fakes import arm_record, run_record
from running_stub import running
from samples_of_serving import sample

from bench.cli import load_pages
from bench.config.reader import read_config
from bench.errors import BenchError
from bench.metrics import reply_texts
from bench.metrics.requests import Limits
from bench.records import SaidTexts
from bench.records.loads import ClientOverhead
from bench.report import drift_pages
from bench.report.formats import markdown
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec
from bench.serving import greedy_replies, record
from bench.serving.address import Address, Secret
from bench.serving.client import Settings
from bench.serving.drift import Wanted, drift_of
from bench.serving.greedy_replies import Said, paired, pieces, replies
from bench.serving.load import Load, run
from bench.serving.reply import Asked, Trip
from bench.serving.stream_events import Event
from bench.serving.text_drift import TextDrift
from bench.serving.tokens import Arrival

HEAD = {"content-type": "text/event-stream"}


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[Address, Address]]:
    with running() as one, running() as other:
        yield one, other


# ---- prompts and replies ----


def test_pieces_are_spread_and_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(500))
    found = pieces(text, 4, 32)
    assert len(found) == 4
    assert all(f" {one} " in f" {text} " and 380 <= len(one) <= 400 for one in found)
    assert sum(map(len, found)) <= len(text)
    assert len(pieces("字" * 1000, 9, 32)) == 2, "no more than fit, and Chinese is cut anywhere"
    with pytest.raises(BenchError, match="has 399 characters, a prompt 400"):
        pieces("a" * 399, 1, 32)
    long = "a" * 400 * 300
    assert [len(pieces(long, 300, tokens)) for tokens in (32, 256, 512, 8192)] == [200, 195, 97, 6]


def answered(*events: Event, finish: str | None = "stop", key: Secret | None = None) -> Said:
    """What is made of these events of a reply."""
    trip = Trip(0, Asked("x", 0, 8), 0, 0)
    trip.reply.begins(200, HEAD)
    trip.reply.arrivals = [Arrival(1, one) for one in events]
    trip.reply.finish, trip.reply.done = finish, True
    trip.finish()

    settings = Settings(Address("http", "127.0.0.1", 1), "m", key=key)
    client: Any = SimpleNamespace(settings=settings)
    return greedy_replies._said(client, trip)


@pytest.mark.parametrize(
    ("events", "finish", "text", "cut"),
    [
        ([Event(" a"), Event(" b ")], "stop", "a b", False),
        ([Event("a")], "length", "a", True),
        ([Event(thoughts="hm "), Event("a")], "stop", "hm a", False),
        ([], "stop", "", False),
        ([Event("a\ud800")], "stop", "a?", False),
    ],
)
def test_a_reply_is_its_text(events: list[Event], finish: str, text: str, cut: bool) -> None:
    assert answered(*events, finish=finish) == Said(text, cut)


def test_no_key_is_in_a_text() -> None:
    secret = Secret("A_KEY", "sk-planted-0123456789")
    assert answered(Event(f"it is {secret.reveal()}"), key=secret).text == "it is [key]"


def test_texts_without_end_are_refused(
    urls: tuple[Address, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy_replies, "MOST_LETTERS", 10)
    with pytest.raises(BenchError, match="1 replies have 14 characters, and at most 10 are kept"):
        run(replies(Settings(urls[0], "tokens=3"), ["x", "y"], 9))
    monkeypatch.undo()
    with pytest.raises(BenchError, match="a reply has 65537 characters, and at most 65536 are compared"):
        greedy_replies.must_be_modest([Said("x" * 65_537, cut=False)])


def test_replies_of_both_sides_are_put_beside_each_other() -> None:
    """Replies that reached the limit count for the two that are compared, not for the second one."""
    base, again, variant = [Said("a", True), Said("b", False)], [Said("c", True)] * 2, [Said("d", True)] * 2
    assert paired(base, again, variant) == (SaidTexts("a", "c", "d", 2), SaidTexts("b", "c", "d", 1))
    with pytest.raises(ValueError, match="shorter"):
        paired(base, again, variant[1:])


def test_replies_end_by_themselves(urls: tuple[Address, Address]) -> None:
    """What a load asks for, replies of equal length, is not asked for here."""
    settings = Settings(urls[0], "tokens=3", extra={"ignore_eos": True})
    assert run(replies(settings, ["x", "y"], 9)) == [Said("t0.0 t1.0 t2.0", True)] * 2
    with pytest.raises(BenchError, match="no whole reply: HTTP 500"):
        run(replies(Settings(urls[0], "mode=status"), ["x"], 9))


# ---- statistics ----


def test_the_figures_by_hand() -> None:
    """Of six replies two are the same, two differ at their third letter, two go on after the fourth."""
    found = figures_of(*[("abcd", "abcd"), ("abcd", "abXd"), ("abcd", "abcdef")] * 2)
    assert found["text_exact_match"].value == pytest.approx(1 / 3)
    assert found["first_divergence_char"].value == pytest.approx((4 + 2 + 4) / 3)
    assert found["text_edit_distance"].value == pytest.approx((0 + 1 / 4 + 2 / 6) / 3)
    assert found["text_length_ratio"].value == pytest.approx(14 / 12)
    assert found["median_divergence_char"].value == 5, (
        "after the third 2 of 6 differ, after the fifth all that are left"
    )
    assert found["text_exact_match"].notes["again"] == 1.0
    assert found["text_length_ratio"].notes["cut"] == 1 / 2
    low, high = (found["text_edit_distance"].ci_low, found["text_edit_distance"].ci_high)
    assert low < found["text_edit_distance"].value < high


def figures_of(*texts: tuple[str, str]) -> dict[str, Any]:
    row = arm_record("v", said=tuple(SaidTexts(base, base, variant, cut=1) for base, variant in texts))
    return dict(reply_texts.figures(row, run_record(arm_record(), row)))


def test_without_texts_there_are_no_figures() -> None:
    assert set(figures_of().values()) == {None}


# ---- rows ----

CONFIG = """
model: smollm2-135m
runtime: {{name: openai-http, url: "{base}", model: "ttft=2,gap=1{more}"}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 4, output_tokens: 4, warmup: 1}}
drift: {{tokens: 96, window: 16}}
measure: {{processes: 2, max_rounds: 1, max_disturbance: 1}}
variants:
  - {{name: same, runtime: {{url: "{other}"}}}}
  - {{name: other, runtime: {{url: "{other}", model: "ttft=2,gap=1,other=8"}}}}
  - {{name: chat, runtime: {{url: "{other}", api: chat}}}}
"""


@pytest.fixture(params=["", ",noisy=1"])
def found(request: Any, urls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A run of the config; the baseline's server may say something else each time."""
    monkeypatch.setattr("bench.records.loads.ClientOverhead.reasons", lambda _self: ())
    base, other = (url.url.removesuffix("/v1") for url in urls)
    (tmp_path / "c.yaml").write_text(CONFIG.format(base=base, other=other, more=request.param))
    return request.param, run_spec(read_config(tmp_path / "c.yaml"), tmp_path / "out")


def test_a_row_is_compared_by_text(found: tuple[str, Path]) -> None:
    """A reply is t0.0 … t15.0, in 85 letters; of the variant ``other`` the last eight words begin with u."""
    noisy, directory = found
    summary = load_run(directory)
    baseline, same, other, chat = summary.rows
    assert {row.status for row in summary.rows} == {"ok"}, summary.reasons
    reason = "drift by text only: baseline: the server does not give its distribution"
    assert all((row.drift_reason or "").startswith(reason) for row in (same, other))
    assert "by text: chat cannot be compared with completions" in (chat.drift_reason or "")
    assert baseline.figure("text_exact_match") is chat.figure("text_exact_match") is None
    assert "figure by figure" in verify_run(directory)
    page, pages = markdown.render([summary]), drift_pages.render(summary)
    exact = other.figure("text_exact_match")
    assert exact is not None
    assert (exact.value, exact.notes["n"]) == (0.0, 6)
    if noisy:
        assert exact.notes["again"] == 0.0
        assert "0.0% of the replies are the same (the baseline itself: 0.0%)" in page
        return
    assert same.figure("text_exact_match").value == 1.0  # type: ignore[union-attr]
    assert same.figure("first_divergence_char").value == 85  # type: ignore[union-attr]
    assert other.figure("first_divergence_char").value == 8 * len("t0.0 ")  # type: ignore[union-attr]
    assert other.figure("text_edit_distance").value == pytest.approx(8 / 85)  # type: ignore[union-attr]
    assert other.figure("text_length_ratio").value == 1.0  # type: ignore[union-attr]
    assert exact.notes["again"] == 1.0
    assert "100.0% of the replies are the same (the baseline itself: 100.0%); drift by text only" in page
    assert "9.4% of the characters changed" in page
    assert "6 replies of at most 16 tokens" in pages


# ---- bench load ----


def test_a_server_beside_its_model(urls: tuple[Address, Address], tmp_path: Path) -> None:
    """The model is a real one with random weights; the stub has other tokens and says what it always says."""
    path = saved(transformers.LlamaConfig(**sizes(96), max_position_embeddings=1024), tmp_path / "m")
    write_tokenizer(path)
    wanted = Wanted(path, "toy", "english", 160, 1)
    lines: list[str] = []
    found = run(drift_of(Settings(urls[0], "tokens=3"), wanted, tmp_path / "log", lines.append))
    assert isinstance(found, TextDrift)
    assert lines == ["drift by text: 5 replies of at most 32 tokens, each asked for twice"]
    assert found.why == "the server cuts a text into other tokens than the baseline"
    assert [(one.variant, one.again) for one in found.said] == [("t0.0 t1.0 t2.0",) * 2] * 5
    exact = found.figures()["text_exact_match"]
    assert exact is not None
    assert (exact.value, exact.notes["again"], exact.notes["n"]) == (0.0, 1.0, 5)
    assert TextDrift.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_load_with_texts_is_computed_again_from_its_journal(tmp_path: Path) -> None:
    texts = tuple(SaidTexts("abcd", "abcX", "abXd", 2) for _ in range(6))
    drift = TextDrift("smollm2-135m", "english", 32, "it gives none", texts)
    load = Load((sample(),), ClientOverhead(0, 0, 0, 0, 0, 0, "asyncio"))
    done = record.result({"target": "x", "model": "y", "schedule": "z"}, load, Limits({}), None, drift)
    record.write(tmp_path, done, lambda: "2026-11-27T00:00:00Z", None)
    head, again, slo, price, kept = record.read(tmp_path)
    assert kept == drift
    assert record.result(head, again, Limits(slo), price, kept).to_json() == done.to_json()
    assert done.to_json()["drift"] == {
        "baseline": "smollm2-135m", "text": "english", "output_tokens": 32, "why": "it gives none",
    }  # fmt: skip
    words = (
        "drift: 0.0% of 6 replies are the model's own (the server itself again: 0.0%), 25.0% of the "
        "characters changed (drift by text only, against smollm2-135m in float32: it gives none)"
    )
    assert words in load_pages.page(done, tmp_path)
