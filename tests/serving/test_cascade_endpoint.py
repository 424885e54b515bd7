"""A cascade whose large model is a server: a stub answers, refuses, breaks off or is not there."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from byte_tokenizer import write_tokenizer
from engines import saved, sizes
from fakes import arm_record, loaded, run_record

from bench.config.reader import read_config
from bench.config.spec import Place
from bench.engine import Options
from bench.engine.api_cascade import ApiAnswer, ApiCascade
from bench.errors import VariantFailed
from bench.link import Link, LinkSettings
from bench.machine import noise
from bench.measure.clouds import key_told
from bench.metrics import cascade
from bench.optimisations.cascade import log_probability
from bench.optimisations.shared.cascading import Cloud
from bench.plan.cascades import cascades_of
from bench.plan.fleet import Slo
from bench.pricing.apis import token_usd
from bench.records import Cascaded
from bench.report.cascade import cascade_words
from bench.report.formats import markdown
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs import run as harness
from bench.runs.run import run_spec
from bench.runtimes import transformers as runtime
from bench.serving.address import Address
from bench.serving.server import free_port
from bench.store.replay import load_record
from bench.worker.endpoint import Endpoint

GUESSED_IN, ASKED_OUT = 7, 5
KEY = "sk-planted/0123456789+abcdef=="


def asked(url: str, model: str, **more: Any) -> ApiAnswer:
    told = {"url": url, "model": model, "api": "completions", "timeout_s": 5.0, **more}
    return Endpoint(told).ask("two words", GUESSED_IN, ASKED_OUT)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_an_answer_is_paid_by_the_servers_own_count(stub: Address, api: str) -> None:
    found = asked(stub.url, "tokens=3", api=api)
    assert (found.text, found.reason) == (" t0.0 t1.0 t2.0", "")
    assert (found.billed_in, found.billed_out) == (2, 3)
    assert 0 < found.seconds < 5


@pytest.mark.parametrize(
    ("model", "billed", "reason"),
    [
        ("mode=status,status=429", (0, 0), "HTTP 429: no"),
        ("mode=status,status=503", (0, 0), "HTTP 503: no"),
        ("mode=redirect", (0, 0), "redirects to elsewhere.example"),
        ("mode=reset", (GUESSED_IN, ASKED_OUT), "before it answered"),
        ("mode=hang", (GUESSED_IN, ASKED_OUT), "no answer: no end within 0.3 s"),
        ("ttft=5000", (GUESSED_IN, ASKED_OUT), "no answer: no end within 0.3 s"),  # the headers came
        ("tokens=0,mode=nofinish", (2, 0), "the answer broke off: "),  # nothing came, and its usage says so
        ("mode=json", (GUESSED_IN, ASKED_OUT), "no answer: the reply is application/json, not a stream"),
        ("mode=cut", (GUESSED_IN, 2), "the answer broke off: "),
        ("mode=error", (GUESSED_IN, 2), "the answer broke off: "),
    ],
)
def test_what_a_server_may_have_computed_is_never_free(
    stub: Address, model: str, billed: tuple[int, int], reason: str
) -> None:
    """A refusal costs nothing. Where nobody knows what was computed, the whole answer is counted."""
    found = asked(stub.url, model, timeout_s=0.3)
    assert found.text is None
    assert (found.billed_in, found.billed_out) == billed
    assert reason in found.reason


@pytest.mark.parametrize("tokens", [0, 2])
def test_tokens_that_a_server_bills_and_does_not_show_are_paid(stub: Address, tokens: int) -> None:
    """Thinking may stay hidden, all of the answer too. A usage below what came does not make it cheaper."""
    assert asked(stub.url, f"tokens={tokens},mode=hugeusage").billed_out == 10**6
    assert asked(stub.url, f"tokens={tokens},mode=zerousage").billed_out == tokens


def test_a_server_that_is_not_there_had_nothing_to_compute() -> None:
    found = asked(f"http://127.0.0.1:{free_port()}", "any")
    assert (found.text, found.billed_in, found.billed_out) == (None, 0, 0)
    assert "refused" in found.reason


def test_a_key_is_sent_and_never_comes_back(stub: Address) -> None:
    """This server writes the key into its error."""
    told = {"url": stub.url, "model": "mode=status,status=401", "api": "chat", "timeout_s": 5.0}
    found = Endpoint(told, {"name": "FAR_KEY", "value": KEY}).ask("word", 1, 1)
    assert found.reason == "HTTP 401: no: Bearer [key]"


def test_the_worker_of_another_commit_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", KEY)
    cloud = Cloud("http://127.0.0.1:1", "m", price="openai/gpt-5", key_env="FAR_KEY")
    assert key_told({"cloud": cloud}, Place()) == {"key": {"name": "FAR_KEY", "value": KEY}}
    assert key_told({"cloud": replace(cloud, key_env=None)}, Place()) == key_told({}, Place()) == {}
    with pytest.raises(VariantFailed, match="FAR_KEY is a key, and the code of another commit gets no key"):
        key_told({"cloud": cloud}, Place("/elsewhere"))


def test_connections_are_kept(stub: Address) -> None:
    one = Endpoint({"url": stub.url, "model": "tokens=1", "api": "chat", "timeout_s": 5.0})
    assert [one.ask("word", 1, 1).text for _ in range(3)] == [" t0.0"] * 3
    assert len(one._client._idle) == 1


def test_a_request_that_may_have_been_read_is_not_sent_again(stub: Address) -> None:
    """The server reads it over a kept connection, and gives that up without a byte."""
    one = Endpoint({"url": stub.url, "model": "mode=once,tokens=1", "api": "chat", "timeout_s": 5.0})
    found = [one.ask("word", GUESSED_IN, ASKED_OUT) for _ in range(4)]
    assert [answer.text for answer in found] == [" t0.0", None, " t0.0", None]
    assert "before it answered" in found[1].reason
    assert (found[1].billed_in, found[1].billed_out) == (GUESSED_IN, ASKED_OUT)


def test_a_connection_that_was_closed_while_nobody_asked_costs_no_answer(stub: Address) -> None:
    one = Endpoint({"url": stub.url, "model": "mode=idle,tokens=1", "api": "chat", "timeout_s": 5.0})
    for _turn in range(3):
        assert one.ask("word", 1, 1).text == " t0.0"
        time.sleep(0.2)


# ---- the cascade ---------------------------------------------------------------------------------


class Scripted:
    """A server whose answers are data."""

    def __init__(self, *answers: ApiAnswer) -> None:
        self.left, self.asked = list(answers), list[tuple[str, int, int]]()

    def ask(self, text: str, input_tokens: int, output_tokens: int) -> ApiAnswer:
        self.asked.append((text, input_tokens, output_tokens))
        return self.left.pop(0)


def toy(path: Path, layers: int) -> Path:
    saved(transformers.LlamaConfig(**{**sizes(96), "num_hidden_layers": layers}), path)
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("toys")
    return toy(place / "small", 1), toy(place / "large", 2)


def test_the_servers_answer_is_taken_and_where_none_comes_the_edges_stands(models: tuple[Path, Path]) -> None:
    edge, cloud = (runtime.load(path, Options(device="cpu", threads=1)) for path in models)
    far = Scripted(ApiAnswer("abc", 0.5, 9, 3), ApiAnswer(None, 0.1, reason="HTTP 429"))
    made = ApiCascade(edge, cloud, log_probability.RULE, 0.0, Link(LinkSettings()), same_tokens=True, api=far)
    prompts = [[*made.begin_ids(), *made.encode(text)] for text in ("one", "other")]
    answers = made.tokens(made.prefill(prompts, 4))
    assert made.text(answers[0]) == "abc"
    first, second = made.cascaded()
    made.threshold = -math.inf
    assert made.tokens(made.prefill([prompts[1]], 4)) == [answers[1]], "the edge's own"
    assert [text for text, _n_in, _n_out in far.asked] == ["one", "other"]
    assert {n_out for _text, _n_in, n_out in far.asked} == {4}
    assert (first.cloud_s, first.link_s, first.billed_in, first.billed_out) == (0.5, 0.0, 9, 3)
    assert (first.sent_bytes, first.received_bytes, first.from_cloud) == (3, 3, True)
    assert (second.cloud_s, second.link_s, second.reached, second.from_cloud) == (0.0, 0.1, False, False)
    assert second.refused == "HTTP 429"


TERMS = {
    "rule": "margin", "threshold": 0.5, "sure": "above", "same_tokens": False, "edge": "small",
    "edge_usd_per_hour": 0.036, "egress_usd_per_gb": 0.0,
    "cloud": {
        "url": "u", "model": "m", "source": "s", "usd_per_input_token": 2e-6, "usd_per_output_token": 8e-6,
    },
}  # fmt: skip


def test_the_dollars_are_those_of_tokens_and_refusals_are_counted() -> None:
    stayed = Cascaded(0.9, escalated=False, edge_s=0.2)
    went = Cascaded(0.1, True, 0.2, cloud_s=3.0, billed_in=100, billed_out=50)
    lost = Cascaded(
        0.1, True, 0.2, cloud_s=1.0, billed_in=100, billed_out=64, offline=True, refused="no answer"
    )
    no = Cascaded(0.1, True, 0.2, link_s=0.1, offline=True, refused="HTTP 429")
    steps = ({"step": "cascade: margin", "checks": [], "cascade": TERMS},)
    arm = arm_record("v", cascaded=(stayed, went, lost, no, no), loaded=replace(loaded(), evidence=steps))
    run = run_record(arm_record(), arm)
    found = cascade.figures(arm, run)
    usd = 200 * 2e-6 + 114 * 8e-6
    cloud, rate = found["cloud_usd_per_request"], found["escalation_rate"]
    assert cloud is not None
    assert rate is not None
    assert cloud.value == pytest.approx(usd / 5)
    assert eval(cascade.worked(arm, run)["cloud_usd_per_request"]) == pytest.approx(usd / 5)
    assert (rate.value, rate.notes["reached"]) == (0.8, 2)
    assert rate.notes["refused"] == [["HTTP 429", 2], ["no answer", 1]]


def test_the_price_of_a_token_from_the_list() -> None:
    """GPT-5: 1.25 dollars a million tokens in, 10 out."""
    assert token_usd("openai/gpt-5", date(2026, 11, 27)) == (pytest.approx(1.25e-6), pytest.approx(10e-6))


@pytest.mark.usefixtures("warm_workers")
def test_a_run_with_a_server_that_answers_and_one_that_refuses(
    stub: Address, models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the config to the page, in forked workers. The stub counts the words of a prompt as its tokens,
    and its refusals quote the key."""

    def row(name: str, model: str) -> dict[str, Any]:
        usd = {"usd_per_1m_input": 2.0, "usd_per_1m_output": 8.0}
        cloud = {"url": stub.url, "model": model, "key_env": "FAR_KEY", **usd}
        edge = {"model": str(models[0]), "usd_per_hour": 0.036}
        return {
            "name": name,
            "optimise": [{"cascade": "log-probability", "edge": edge, "threshold": 0.0, "cloud": cloud}],
        }

    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "a", "lang": "en", "prompt": "Ice is", "choices": [" a", " b"], "right": 0}\n')
    config = {
        "name": "far", "model": {"path": str(models[1])}, "runtime": {"device": "cpu", "threads": 1},
        "workload": {"name": "chat", "requests": 3, "output_tokens": 4},
        "variants": [row("far", "tokens=4"), row("busy", "mode=status,status=429")],
        "price": {"usd_per_hour": 0.36}, "drift": {"tokens": 0, "suites": ["own"], "items": str(items)},
        "measure": {"processes": 1, "max_rounds": 1},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAR_KEY", KEY)
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)
    monkeypatch.setattr(noise, "disturbed", lambda before, after, accepted: False)
    directory = run_spec(read_config(tmp_path / "config.yaml"), tmp_path / "results")
    record, run = load_record(directory), load_run(directory)
    assert [arm.status for arm in record.arms] == ["ok"] * 3, [arm.reason for arm in record.arms]
    _base, far, busy = record.arms
    assert all(one.billed_out == 4 and one.billed_in > 0 and one.from_cloud for one in far.cascaded)
    cloud_usd = run.rows[1].figure("cloud_usd_per_request")
    assert cloud_usd is not None
    by_hand = sum(one.billed_in * 2e-6 + one.billed_out * 8e-6 for one in far.cascaded) / 3
    assert cloud_usd.value == pytest.approx(by_hand)
    assert all(one.refused.startswith("HTTP 429") and not one.billed_in for one in busy.cascaded)
    kept = [path for path in directory.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY[:16].encode() in path.read_bytes()]
    assert "so it saves money beside that server alone while less than" in cascade_words(run.rows[1])
    words = cascade_words(run.rows[2])
    assert "HTTP 429: no: Bearer [key]" in words
    assert "and of 3 no answer came, so the edge's stood: HTTP 429: no" in words
    assert "no answer came" in markdown.render([run])
    assert "a server elsewhere gives no likelihoods" in far.suites_reason
    assert (
        "a server elsewhere has another tokenizer" in far.drift_reason
        or far.drift_reason == "drift.tokens is 0"
    )
    options, why = cascades_of(run, dict(run.rows[1].workload), Slo())
    assert options == ()
    assert "a server elsewhere, which bills tokens" in why[0]
    assert verify_run(directory)
