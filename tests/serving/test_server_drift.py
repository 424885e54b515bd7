"""Drift of a server: exact over the whole vocabulary, a lower bound over its top, and refused without ids."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from samples_of_serving import sample

from bench.errors import BenchError
from bench.metrics.requests import Limits
from bench.records import DriftWindow
from bench.records.loads import ClientOverhead
from bench.serving import distributions, record
from bench.serving.address import Address
from bench.serving.distributions import Asker, route_of
from bench.serving.drift import Drift
from bench.serving.load import Load
from bench.worker.external_logprobs import compared

SERVER = Asker(Address("http", "127.0.0.1", 1), "served")
VOCABULARY = 50


class Fixed:
    """An engine whose logits are data."""

    def __init__(self, logits: torch.Tensor) -> None:
        self._logits = logits

    def logits(self, _ids: list[int]) -> torch.Tensor:
        return self._logits


def made(seed: int) -> torch.Tensor:
    return torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


def top(rows: torch.Tensor, k: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The k likeliest tokens of each row, in an order of no meaning."""
    found = [row.log_softmax(-1).topk(k) for row in rows]
    return [(one.indices.flip(0).int(), one.values.flip(0)) for one in found]


def test_the_whole_vocabulary_gives_the_exact_divergence() -> None:
    base, other = made(1), made(2)
    ids = [7, 3, 11, 5]
    found = compared(Fixed(base), ids, top(other[:-1], VOCABULARY))  # type: ignore[arg-type]
    p, q = base[:-1].double().softmax(-1), other[:-1].double().softmax(-1)
    assert found["exact"] is True
    assert found["kld"] == pytest.approx((p * (p / q).log()).sum(-1).tolist(), rel=1e-5)
    assert found["same_top"] == (p.argmax(-1) == q.argmax(-1)).int().tolist()
    assert found["ln_p_variant"] == pytest.approx([math.log(q[at, ids[at + 1]]) for at in range(3)], rel=1e-5)
    same = compared(Fixed(base), ids, top(base[:-1], VOCABULARY))  # type: ignore[arg-type]
    assert max(same["kld"]) < 1e-9


@pytest.mark.parametrize("k", [1, 5, 20, 49])
def test_the_likeliest_tokens_give_a_lower_bound(k: int) -> None:
    base, other = made(1), made(2)
    ids = [7, 3, 11, 5]
    exact = compared(Fixed(base), ids, top(other[:-1], VOCABULARY))  # type: ignore[arg-type]
    found = compared(Fixed(base), ids, top(other[:-1], k))  # type: ignore[arg-type]
    assert found["exact"] is False
    assert all(0 <= low <= true + 1e-6 for low, true in zip(found["kld"], exact["kld"], strict=True))
    assert found["same_top"] == exact["same_top"]
    for at, value in enumerate(found["ln_p_variant"]):
        there = ids[at + 1] in other[at].topk(k).indices
        assert value == (pytest.approx(exact["ln_p_variant"][at], rel=1e-5) if there else None)


def answers(monkeypatch: pytest.MonkeyPatch, of: Callable[[str, dict[str, Any]], object]) -> None:
    async def fetch(_server: Address, path: str, _key: object, body: Any, *_: object, **__: object) -> object:
        found = of(path, body)
        if found is None:
            raise BenchError("HTTP 404")
        return found

    monkeypatch.setattr(distributions, "fetch", fetch)


def vllm(most: int) -> Callable[[str, dict[str, Any]], object]:
    def answer(path: str, body: dict[str, Any]) -> object:
        count = VOCABULARY if body.get("logprobs") == -1 else body.get("logprobs", 0)
        if path != "/v1/completions" or count > most:
            return None
        row = {f"token_id:{one}": -float(one) for one in range(count)}
        return {"choices": [{"logprobs": {"top_logprobs": [row]}}]}

    return answer


def llama(path: str, body: dict[str, Any]) -> object:
    if not body.get("logit_bias"):
        return {"completion_probabilities": []}  # the likeliest token is part of a letter
    rows = [{"id": one, "token": "x", "logprob": -float(one)} for one in range(body.get("n_probs", 0))][
        :VOCABULARY
    ]
    return {"completion_probabilities": [{"top_logprobs": rows}]} if path == "/completion" else None


