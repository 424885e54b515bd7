"""Good requests: which meet the limits, what one costs, and what a run without limits has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from journals import write_run

from bench.errors import ExitCode
from bench.metrics import cost, goodput
from bench.records import ArmRecord, RunRecord
from bench.report.row_sentence import good_words, sentence
from bench.results.summarise import summarise
from bench.stats.figure import value_of
from bench.store.replay import load_record


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return load_record(write_run(tmp_path / "run"))


def under(record: RunRecord, **limits: float) -> RunRecord:
    return replace(record, spec={**record.spec, "slo": limits})


def times(arm: ArmRecord) -> list[tuple[float, float, float]]:
    """Milliseconds of each request: to the first token, for a further one, in all."""
    return [
        (1e3 * one.prefill_s, 1e3 * one.decode_s / (len(one.stamps_ns) - 1), 1e3 * one.duration_s)
        for one in arm.solo
        for _ in range(one.requests)
    ]


def test_without_limits_there_are_no_figures(record: RunRecord) -> None:
    assert goodput.figures(record.arms[0], record) == {}
    assert goodput.worked(record.arms[0], record) == {}
    assert "request_goodput" not in dict(summarise(record).rows[0].figures())


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_limit_parts_the_requests(record: RunRecord, which: int) -> None:
    """At the median of each time half of them, or more, are good."""
    arm = record.arms[0]
    spent = sorted(one[which] for one in times(arm))
    most = spent[len(spent) // 2 - 1]
    found = goodput.figures(arm, under(record, **{goodput.LIMITS[which]: most}))
    good = sum(one <= most for one in spent)
    assert value_of(found["good_fraction"]) == good / len(spent)
    wall_s = (max(one.end_ns for one in arm.solo) - min(one.sent_ns for one in arm.solo)) / 1e9
    assert value_of(found["request_goodput"]) == pytest.approx(good / wall_s)
    each = value_of(cost.figures(arm, record)["cost_per_request_usd"])
    assert each is not None
    assert value_of(found["cost_per_good_request_usd"]) == pytest.approx(each * len(spent) / good)


def test_all_limits_must_be_met(record: RunRecord) -> None:
    arm = record.arms[0]
    first, further, whole = (max(column) for column in zip(*times(arm), strict=True))
    every = under(record, ttft_ms=first, tpot_ms=further, e2el_ms=whole)
    assert value_of(goodput.figures(arm, every)["good_fraction"]) == 1
    assert good_words(summarise(every), summarise(every).rows[0]) == ""
    one_missed = under(record, ttft_ms=first, tpot_ms=further, e2el_ms=1e-3)
    assert value_of(goodput.figures(arm, one_missed)["good_fraction"]) == 0


def test_no_good_request_has_no_price(record: RunRecord) -> None:
    """It is missing, and not infinite; the row says why."""
    run = summarise(under(record, ttft_ms=1e-6))
    for row in run.rows:
        if row.ok:
            assert row.figure("cost_per_good_request_usd") is None
            assert "no good request: none met every limit" in sentence(run, row)


def test_answers_as_a_whole_have_no_first_token(record: RunRecord) -> None:
    arm = record.arms[0]
    whole = replace(arm, solo=tuple(replace(one, stamps_ns=one.stamps_ns[-1:]) for one in arm.solo))
    assert set(goodput.figures(whole, under(record, ttft_ms=1e6)).values()) == {None}
    assert value_of(goodput.figures(whole, under(record, e2el_ms=1e6))["good_fraction"]) == 1


# ---- in a config ---------------------------------------------------------------------------------


def check(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """How `bench check` ends, and what it says."""
    from typer.testing import CliRunner

    from bench.cli.main import app
    from bench.errors import BenchError

    (tmp_path / "my.yaml").write_text(f"model: {{random: tiny-llama}}\n{text}")
    found = CliRunner().invoke(app, ["check", str(tmp_path / "my.yaml")])
    if isinstance(found.exception, BenchError):
        return int(found.exception.exit_code), str(found.exception)
    return found.exit_code, found.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slo: {}", "give ttft_ms, tpot_ms or e2el_ms"),
        ("slo: {ttft_ms: 0}", "greater than 0"),
        ("slo: {ttft: 500}", "ttft_ms"),
        ("gate: {good_fraction: {min: 0.9}}", "say what a good request is"),
    ],
)
def test_what_a_config_cannot_say(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = check(tmp_path, text, capsys)
    assert code == ExitCode.USAGE
    assert words in said
    assert "my.yaml:2" in said


def test_a_config_with_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "slo: {ttft_ms: 500, tpot_ms: 50}\ngate: {good_fraction: {min: 0.9}}"
    assert check(tmp_path, text, capsys)[0] == ExitCode.OK
