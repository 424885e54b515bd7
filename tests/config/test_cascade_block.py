"""What a config may say of a cascade, and how everything that cannot work is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import plugins
from bench.cli.list_pages import _steps
from bench.config import support
from bench.config.cascade_questions import questions
from bench.config.cascades import edge_of, edge_runtime
from bench.config.reader import read_config
from bench.drift.behaviour import suites_of
from bench.errors import ConfigError, UsageError
from bench.link import LinkSettings
from bench.measure.arm import models_of
from bench.measure.clouds import token_prices
from bench.models.reference import Named
from bench.runs.sides import sides_of

TEXT = """\
name: test
model: smollm2-135m
runtime: {device: cpu, dtype: float32, threads: 2}
workload: {name: chat, requests: 6, output_tokens: 8}
price: {hardware: cloud-2vcpu-8gb}
drift: {tokens: 0}
variants:
  - name: cascade
    optimise:
      - cascade: log-probability
        edge:
          model: smollm2-135m
          usd_per_hour: 0.01
        threshold: -0.5
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())


def read(tmp_path: Path, old: str = "", new: str = "") -> object:
    assert old in TEXT
    file = tmp_path / "test.yaml"
    file.write_text(TEXT.replace(old, new, 1) if old else TEXT)
    return read_config(file)


def test_a_cascade_is_read_with_its_edge(tmp_path: Path) -> None:
    (arm,) = read(  # type: ignore[attr-defined]
        tmp_path,
        "          usd_per_hour: 0.01\n",
        "          watts: 5\n          usd_per_kwh: 0.4\n          threads: 1\n"
        "          optimise: [{prune: depth, keep_layers: 20}]\n",
    ).groups[0].variants  # fmt: skip
    (step,) = arm.optimise
    edge = edge_of(arm.optimise)
    assert edge is not None
    assert edge.hourly_usd == pytest.approx(5 * 0.4 / 1000)
    assert [one.label.partition(" (")[0] for one in edge.optimise] == ["prune depth"]
    assert models_of(step) == {"edge": Named("smollm2-135m")}
    assert edge_runtime(arm.runtime, edge).threads == 1
    assert dict(step.params)["link"] == LinkSettings()
    assert arm.unsupported is None
    assert "smollm2-135m + prune depth" in step.label
    assert "at 0.002 USD/h" in _steps(arm)
    assert hash(arm.optimise)


@pytest.mark.parametrize(
    ("scheme", "threshold", "problem"),
    [
        ("log-probability", "0.1", "threshold must be -1000 to 0, not 0.1"),
        ("entropy", "-0.1", "threshold must be 0 to 1000, not -0.1"),
        ("log-probability", "-1e308", "threshold must be -1000 to 0, not -1e+308"),
        ("entropy", "1e308", "threshold must be 0 to 1000, not 1e+308"),
        ("margin", "1.5", "threshold must be 0 to 1, not 1.5"),
        ("margin", "-0.5", "threshold must be 0 to 1, not -0.5"),
    ],
)
def test_a_threshold_beyond_every_score_is_refused(
    tmp_path: Path, scheme: str, threshold: str, problem: str
) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(TEXT.replace("log-probability", scheme).replace("-0.5", threshold))
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert problem in str(caught.value)
    assert ":10: variants[0].optimise[0]" in str(caught.value)