def by_text(path: str, _body: dict[str, Any]) -> object:
    return (
        {"choices": [{"logprobs": {"top_logprobs": [{" a": -1.0}]}}]} if path == "/v1/completions" else None
    )


@pytest.mark.parametrize(
    ("server", "name", "most"),
    [(vllm(VOCABULARY), "logprobs of /completions", None), (llama, "n_probs of /completion", None),
     (vllm(20), "logprobs of /completions", 20)],
)  # fmt: skip
def test_the_route_that_shows_most(
    server: Callable[[str, dict[str, Any]], object], name: str, most: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answers(monkeypatch, server)
    route = asyncio.run(route_of(SERVER, VOCABULARY, [1, 2]))
    assert (route.name, route.top) == (name, most)
    found = asyncio.run(route.ask([1, 2]))  # type: ignore[arg-type]
    assert found == {one: -float(one) for one in range(most or VOCABULARY)}


@pytest.mark.parametrize("server", [by_text, lambda _path, _body: None, lambda _path, _body: {"choices": []}])
def test_a_server_without_distributions_by_id(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, server)
    with pytest.raises(BenchError, match="no log-probabilities by token id"):
        asyncio.run(route_of(SERVER, VOCABULARY, [1, 2]))


def test_another_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, vllm(VOCABULARY))
    with pytest.raises(BenchError, match="gave 50 tokens up to 49, and the baseline has 51"):
        asyncio.run(route_of(SERVER, VOCABULARY + 1, [1, 2]))


def test_a_load_with_its_drift_is_computed_again_from_its_journal(tmp_path: Path) -> None:
    window = DriftWindow((0.1, 0.3), (1, 0), (-1.0, -2.0), (-1.1, None))  # type: ignore[arg-type]
    drift = Drift("smollm2-135m", "english", "a route", 20, "the same", (window,) * 5)
    load = Load((sample(),), ClientOverhead(0, 0, 0, 0, 0, 0, "asyncio"))
    done = record.result({"target": "x", "model": "y", "schedule": "z"}, load, Limits({}), None, drift)
    record.write(tmp_path, done, lambda: "2026-11-27T00:00:00Z", None)
    summary = json.loads((tmp_path / "load.json").read_text())
    assert summary["figures"]["kld_mean"]["value"] == pytest.approx(0.2)
    assert summary["figures"]["ppl_ratio"] is None, "the true token was not among the server's"
    assert summary["drift"]["top"] == 20
    head, again, slo, price, kept = record.read(tmp_path)
    assert kept == drift
    assert record.result(head, again, Limits(slo), price, kept).to_json() == done.to_json()


@pytest.mark.parametrize(
    "row",
    [
        {"token_id:-1": -1.0}, {"token_id:1000000000000": -1.0}, {"token_id:0": math.nan},
        {"token_id:0": math.inf}, {"token_id:0": 10**400}, {"token_id:x": -1.0}, {"token_id:0": None},
    ],
    ids=["below 0", "no vocabulary", "nan", "inf", "huge", "text", "none"],
)  # fmt: skip
def test_numbers_that_no_server_can_mean(monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]) -> None:
    """A token id is the size of an array, and what is no number would be in every figure."""
    rows = [{"id": name.removeprefix("token_id:"), "logprob": value} for name, value in row.items()]
    both = {
        "choices": [{"logprobs": {"top_logprobs": [row]}}],
        "completion_probabilities": [{"top_logprobs": rows}],
    }
    answers(monkeypatch, lambda _path, _body: both)
    for asked in (SERVER.completion([1], 1), SERVER.llama([1], 1)):
        with pytest.raises(BenchError, match="the reply has no"):
            asyncio.run(asked)


def test_a_probability_of_0_is_as_servers_usually_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"token_id:0": -math.inf, "token_id:1": 0.0}
    answers(monkeypatch, lambda _path, _body: {"choices": [{"logprobs": {"top_logprobs": [row]}}]})
    assert asyncio.run(SERVER.completion([1], 1)) == {0: distributions.LEAST_LN, 1: 0.0}
