"""The settings of plug-ins: schemes and workloads with keys of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from config_files import BASE, Write, changed, refusal

from bench import plugins
from bench.config.reader import read_config

pytestmark = pytest.mark.usefixtures("cpu_machine")


def test_a_setting_without_a_default_must_be_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Params:
        sparsity: float

    monkeypatch.setattr(plugins.load("optimisations.prune", "magnitude"), "Params", Params)
    error = refusal(write(f"{BASE}optimise: [{{prune: magnitude}}]\n"))
    assert (error.line, error.key) == (16, "optimise[0].sparsity")
    given = read_config(write(f"{BASE}optimise: [{{prune: magnitude, sparsity: 1}}]\n"))
    assert given.groups[0].baseline.optimise[0].params == (("sparsity", 1.0),)


@dataclass(frozen=True)
class Sums:
    """What a kind of workload may ask for besides."""

    largest: int = 99
    signs: tuple[str, ...] = ("+",)

    def __post_init__(self) -> None:
        if self.largest < 1:
            raise ValueError("largest must be at least 1")


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload ``chat`` as if it had keys of its own."""
    monkeypatch.setattr(plugins.load("workloads", "chat"), "Params", Sums, raising=False)


@pytest.mark.usefixtures("sums")
def test_a_workload_s_own_keys_have_their_defaults(write: Write) -> None:
    load = read_config(write(BASE)).groups[0].baseline.workload
    assert dict(load.own) == {"largest": 99, "signs": ("+",)}
    assert load.requests == 6


@pytest.mark.usefixtures("sums")
def test_a_workload_s_own_keys_are_kept_wherever_its_others_are(write: Write, tmp_path: Path) -> None:
    text = changed("output_tokens: 8", "output_tokens: 8\n  largest: 7").replace(
        "    runtime: {dtype: bfloat16}\n",
        "    workload: {requests: 3}\n  - name: w\n    workload: {largest: 8}\n",
    )
    spec = read_config(write(text))
    group = spec.groups[0]
    assert [dict(arm.workload.own)["largest"] for arm in group.arms] == [7, 7, 8]
    assert [arm.workload.requests for arm in group.arms] == [6, 3, 6]
    assert group.variants[1].workload != group.baseline.workload
    assert group.baseline.workload.to_json()["largest"] == 7
    assert "own" not in group.baseline.workload.to_json()
    assert yaml.safe_load(spec.expanded)["workload"]["largest"] == 7
    assert read_config(write(text.replace("largest: 7", "largest: 9"))).digest != spec.digest
    (tmp_path / "test.yaml").write_text(spec.expanded)
    assert read_config(tmp_path / "test.yaml") == spec


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("output_tokens: 8", "output_tokens: 8\n  largst: 7", 11, "workload.largst", "mean 'largest'?"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: '7'", 11, "workload.largest", "integer, not '7'"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: 1.5", 11, "workload.largest", "not 1.5"),
        ("output_tokens: 8", "output_tokens: 8\n  signs: [1]", 11, "workload.signs", "valid string, not 1"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: 0", 7, "workload", "largest must be at least 1"),
        ("output_tokens: 8", "output_tokens: 8\n  own: []", 11, "workload.own", "unknown key"),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {largst: 7}", 13, "variants[0].workload.largst",
            "did you mean 'largest'?",
        ),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {largest: x}", 13,
            "variants[0].workload.largest", "not 'x'",
        ),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {name: chatt}", 13, "variants[0].workload.name",
            "did you mean 'chat'?",
        ),
    ],
)  # fmt: skip
def test_a_workload_s_own_key_is_refused_at_its_line(
    write: Write, old: str, new: str, line: int, key: str, words: str
) -> None:
    error = refusal(write(changed(old, new)))
    assert (error.line, error.key) == (line, key)
    assert words in str(error)


def test_another_workload_does_not_take_them(write: Write) -> None:
    """Without ``Params`` a kind has the keys of every workload and no others."""
    error = refusal(write(changed("output_tokens: 8", "output_tokens: 8\n  largest: 7")))
    assert (error.line, error.key) == (11, "workload.largest")
    assert "unknown key" in str(error)