STEP = "      - cascade: log-probability\n"
EDGE = "          model: smollm2-135m\n"
PRICED = "          usd_per_hour: 0.01\n"
LAST = "        threshold: -0.5\n"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (PRICED, "", "no device is free"),
        (PRICED, "          usd_per_hour: 0\n", "no device is free"),
        (PRICED, "          usd_per_hour: 1e-300\n", "no device is free"),
        (PRICED, "          usd_per_hour: -1\n", "usd_per_hour must be 0 to 1000"),
        (PRICED, "          usd_per_hour: .nan\n", "usd_per_hour"),
        (PRICED, "          watts: 5\n", "watts and usd_per_kwh go together"),
        (PRICED, PRICED + "          threads: 0\n", "threads must be 1 to 1024"),
        (PRICED, PRICED + "          usd_per_our: 1\n", "unknown key"),
        (EDGE, "          model: smollm2-13m\n", "smollm2"),
        (EDGE, "          model: ./nowhere/else\n", "no model directory"),
        (EDGE, "          model: http://127.0.0.1:8000\n", "edge.model: an address is no model"),
        (EDGE, EDGE + "          optimise: [{prune: dept}]\n", "did you mean 'depth'"),
        (EDGE, EDGE + "          optimise: [{prune: depth, keep_layers: 30}]\n", "the model has 30"),
        (EDGE, EDGE + "          optimise: [{speculate: prompt-lookup}]\n", "have no scores"),
        (
            EDGE,
            EDGE + "          optimise: [{cascade: margin, threshold: 0.1, edge: {model: smollm2-135m, "
            "usd_per_hour: 1}}]\n",
            "an edge model cannot be a cascade itself",
        ),
        (EDGE, EDGE + "          optimise: [{quantise: bnb-nf4}, {prune: magnitude}]\n", "dense weights"),
        (LAST, "", "threshold"),
        (LAST, LAST + "        egress_usd_per_gb: -1\n", "egress_usd_per_gb must be 0"),
        (LAST, LAST + "        link: {round_trip_ms: -4}\n", "round_trip_ms"),
        (LAST, LAST + "        link: {round_trip: 4}\n", "unknown key"),
        (LAST, LAST + "      - {prune: magnitude}\n", "comes after a cascade"),
        (
            LAST,
            LAST + "      - {cascade: margin, threshold: 0.1, edge: {model: smollm2-135m, "
            "usd_per_hour: 1}}\n",
            "optimise[1]: cascade margin comes after a cascade",
        ),
        ("variants:\n  - name: cascade\n    optimise:\n", "optimise:\n", "the baseline cannot be a cascade"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, old, new)
    assert problem in str(caught.value)
    assert "test.yaml" in str(caught.value)


