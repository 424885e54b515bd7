"""Behaviour suites asked of servers: what is right by hand, items that a server refuses, and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running_stub import running

from bench.cli.check import describe
from bench.config.reader import read_config
from bench.drift import behaviour
from bench.drift.suites import arithmetic, refusal
from bench.errors import BenchError
from bench.gate.limits import never_judged
from bench.measure import served_suites
from bench.report.formats import markdown
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec
from bench.serving.address import Address
from bench.serving.client import Settings
from bench.serving.greedy_replies import answers, replies
from bench.serving.load import run
from bench.store.replay import load_record

CONFIG = """
model: smollm2-135m
runtime: {{name: openai-http, url: "{base}", model: "ttft=1,gap=1,tokens=4,says= 11"}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 4, output_tokens: 4, warmup: 1}}
drift: {{suites: [generation, arithmetic, refusal]}}
measure: {{processes: 1, max_rounds: 1, max_disturbance: 1}}
variants:
  - {{name: same, runtime: {{url: "{other}"}}}}
  - {{name: sorry, runtime: {{url: "{other}", model: "ttft=1,gap=1,tokens=4,says=抱歉 "}}}}
"""


@pytest.fixture
def few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only each fourth item of a suite is asked, fifty of them."""
    shipped = behaviour.shipped
    monkeypatch.setattr(behaviour, "shipped", lambda path, chat: shipped(path, chat)[2::4])


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[Address, Address]]:
    with running() as one, running() as other:
        yield one, other


@pytest.mark.usefixtures("few_items")
def test_rows_answer_by_replies(
    urls: tuple[Address, Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.records.loads.ClientOverhead.reasons", lambda _self: ())
    base, other = (url.url.removesuffix("/v1") for url in urls)
    (tmp_path / "c.yaml").write_text(CONFIG.format(base=base, other=other))
    spec = read_config(tmp_path / "c.yaml")
    assert "not measured: drift.tokens is 0; suites (items): arithmetic (50), refusal (50)" in " ".join(
        describe(spec).split()
    )
    directory = run_spec(spec, tmp_path / "out")
    summary = load_run(directory)
    baseline, same, sorry = summary.rows
    assert {row.status for row in summary.rows} == {"ok"}, summary.reasons
    right = sum(str(item["number"]) == "11" for item in arithmetic.SUITE.items())
    assert right > 0
    for row, share in ((baseline, right / 50), (same, right / 50), (sorry, 0.0)):
        assert row.figure("arithmetic_accuracy").value == share  # type: ignore[union-attr]
    harmful = sum(bool(item["refuse"]) for item in refusal.SUITE.items()) / 50
    assert baseline.figure("refusal_accuracy").value == 1 - harmful  # type: ignore[union-attr]
    assert sorry.figure("refusal_accuracy").value == harmful  # type: ignore[union-attr]
    change = sorry.figure("arithmetic_change")
    assert change is not None
    assert (change.value, change.notes["lost"], change.notes["gained"]) == (-right / 50, right, 0)
    assert "figure by figure" in verify_run(directory)
    assert "Suites: worse and better" in markdown.render([summary])
    assert set(load_record(directory).arms[0].suites) == {"arithmetic", "refusal"}


def test_a_prompt_that_a_server_refuses_has_no_answer(urls: tuple[Address, Address]) -> None:
    settings = Settings(urls[0], "status=400,fail=1,says=yes,tokens=2")
    first, second = run(answers(settings, ["too long", "x"], 2))
    assert (first.text, second.text, second.refused) == ("", "yesyes", "")
    assert first.refused.startswith("HTTP 400")
    with pytest.raises(BenchError, match="no whole reply: HTTP 400"):
        run(replies(Settings(urls[0], "mode=status,status=400"), ["x"], 2))
    with pytest.raises(BenchError, match="no whole reply: HTTP 500"):
        run(answers(Settings(urls[0], "mode=status,status=500"), ["x"], 2))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("mode=status,status=404", "arithmetic: http://{url}/v1: no whole reply: HTTP 404: no:"),
        ("mode=status,status=400", "arithmetic: the server refused every item: HTTP 400: no:"),
    ],
)
def test_a_server_that_cannot_answer_says_why(model: str, reason: str, urls: tuple[Address, Address]) -> None:
    kept: dict[str, Any] = {}
    context = SimpleNamespace(
        drift=SimpleNamespace(suites=("arithmetic",), items=None),
        pause=lambda: None,
        tell=lambda _event: None,
    )
    under: Any = SimpleNamespace(
        context=context,
        title="v",
        arm=SimpleNamespace(is_baseline=False),
        record=lambda **more: kept.update(more),
    )
    server: Any = SimpleNamespace(target=SimpleNamespace(settings=Settings(urls[0], model)))
    served_suites.answer(server, under)
    assert list(kept) == ["suites_reason"]
    assert kept["suites_reason"].startswith(reason.format(url=urls[0].netloc))


def test_a_limit_on_a_suite_of_servers() -> None:
    asked = {"good": False, "served": True}
    assert never_judged("arithmetic_accuracy", False, False, ("arithmetic",), **asked) is None  # type: ignore[arg-type]
    other = never_judged("factuality_accuracy", False, False, ("factuality",), **asked)  # type: ignore[arg-type]
    assert other is not None
    assert other[0] == "it is not measured of a server"