@pytest.mark.parametrize(
    ("step", "key", "words"),
    [
        ("{prune: depth, keep_layers: 2, seed: 99999999999999999999}", ".seed", "within ±2^63"),
        ("{quantise: bnb-nf4, double_quant: on}", ".double_quant", "not 'on' (write true or false)"),
        ("{quantise: kv-hqq, group_size: 0}", "", "group_size must be 1 to 131072, not 0"),
        ("{quantise: kv-quanto, residual_length: -1}", "", "residual_length must be 1 to 131072, not -1"),
        ("{quantise: bnb-int8, threshold: 1e300}", "", "threshold must be 0 to 65504"),
        ("{compile: inductor, least_tokens: -5}", "", "least_tokens must be 1 to 1048576, not -5"),
        ("{distil: logits, steps: 50000}", "", "steps times batch must be from 1 to 100000 windows"),
        ("{distil: logits, steps: 400, tokens: 131072}", "", "batch times tokens must be at most 100000000"),
        ("{distil: sequence, prompt: 0.001}", "", "prompt must leave a token on both sides: 0.001 of 256"),
        ("{distil: sequence, prompt: 0.999}", "", "prompt must leave a token on both sides: 0.999 of 256"),
        ("{prune: wanda, sparsity: 0.5, samples: 10000, tokens: 16384}", "", "samples times tokens must be"),
        ("{speculate: draft-model}", ".model", "is missing"),
        ("{cascade: entropy, threshold: 1, edge: {usd_per_hour: 1}}", ".edge.model", "is missing"),
        ("{cascade: entropy, edge: {model: {path: e}, usd_per_hour: 1}}", ".edge.model", "(write ./e)"),
        ("{speculate: draft-model, model: {path: a/b}}", ".model", "(write a/b)"),
        ("{split: layers, link: 5}", ".link", "should be a block of keys, not 5"),
    ],
)  # fmt: skip
def test_a_setting_that_no_scheme_can_have(write: Write, step: str, key: str, words: str) -> None:
    """A journal holds no larger number, and a model is not loaded to find out what a number says."""
    text = BASE.replace("    runtime: {dtype: bfloat16}", f"    optimise: [{step}]")
    error = refusal(write(text))
    assert (error.line, error.key) == (13, f"variants[0].optimise[0]{key}")
    assert words in str(error)


@pytest.mark.parametrize(
    ("step", "key", "words"),
    [
        ("{quantise: quanto-int8, samples: 8}", "samples", "text is read for the ranges of activations"),
        ("{quantise: quanto-int4, text: english}", "text", "text is read for the ranges of activations"),
        ("{prune: depth, keep_layers: 1, by: last, samples: 8}", "samples", "the last layers are removed"),
        ("{prune: depth, drop: [0], by: last}", "by", "drop names the layers to remove"),
        ("{prune: depth, drop: [0], seed: 7}", "seed", "drop names the layers to remove"),
        ("{prune: width, by: magnitude, tokens: 64}", "tokens", "magnitude reads no text"),
        ("{prune: experts, keep: 0.5, keep_experts: 6}", "keep", "keep_experts is given"),
        ("{distil: logits, samples: 8}", "samples", "a training reads steps times batch windows"),
        ("{distil: sequence, samples: 8}", "samples", "a training reads steps times batch windows"),
    ],
)
def test_a_setting_that_does_nothing_beside_the_others(write: Write, step: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}optimise: [{step}]\n"))
    assert (error.line, error.key) == (16, f"optimise[0].{key}")
    assert f"does nothing here: {words}" in str(error)


@pytest.mark.parametrize(
    "step",
    [
        "{quantise: quanto-int8, activations: int8, samples: 8}",
        "{prune: depth, keep_layers: 1, samples: 8}",
        "{prune: depth, keep_layers: 1, by: last, samples: 64, text: docstrings}",  # the defaults, in full
        "{prune: width, by: taylor, tokens: 64}",
    ],
)
def test_a_setting_that_does_something_or_is_the_default(write: Write, step: str) -> None:
    assert read_config(write(f"{BASE}optimise: [{step}]\n")).groups[0].baseline.optimise
