"""Drift between two servers: the values of a window, the windows, and the rows of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from running_stub import running

from bench.config.reader import read_config
from bench.errors import BenchError
from bench.report.formats import markdown
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec
from bench.serving import server_drift
from bench.serving.address import Address
from bench.serving.distributions import Asker, Route
from bench.serving.load import run
from bench.serving.server_drift import compared, distributions_of, must_have_same_tokens, scoring_of
from bench.store.replay import load_record

VOCABULARY = 50
TEXT = "one two three four five six seven eight nine ten " * 20


def rows(seed: int) -> np.ndarray:
    """Log-probabilities of three positions, as a server rounds them."""
    logits = np.random.default_rng(seed).normal(0, 3, (3, VOCABULARY))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def test_a_window_by_a_plain_loop() -> None:
    base, other, ids = rows(1), rows(2), (7, 3, 11, 5)
    found = compared(ids, base, other)
    for place, (p, q) in enumerate(zip(base.tolist(), other.tolist(), strict=True)):
        plain = sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
        assert found.kld[place] == pytest.approx(plain, rel=1e-5)
        assert found.same_top[place] == (p.index(max(p)) == q.index(max(q)))
        assert found.ln_p_base[place] == pytest.approx(p[ids[place + 1]], abs=1e-6)
        assert found.ln_p_variant[place] == pytest.approx(q[ids[place + 1]], abs=1e-6)
    assert max(compared(ids, base, base).kld) == 0.0


def test_other_vocabularies_are_not_compared() -> None:
    with pytest.raises(BenchError, match="vocabulary of 49, the baseline's is 50"):
        compared((7, 3, 11, 5), rows(1), rows(1)[:, :49])


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[Address, Address]]:
    with running() as one, running() as other:
        yield one, other


def test_windows_begin_as_the_server_begins_texts(urls: tuple[Address, Address]) -> None:
    asker = Asker(urls[0], f"vocabulary={VOCABULARY}")
    scoring = run(scoring_of(asker, TEXT, 16, 40))
    assert [len(window) for window in scoring.windows] == [16, 16]
    beginnings = [window[:3] for window in scoring.windows]
    assert beginnings == [(49, 3, 3), (49, 3, 5)]  # the stub begins a text with 49
    run(must_have_same_tokens(asker, scoring))
    first = run(distributions_of(asker, scoring.windows))
    assert [one.shape for one in first] == [(15, VOCABULARY)] * 2
    assert np.exp(first[0].astype(float)).sum(1) == pytest.approx(np.ones(15), rel=1e-5)
    with pytest.raises(BenchError, match="has 200 tokens, a window 300"):
        run(scoring_of(asker, TEXT, 300, 300))


def test_what_a_server_must_lend(urls: tuple[Address, Address]) -> None:
    silent = Asker(urls[0], "stub")
    with pytest.raises(BenchError, match="does not give its distribution over the whole vocabulary"):
        run(distributions_of(silent, [(1, 2)]))
    with pytest.raises(BenchError, match="does not lend its tokenizer"):
        run(scoring_of(Asker(Address("http", "127.0.0.1", 9), "stub"), TEXT, 16, 16))


@pytest.mark.parametrize(
    "later",
    [{0: -1.0, 1: -1.0}, {0: -1.0, 2: -1.0}, {0: -1.0, 1: -1.0, 2: -2.0, 3: -3.0}, {}],
    ids=["fewer", "a token is missing", "more", "none"],
)
def test_a_server_that_shows_its_whole_vocabulary_only_at_first(
    monkeypatch: pytest.MonkeyPatch, later: dict[int, float]
) -> None:
    """What is missing has no known probability, so it is not taken for impossible."""

    async def ask(ids: Sequence[int]) -> dict[int, float]:
        return {0: -1.0, 1: -1.0, 2: -2.0} if len(ids) == 1 else later

    async def route(_asker: Asker, _ids: Sequence[int]) -> Route:
        return Route("scripted", None, ask)

    monkeypatch.setattr(server_drift, "whole_route", route)
    with pytest.raises(BenchError, match="whole vocabulary for some prompts and not for others"):
        run(distributions_of(Asker(Address("http", "127.0.0.1", 9), "stub"), [(1, 2, 3)]))


CONFIG = """
model: smollm2-135m
runtime: {{name: openai-http, url: "{base}", model: "ttft=2,gap=1,vocabulary=50"}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 4, output_tokens: 4, warmup: 1}}
drift: {{tokens: 96, window: 16}}
measure: {{processes: 2, max_rounds: 1, max_disturbance: 1}}
variants:
  - {{name: same, runtime: {{url: "{other}"}}}}
  - {{name: tilted, runtime: {{url: "{other}", model: "ttft=2,gap=1,vocabulary=50,tilt=0.5"}}}}
  - {{name: smaller, runtime: {{url: "{other}", model: "ttft=2,gap=1,vocabulary=49"}}}}
  - {{name: silent, runtime: {{url: "{other}", model: "ttft=2,gap=1"}}}}
