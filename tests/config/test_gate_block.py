"""The limits of a gate: each must be on a figure that the config measures."""

from __future__ import annotations

import pytest
from config_files import BASE, Write, changed, refusal

from bench.config.reader import read_config
from bench.errors import ConfigError

pytestmark = pytest.mark.usefixtures("cpu_machine")


@pytest.mark.parametrize(
    ("gate", "key", "words"),
    [
        ("{cost_per_request_us: {max: 1}}", "gate.cost_per_request_us", "'cost_per_request_usd'?"),
        ("{e2el_ms: {max_incrase: 3%}}", "gate.e2el_ms.max_incrase", "did you mean 'max_increase'?"),
        ("{e2el_ms: {}}", "gate.e2el_ms", "give max, min"),
        ("{e2el_ms: {max_increase: 3}}", "gate.e2el_ms.max_increase", "with its unit, such as '3%'"),
        ("{e2el_ms: {max_increase: three}}", "gate.e2el_ms.max_increase", "not a percentage"),
        ("{e2el_ms: {max_increase: -3%}}", "gate.e2el_ms.max_increase", "not a percentage"),
        ("{e2el_ms: {max_increase: 0%}}", "gate.e2el_ms.max_increase", "cannot be shown for what is timed"),
        ("{e2el_ms: {max_decrease: 100%}}", "gate.e2el_ms.max_decrease", "cannot be shown for what is timed"),
        ("{e2el_ms: {max_increase: 1001%}}", "gate.e2el_ms.max_increase", "outside 0 % to 1000 %"),
        ("{e2el_ms: {max_decrease: 500%}}", "gate.e2el_ms.max_decrease", "outside 0 % to 100 %"),
        ("{e2el_ms: {max: '5'}}", "gate.e2el_ms.max", "valid number"),
        ("{e2el_ms: {max: -1}}", "gate.e2el_ms.max", "-1 is impossible: e2el_ms is 0 or more"),
        ("{kld_mean: {max_increase: 3%}}", "gate.kld_mean", "use max or min"),
        ("{exact_match: {max_decrease: 3%}}", "gate.exact_match", "no such figure"),
        ("{kld_mean: {max: 0.1}}", "gate.kld_mean", "does not measure it"),
        ("{top1_agreement: {min: 0.9}}", "gate.top1_agreement", "does not measure it"),
        ("{kld_max: {max: 1}}", "gate.kld_max", "limit kld_p99"),
        ("{energy_per_request_j: {max: 1}}", "gate.energy_per_request_j", "has no interval"),
        ("{energy_per_request_j: {max_increase: 9%}}", "gate.energy_per_request_j", "measured once"),
        ("{mbu: {min: 0.5}}", "gate.mbu", "limit a time or cost_per_request_usd"),
        ("{activation_reach: {max: 1}}", "gate.activation_reach", "limit activations_saturated"),
        ("{activations_saturated: {max_increase: 0%}}", "gate.activations_saturated", "use max"),
        ("{changed_between_runs: {max_increase: 0%}}", "gate.changed_between_runs", "use max"),
        ("{logit_range_ratio: {max_increase: 3%}}", "gate.logit_range_ratio", "use max or min"),
        ("[e2el_ms]", "gate", "must be a block of limits"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(14)
def test_a_limit_is_refused(write: Write, gate: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}gate: {gate}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)


@pytest.mark.parametrize("share", ["0%", "150%", "1000%"])
def test_counted_figures_may_not_grow_at_all_and_any_may_grow_a_lot(write: Write, share: str) -> None:
    spec = read_config(write(f"{BASE}gate: {{flops_per_request: {{max_increase: {share}}}}}\n"))
    assert spec.gate[0][1].max_increase == share


SUITES = changed("{tokens: 0}", "{suites: [refusal, factuality, bias]}")


@pytest.mark.parametrize(
    ("limit", "key"),
    [
        ("{refusal_harmful_change: {min: -0.1}}", "refusal_harmful_change"),
        ("{bias_gender_shift: {min: -2.5, max: 3}}", "bias_gender_shift"),
        ("{factuality_accuracy: {min: 0.5}}", "factuality_accuracy"),
    ],
)  # fmt: skip
def test_a_limit_may_be_whatever_the_figure_may_be(write: Write, limit: str, key: str) -> None:
    assert read_config(write(f"{SUITES}gate: {limit}\n")).gate[0][0] == key


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("{refusal_harmful_change: {min: -2}}", "-2 is impossible: refusal_harmful_change is from -1 to 1"),
        ("{factuality_accuracy: {max: 90}}", "90 is impossible: factuality_accuracy is from 0 to 1 (5 % is"),
        ("{factuality_accuracy: {min: -0.1}}", "-0.1 is impossible"),
    ],
)  # fmt: skip
def test_a_limit_that_no_figure_can_reach_is_refused(write: Write, limit: str, words: str) -> None:
    assert words in str(refusal(write(f"{SUITES}gate: {limit}\n")))


def test_a_limit_on_replies_that_are_left_out(write: Write) -> None:
    text = changed("{tokens: 0}", "{suites: []}") + "gate: {exact_match: {min: 0.5}}\n"
    assert "drift.suites has no generation" in str(refusal(write(text)))


def test_a_limit_on_a_statistic_that_is_not_asked_for(write: Write) -> None:
    text = changed("{random: tiny-llama}", "smollm2-135m") + "gate: {kld_reverse_mean: {max: 0.1}}\n"
    wanted = ["drift.tokens=2048"]
    with pytest.raises(ConfigError, match=r"drift\.statistics has no reverse-kl"):
        read_config(write(text), wanted)
    assert read_config(write(text), [*wanted, "drift.statistics=[reverse-kl]"]).gate


def test_a_limit_on_drift_that_is_switched_off(write: Write) -> None:
    text = changed("{random: tiny-llama}", "smollm2-135m") + "gate: {kld_mean: {max: 0.1}}\n"
    assert "drift.tokens is 0" in str(refusal(write(text)))
    spec = read_config(write(text), ["drift.tokens=2048"])
    assert spec.gate[0][1].max == 0.1


@pytest.mark.parametrize(
    ("metric", "key", "block"),
    [
        ("co2_per_request_g", "g_co2_per_kwh", "{g_co2_per_kwh: 349, date: '2026-06-01', source: the grid}"),
        ("energy_modelled_per_request_j", "modelled_watts", "{modelled_watts: 65}"),
    ],
)
def test_a_limit_on_what_the_energy_block_makes_needs_it(
    write: Write, metric: str, key: str, block: str
) -> None:
    text = f"{BASE}gate: {{{metric}: {{max: 1}}}}\n"
    error = refusal(write(text))
    assert error.key == f"gate.{metric}"
    assert f"give energy: {{{key}: ...}}" in str(error)
    assert [one for one, _limit in read_config(write(f"{text}energy: {block}\n")).gate] == [metric]