def test_another_engine_has_no_cascade(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is for runtime transformers"):
        read(tmp_path, "runtime: {device: cpu,", "runtime: {name: numpy, device: cpu,")


LEARNT = "      - cascade: learnt\n        {form}: {name}\n"


@pytest.mark.parametrize(
    ("form", "name", "words"),
    [
        ("choices", "arithmetic", "no suite of closed questions is called 'arithmetic'"),
        ("replies", "factuality", "no suite of questions with a reply is called 'factuality'"),
        ("replies", "arithmetics", "did you mean 'arithmetic'"),
        ("choices", "own", "there are "),
    ],
)
def test_a_rule_learns_from_questions_of_its_form(tmp_path: Path, form: str, name: str, words: str) -> None:
    text = TEXT.replace("threshold: -0.5", "threshold: 0.5")
    file = tmp_path / "test.yaml"
    file.write_text(text.replace("      - cascade: log-probability\n", LEARNT.format(form=form, name=name)))
    with pytest.raises(ConfigError, match=words) as found:
        read_config(file)
    assert f"{form}" in str(found.value)


def test_the_halves_of_a_suite_have_every_question_once(tmp_path: Path) -> None:
    """What is asked in two languages is on one half, and both halves are large."""
    found = questions({"choices": "factuality", "replies": "arithmetic"})
    assert found is not None
    for form, suite in zip(("choices", "replies"), suites_of(["factuality", "arithmetic"]), strict=True):
        ours = {item["id"] for item in found[form]["items"]}
        assert 0.4 < len(ours) / len(suite.items()) < 0.6
        assert found[form]["tokens"] == suite.output_tokens
        for item in suite.items():
            twin = item["id"].replace("-en-", "-zh-")
            assert twin in ours or item["id"] not in ours or twin not in {one["id"] for one in suite.items()}
    assert questions({"threshold": 0.5}) is None


COSTS = "gate: {cost_per_request_usd: {max_increase: 5%}, escalation_rate: {max: 0.4}}\n"


def test_a_cascade_may_have_limits(tmp_path: Path) -> None:
    spec = read(tmp_path, "drift: {tokens: 0}\n", COSTS + "drift: {tokens: 0}\n")
    assert [key for key, _limit in spec.gate] == ["cost_per_request_usd", "escalation_rate"]  # type: ignore[attr-defined]
    assert sides_of(spec, None) == spec.groups  # type: ignore[arg-type, attr-defined]


@pytest.mark.parametrize("key", ["ttft_ms", "tpot_ms", "output_throughput", "kld_mean", "top1_agreement"])
def test_a_limit_on_what_a_cascade_does_not_have_is_refused(tmp_path: Path, key: str) -> None:
    limit = f"gate: {{{key}: {{max: 1}}}}\n"
    with pytest.raises(
        ConfigError, match=rf"test.yaml:\d+.*gate\.{key}: cascade is a cascade.*no such figure"
    ):
        read(tmp_path, "drift: {tokens: 0}\n", f"{limit}drift: {{tokens: 512}}\n")


@pytest.mark.parametrize("key", ["escalation_rate", "cascade_apgr", "edge_usd_per_request"])
def test_what_only_a_cascade_has_needs_one(tmp_path: Path, key: str) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(
        TEXT.partition("variants:")[0] + f"variants: [{{name: same}}]\ngate: {{{key}: {{max: 1}}}}\n"
    )
    with pytest.raises(ConfigError, match="only a cascade has it"):
        read_config(file)


@pytest.mark.parametrize(
    ("key", "verb"), [("split_step_ms", "split"), ("acceptance_rate", "speculate")]
)  # fmt: skip
def test_what_only_rows_of_one_kind_have_needs_one(tmp_path: Path, key: str, verb: str) -> None:
    limit = f"gate: {{{key}: {{max: 1}}}}\n"
    with pytest.raises(ConfigError, match=rf"gate\.{key}: only a row with {verb} has it"):
        read(tmp_path, "drift: {tokens: 0}\n", f"{limit}drift: {{tokens: 0}}\n")
    row = {"split": "{split: layers}", "speculate": "{speculate: prompt-lookup}"}[verb]
    file = tmp_path / "of-it.yaml"
    head = TEXT.partition("variants:")[0]
    file.write_text(head + limit + f"variants: [{{name: of-it, optimise: [{row}]}}]\n")
    assert [one for one, _limit in read_config(file).gate] == [key]


@pytest.mark.parametrize(
    ("suites", "known"), [("[]", False), ("[generation]", False), ("[factuality]", True)]
)
def test_a_limit_on_the_curve_needs_a_suite(tmp_path: Path, suites: str, known: bool) -> None:
    """Without right and wrong answers there is no curve, and the limit would never be judged."""
    block = f"gate: {{cascade_apgr: {{min: 0.5}}}}\ndrift: {{tokens: 0, suites: {suites}}}\n"
    if known:
        assert read(tmp_path, "drift: {tokens: 0}\n", block).gate  # type: ignore[attr-defined]
        return
    with pytest.raises(ConfigError, match=r"gate\.cascade_apgr: .*right and wrong"):
        read(tmp_path, "drift: {tokens: 0}\n", block)


@pytest.mark.parametrize("key", ["escalation_rate", "cloud_usd_per_request"])
def test_within_a_config_nothing_is_relative_to_a_cascade(tmp_path: Path, key: str) -> None:
    spec = read(
        tmp_path, "drift: {tokens: 0}\n", f"gate: {{{key}: {{max_increase: 5%}}}}\ndrift: {{tokens: 0}}\n"
    )
    with pytest.raises(UsageError, match=f"gate.{key}: the baseline is no cascade"):
        sides_of(spec, None)  # type: ignore[arg-type]
    assert len(sides_of(spec, Path("python"))) == 2  # type: ignore[arg-type]


USD = "usd_per_1m_input: 0.5, usd_per_1m_output: 2"
CLOUD = f'        cloud: {{url: "http://10.0.0.5:8000", model: large, {USD}}}\n'


def test_a_server_may_stand_in_the_place_of_the_large_model(tmp_path: Path) -> None:
    (arm,) = read(tmp_path, LAST, LAST + CLOUD).groups[0].variants  # type: ignore[attr-defined]
    step = dict(arm.optimise[0].params)
    assert str(step["cloud"]) == "large at http://10.0.0.5:8000 for 0.5 + 2 USD/1M tokens"
    assert token_prices(step)["cloud"] == {
        "url": "http://10.0.0.5:8000", "model": "large", "api": "chat", "timeout_s": 60.0,
        "source": "the config",
        "usd_per_input_token": pytest.approx(0.5e-6), "usd_per_output_token": pytest.approx(2e-6),
    }  # fmt: skip
    (plain,) = read(tmp_path).groups[0].variants  # type: ignore[attr-defined]
    assert "cloud" not in dict(plain.optimise[0].params)
    assert token_prices(dict(plain.optimise[0].params)) == {}


def test_its_price_may_be_one_of_the_list(tmp_path: Path) -> None:
    """GPT-5: 1.25 dollars a million tokens in, 10 out."""
    listed = CLOUD.replace(USD, "price: openai/gpt-5")
    (arm,) = read(tmp_path, LAST, LAST + listed).groups[0].variants  # type: ignore[attr-defined]
    found = token_prices(dict(arm.optimise[0].params))["cloud"]
    assert found["usd_per_input_token"] == pytest.approx(1.25e-6)
    assert found["usd_per_output_token"] == pytest.approx(10e-6)
    assert found["source"].startswith("genai-prices ")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("http://10.0.0.5:8000", "ftp://x", "begins with http:// or https://"),
        ("http://10.0.0.5:8000", "http://me:secret@x", "an address with a password"),
        ("http://10.0.0.5:8000", "http://secret@x", "no user and no password"),
        ("http://10.0.0.5:8000", "http://x:8\\n00/v1", "no space, no line break"),
        ("http://10.0.0.5:8000", "http://x\\ty/v1", "no space, no line break"),
        ("http://10.0.0.5:8000", "http://x y/v1", "no space, no line break"),
        (USD, "price: openai/gpt-5-nan", "did you mean"),
        (USD, "price: openai/text-embedding-3-small", "has no price for text that it writes"),
        ("usd_per_1m_input: 0.5, ", "", "give either price, or usd_per_1m_input and usd_per_1m_output"),
        ("usd_per_1m_output: 2", "usd_per_1m_output: 2, price: openai/gpt-5", "give either price"),
        ("usd_per_1m_input: 0.5", "usd_per_1m_input: 0", "must be 0.0001 to 100000"),
        ("usd_per_1m_input: 0.5", "usd_per_1m_input: 5e-7", "is it that of one token?"),
        ("model: large", "model: large, timeout_s: 0", "timeout_s must be above 0"),
        ("model: large", "model: large, key: abc", "unknown key"),
        ("model: large", "model: large, key_env: NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is not set, or it is"),
        ("model: large", "model: large, key_env: FAR_KEY", "would go to 10.0.0.5 in the clear: use https"),
        ("model: large", "model: large, key_env: not-a-name", "wants the name of a variable, not a key"),
    ],
)
def test_a_server_that_cannot_be_asked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, problem: str
) -> None:
    monkeypatch.setenv("FAR_KEY", "a-secret")
    assert old in CLOUD
    with pytest.raises(ConfigError, match=r"test\.yaml") as caught:
        read(tmp_path, LAST, LAST + CLOUD.replace(old, new))
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("more", ["        link: {round_trip_ms: 5}\n", "        egress_usd_per_gb: 1\n"])
def test_a_network_that_is_there_is_not_simulated_too(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigError, match="cloud is a real network"):
        read(tmp_path, LAST, LAST + CLOUD + more)


def test_a_rule_that_learns_needs_the_large_model_here(tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(TEXT.replace("log-probability", "learnt").replace("-0.5", "0.5") + CLOUD)
    with pytest.raises(ConfigError, match="a rule that learns asks the large model here"):
        read_config(file)
