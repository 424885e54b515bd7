"""Steps that do not go together, and steps that do not fit the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from byte_tokenizer import write_tokenizer
from config_files import BASE, Write, changed, refusal

from bench import plugins
from bench.config.model_shapes import check_order
from bench.config.reader import read_config
from bench.config.spec import Optimisation
from bench.errors import ConfigError
from bench.models.reference import LocalPath
from bench.models.registry import find_model
from bench.optimisations import leaves_weights, verbs
from bench.optimisations.shared import int4
from bench.yaml_source import parse_yaml

pytestmark = pytest.mark.usefixtures("cpu_machine")


@pytest.mark.parametrize(
    ("steps", "at", "words"),
    [
        ("{quantise: bnb-nf4}, {quantise: bnb-int8}", 1, "quantise bnb-nf4 has packed them (keep one"),
        ("{quantise: bnb-nf4}, {quantise: kv-float8}, {quantise: hqq}", 2, "bnb-nf4 has packed them"),
        ("{quantise: bnb-nf4}, {prune: magnitude}", 1, "(put quantise bnb-nf4 after prune magnitude)"),
        ("{quantise: bnb-nf4}, {distil: logits}", 1, "(put quantise bnb-nf4 after distil logits)"),
        ("{compile: inductor}, {quantise: bnb-nf4}", 1, "comes after compiling (compile last, and once)"),
        ("{compile: inductor}, {compile: inductor}", 1, "(compile last, and once)"),
        ("{quantise: kv-float8}, {quantise: kv-quanto}", 1, "each change how tokens are decoded (keep one"),
        ("{quantise: kv-float8}, {compile: inductor}", 1, "each change how tokens are decoded (keep one"),
        ("{quantise: kv-float8}, {speculate: prompt-lookup}", 1, "each change how tokens are decoded"),
        ("{speculate: layer-skip}, {speculate: prompt-lookup}", 1, "each change how tokens are decoded"),
        ("{speculate: prompt-lookup}, {compile: inductor}", 1, "each change how tokens are decoded"),
        ("{compile: inductor}, {speculate: prompt-lookup}", 1, "comes after compiling"),
        ("{split: layers}, {quantise: bnb-nf4}", 1, "comes after splitting (split last, and once)"),
        ("{quantise: bnb-nf4}, {split: layers}", 1, "(keep one of the two)"),
        ("{prune: experts}", 0, "no mixture of experts"),
    ],
)
def test_steps_that_cannot_follow_each_other(write: Write, steps: str, at: int, words: str) -> None:
    error = refusal(write(f"{BASE}optimise: [{steps}]\n"))
    assert (error.line, error.key) == (16, f"optimise[{at}]")
    assert words in str(error)


BLOCKS: tuple[dict[str, Any], ...] = (
    {"quant_method": "gptq", "bits": 4, "group_size": 128},
    {"quant_method": "awq", "bits": 4},
    {"load_in_4bit": True, "quant_method": "bitsandbytes"},
    {"load_in_8bit": True},
    {"quant_method": "compressed-tensors", "config_groups": {}},
    {"quant_method": "fp8", "weight_block_size": [128, 128]},
    {"quant_method": "mxfp4"},
)
NAMES = ("gptq", "awq", "bitsandbytes", "bitsandbytes", "compressed-tensors", "fp8", "mxfp4")


def packed(to: Path, block: dict[str, Any], *, inner: bool = False) -> Path:
    """The files of a checkpoint that are read before a run: a config, a tokenizer and a header of weights."""
    to.mkdir()
    sizes = {"vocab_size": 260, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    about = {"text_config": {"quantization_config": block}} if inner else {"quantization_config": block}
    said = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **sizes, **about}
    (to / "config.json").write_text(json.dumps(said))
    write_tokenizer(to)
    return to


@pytest.mark.parametrize(("block", "method"), [*zip(BLOCKS, NAMES, strict=True)])
@pytest.mark.parametrize("inner", [False, True])
def test_a_checkpoint_that_came_packed_is_not_packed_again(
    tmp_path: Path, block: dict[str, Any], method: str, inner: bool
) -> None:
    """After minutes of measuring it was a row that says "some, but no layer was dense before this step"."""
    model = LocalPath(packed(tmp_path / "model", block, inner=inner))
    source = parse_yaml("optimise:\n- {}\n", "c.yaml")
    for verb in verbs():
        for name in plugins.names(f"optimisations.{verb}"):
            step = Optimisation(verb, name, ())
            weights = leaves_weights(verb, plugins.load(f"optimisations.{verb}", name))
            if weights == "any":
                check_order(source, model, [step], ("optimise",), find_model)
                continue
            with pytest.raises(ConfigError, match=rf"this checkpoint is packed \({method}\)"):
                check_order(source, model, [step], ("optimise",), find_model)


@pytest.mark.parametrize("scheme", ["prompt-lookup", "layer-skip"])
@pytest.mark.parametrize(("batch_size", "can"), [(1, True), (2, False)])
def test_drafts_are_for_one_sequence(write: Write, scheme: str, batch_size: int, can: bool) -> None:
    file = write(f"{BASE}optimise: [{{speculate: {scheme}}}]\n")
    arm = read_config(file, ["workload.requests=4", f"workload.batch_size={batch_size}"]).groups[0].baseline
    said = f"speculate {scheme} is for one sequence at a time: set batch_size to 1"
    assert arm.unsupported == (None if can else said)


@pytest.mark.parametrize(
    "steps",
    [
        "{prune: depth, keep_layers: 1}, {distil: logits}, {quantise: bnb-int8}, {compile: inductor}",
        '{prune: magnitude}, {prune: magnitude, pattern: "2:4"}, {quantise: gptq, samples: 1}',
        "{quantise: kv-float8}, {quantise: bnb-nf4}",
        "{quantise: bnb-nf4}, {quantise: kv-float8}",
        "{quantise: bnb-nf4}, {prune: depth, drop: [1]}",
        "{quantise: torchao-int8}, {compile: inductor}",
    ],
)
def test_steps_that_follow_each_other(write: Write, steps: str) -> None:
    text = changed("{dtype: bfloat16}", "{threads: 2}")
    assert read_config(write(f"{text}optimise: [{steps}]\n")).groups[0].baseline.unsupported is None


def test_a_student_with_another_vocabulary_is_refused(write: Write) -> None:
    """Its tokens are not the baseline's; without the step it is compared by its replies."""
    plain = "    runtime: {dtype: bfloat16}\n"
    student = "    model: {random: smollm2-135m, layers: 2}\n    optimise: [{distil: %s}]\n"
    error = refusal(write(BASE.replace(plain, student % "sequence")))
    assert error.key == "variants[0].optimise[0]"
    assert "vocabulary of 49152 tokens, the baseline of 512" in str(error)
    assert read_config(write(BASE.replace(plain, student % "none"))).groups[0].variants


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{quantise: gptq, group_size: 128}", "the 576 weights of a row of this model; 32 or 64 would"),
        ("{quantise: awq, group_size: 256}", "group_size 256 does not fill the 576"),
        ("{quantise: torch-int4, group_size: 128}", "group_size 128 does not fill the 576"),
        ("{quantise: gptq}, {prune: depth, keep_layers: 30}", "keep_layers 30: the model has 30"),
    ],
)
def test_what_does_not_fit_the_shape_of_the_model(write: Write, step: str, words: str) -> None:
    """After minutes of measuring, it would be a row without figures. What packs leaves the layers."""
    text = BASE.replace("{random: tiny-llama}", "{random: smollm2-135m}")
    assert text != BASE
    assert words in str(refusal(write(f"{text}optimise: [{step}]\n")))


def test_groups_that_fill_the_rows(write: Write) -> None:
    text = BASE.replace("{random: tiny-llama}", "{random: smollm2-135m}")
    found = read_config(write(f"{text}optimise: [{{quantise: torch-int4, group_size: 64}}]\n"))
    assert found.groups[0].baseline.optimise[0].scheme == "torch-int4"


def test_rows_of_which_no_size_is_filled() -> None:
    shape = {"hidden_size": 80, "intermediate_size": 96, "mixture": False}
    assert int4.refuse(32, shape) == (
        "group_size 32 does not fill the 80 weights of a row of this model; none of 32, 64, 128, 256 would"
    )
    assert int4.refuse(32, {**shape, "hidden_size": 64}) is None
    assert int4.refuse(64, {**shape, "hidden_size": 64}) is not None  # the last layer of the MLP
    assert (
        int4.refuse(64, {**shape, "hidden_size": 64, "mixture": True}) is None
    )  # of experts it says nothing
    assert int4.refuse(64, {}) is None