"""


def test_a_row_has_its_cost_and_its_drift(
    urls: tuple[Address, Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.records.loads.ClientOverhead.reasons", lambda _self: ())
    base, other = (url.url.removesuffix("/v1") for url in urls)
    (tmp_path / "c.yaml").write_text(CONFIG.format(base=base, other=other))
    directory = run_spec(read_config(tmp_path / "c.yaml"), tmp_path / "out")
    summary = load_run(directory)
    baseline, same, tilted, smaller, silent = summary.rows
    assert {row.status for row in summary.rows} == {"ok"}, summary.reasons
    assert [row.drift_reason for row in (baseline, same, tilted)] == [None] * 3
    assert same.figure("kld_mean").value == 0.0  # type: ignore[union-attr]
    kl = tilted.figure("kld_mean")
    assert kl is not None
    assert kl.value == pytest.approx(_tilted_by(0.5), rel=0.05), "the mean over last tokens of the text"
    assert (kl.notes["n"], kl.notes["windows"], kl.notes["noise_floor"]) == (90, 6, 0.0)
    assert baseline.figure("ppl").value == same.figure("ppl").value  # type: ignore[union-attr]
    assert smaller.drift_reason == "drift by text only: smaller: vocabulary of 49, the baseline's is 50"
    assert silent.drift_reason is not None
    assert silent.drift_reason.startswith("drift by text only: silent: the server does not give")
    assert "figure by figure" in verify_run(directory)
    assert len(load_record(directory).arms[2].drift) == 6
    page = markdown.render([summary])
    assert "KL nat" in page
    assert (
        "100.0% of the replies are the same (the baseline itself: 100.0%); drift by text only: silent" in page
    )


def _tilted_by(tilt: float) -> float:
    """The mean KL between the stub's distributions after the lengths of the ten words."""
    found = []
    for last in [3, 3, 5, 4, 4, 3, 5, 5, 4, 3]:
        base = np.array([((7 * one + 13 * last) % 17) / 3 for one in range(VOCABULARY)])
        other = base + tilt * (np.arange(VOCABULARY) % 2)
        ln_p, ln_q = (x - np.log(np.exp(x).sum()) for x in (base, other))
        found.append(float((np.exp(ln_p) * (ln_p - ln_q)).sum()))
    return sum(found) / len(found)


def test_outputs_of_servers_are_compared_if_it_is_asked_for(tmp_path: Path) -> None:
    text = CONFIG.format(base="http://127.0.0.1:1", other="http://127.0.0.1:2")
    (tmp_path / "c.yaml").write_text(text)
    assert read_config(tmp_path / "c.yaml").drift.tokens == 96
    (tmp_path / "c.yaml").write_text(text.replace("drift: {tokens: 96, window: 16}\n", ""))
    assert read_config(tmp_path / "c.yaml").drift.tokens == 0


def test_tokens_outside_of_the_vocabulary_are_not_compared() -> None:
    with pytest.raises(BenchError, match="token 50 of the text is not in the vocabulary of 50"):
        compared((7, 3, 11, 50), rows(1), rows(1))
