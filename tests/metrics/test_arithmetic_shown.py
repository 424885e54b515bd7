"""The arithmetic that `bench explain` shows gives the figure it stands for, in every kind of row."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fakes import arm_record, run_record
from rich_rows import rows, solo

from bench.metrics import families
from bench.records import RunRecord
from bench.stats.figure import value_of

ONLY_ARITHMETIC = re.compile(r"[0-9.e+\-*/() ]+")
FAMILIES = [module for module in families() if hasattr(module, "worked")]
SHOWN = {
    "request_throughput", "output_throughput", "total_token_throughput", "prefill_throughput",
    "decode_throughput", "ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "cost_per_1k_tokens_usd",
    "cost_per_1k_input_tokens_usd", "cost_per_1k_output_tokens_usd", "cost_per_request_usd",
    "cost_per_1m_tokens_all_on_input", "cost_per_1m_tokens_all_on_output", "request_goodput", "good_fraction",
    "cost_per_good_request_usd", "cost_per_1k_characters_usd", "characters_per_token", "escalation_rate",
    "edge_usd_per_request", "cloud_usd_per_request", "egress_usd_per_request", "energy_per_request_j",
    "energy_per_output_token_j", "energy_net_per_request_j", "energy_net_per_output_token_j", "mbu", "mfu",
    "gpu_busy_share", "cost_per_answer_usd", "answer_tokens", "reasoning_tokens",
    "acceptance_rate", "acceptance_length", "speculation_speedup", "split_prompt_ms", "split_step_ms",
    "split_bytes_per_token", "split_cost_per_1k_tokens_usd",
}  # fmt: skip


def run() -> RunRecord:
    return replace(run_record(*rows(), utilisation=0.6), spec={"slo": {"ttft_ms": 6.0, "e2el_ms": 9.5}})


@pytest.mark.parametrize("name", [row.name for row in rows()])
def test_the_arithmetic_is_the_figure(name: str) -> None:
    record = run()
    (arm,) = (row for row in record.arms if row.name == name)
    found = 0
    for family in FAMILIES:
        figures = family.figures(arm, record)
        for key, arithmetic in family.worked(arm, record).items():
            assert ONLY_ARITHMETIC.fullmatch(arithmetic), arithmetic
            assert eval(arithmetic) == pytest.approx(value_of(figures[key]), rel=1e-4), (key, arithmetic)
            found += 1
    assert found >= 8


def test_every_figure_that_should_be_shown_is() -> None:
    record = run()
    shown = {key for family in FAMILIES for arm in record.arms for key in family.worked(arm, record)}
    assert shown >= SHOWN, SHOWN - shown


def test_a_row_without_a_pass_shows_nothing() -> None:
    bare = arm_record(status="oom_host", loaded=None, warm_up=None)
    assert not any(family.worked(bare, run_record(bare)) for family in FAMILIES)


def test_no_request_is_good() -> None:
    record = replace(run_record(arm_record(solo=solo(2.0))), spec={"slo": {"ttft_ms": 1.0}})
    shown = {key: one for family in FAMILIES for key, one in family.worked(record.arms[0], record).items()}
    assert shown["good_fraction"] == "0 / 6"
    assert "cost_per_good_request_usd" not in shown
