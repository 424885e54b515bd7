"""Which classes take a scheme is known from their config: as the table says, where each of them was tried."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from byte_tokenizer import write_tokenizer
from schemes_by_family.families import FAMILIES
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from bench import plugins
from bench.config.reader import read_config
from bench.engine import Options
from bench.engine.stepping import probe
from bench.errors import ConfigError, Unsupported
from bench.models.registry import find_model
from bench.optimisations import verbs
from bench.optimisations.prune import depth, width
from bench.optimisations.quantise import kv_float8
from bench.optimisations.shared import classes, decoder, halves, kv_cache
from bench.optimisations.speculate import layer_skip, prompt_lookup
from bench.runtimes import transformers as engine

RESULTS = Path(__file__).parents[3] / "results" / "reference"
TRIED = [
    json.loads(line)
    for file in (RESULTS / "architectures").glob("schemes-*.jsonl")
    for line in file.read_text().splitlines()
]
CELLS = [
    json.loads(line)
    for file in (RESULTS / "schemes-by-family").glob("*.jsonl")
    for line in file.read_text().splitlines()
]
SMALL: dict[str, Any] = {
    "vocab_size": 260, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip


def kinds(column: str) -> set[str]:
    return {row["model_type"] for row in TRIED if row[column] is not None}


def usual(scheme: Any) -> Any:
    """The settings of a scheme that a config gives if it gives no more than it must."""
    return scheme.Params(**({"model": "x"} if "model" in scheme.Params.__dataclass_fields__ else {}))


def test_the_sets_are_those_of_the_table() -> None:
    assert len(TRIED) > 150
    assert kinds("blocks") == classes.OTHER_PLACE
    assert kinds("width") == classes.OTHER_PLACE | classes.OTHER_BLOCKS
    assert kinds("kv-float8") == classes.STATES | classes.OTHER_CACHES
    assert kinds("prompt-lookup") == classes.STATES
    skips = kinds("layer-skip") - classes.STATES - classes.OTHER_PLACE
    # That of lfm2_moe was made with two layers, of which the first has no attention.
    assert skips == classes.LAYER_INPUTS | set(classes.NOT_ALONE) | {"lfm2_moe"}
    assert not classes.STATES & classes.OTHER_CACHES
    assert not classes.OTHER_PLACE & classes.OTHER_BLOCKS


def test_no_scheme_refuses_a_family_on_which_it_was_applied() -> None:
    """And what it refused because of its class, it refuses before anything is loaded."""
    judged = 0
    for row in CELLS:
        scheme = plugins.load(f"optimisations.{row['verb']}", row["scheme"])
        if not hasattr(scheme, "refuse_model"):
            continue
        judged += 1
        said = scheme.refuse_model(usual(scheme), find_model(FAMILIES[row["family"]].card).config)
        because = ("pruning knows", "only plain ones can be sent")
        by_class = row["end"] == "unsupported" and any(words in row["reason"] for words in because)
        assert (said is not None) == by_class, (row, said)
    assert judged > 80


MAMBA = transformers.Mamba2Config(
    vocab_size=260, hidden_size=64, num_hidden_layers=2, state_size=8, num_heads=4, head_dim=32, n_groups=1
)
FALCON = transformers.FalconH1Config(
    **SMALL, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_n_groups=1
)
PHI = transformers.Phi3Config(**SMALL)
LFM = transformers.Lfm2MoeConfig(
    **SMALL, layer_types=["conv", "full_attention"], num_experts=4, num_experts_per_tok=2,
    moe_intermediate_size=32, num_dense_layers=1,
)  # fmt: skip
GEMMA: dict[str, Any] = {**SMALL, "head_dim": 16, "global_head_dim": 16, "num_kv_shared_layers": 0}
WITH_INPUTS = transformers.Gemma4TextConfig(**GEMMA, hidden_size_per_layer_input=16)
RECURRENT = transformers.RecurrentGemmaConfig(
    **{**SMALL, "num_hidden_layers": 4}, lru_width=64, attention_window_size=32
)


def begun(model: Any) -> None:
    loaded = engine.TransformersEngine(model, Path("nowhere"), Options(device="cpu", threads=1))
    loaded.change(prompt_lookup.apply(model, prompt_lookup.Params()))
    loaded.prefill([probe(8, 260)], 4)


def skipping(model: Any) -> None:
    layer_skip.apply(model, layer_skip.Params())


def halved(model: Any) -> None:
    with decoder.fewer_layers(model):
        halves.edge_of(model, 1)(input_ids=torch.zeros((1, 4), dtype=torch.long))


def shortened(model: Any) -> None:
    depth.apply(model, depth.Params(keep_layers=1, by="last"))


EXAMPLES: list[tuple[Any, dict[str, Any], Callable[[Any], object], str]] = [
    (MAMBA, {"speculate": "prompt-lookup"}, begun, "no token can be taken out of the cache of Mamba2"),
    (
        FALCON, {"quantise": "kv-float8"}, lambda model: kv_float8.apply(model, kv_float8.Params()),
        "the cache of FalconH1ForCausalLM has",
    ),
    (PHI, {"prune": "width"}, lambda model: width.apply(model, width.Params()), "width pruning knows blocks"),
    (LFM, {"speculate": "layer-skip"}, skipping, "Lfm2MoeForCausalLM"),
    (LFM, {"split": "layers"}, halved, "Lfm2MoeForCausalLM"),
    (WITH_INPUTS, {"speculate": "layer-skip"}, skipping, "Gemma4ForCausalLM"),
    (WITH_INPUTS, {"split": "layers"}, halved, "Gemma4ForCausalLM"),
    (WITH_INPUTS, {"prune": "depth", "keep_layers": 1}, shortened, "Gemma4ForCausalLM"),
    (RECURRENT, {"speculate": "layer-skip"}, skipping, "RecurrentGemmaForCausalLM"),
]  # fmt: skip
NAMES = [
    "mamba2", "falcon-h1", "phi3", "lfm2-skip", "lfm2-split", "gemma4-skip", "gemma4-split", "gemma4-depth",
    "recurrent-skip",
]  # fmt: skip


def read(to: Path, config: Any, step: dict[str, Any], **runtime: object) -> Any:
    """The config of a model is all that is read of it, beside the headers of its weights."""
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(to / "model")
    write_tokenizer(to / "model")
    blocks = {"runtime": {"attention": "eager", **runtime}, "price": {"usd_per_hour": 1.0}}
    variant = {"name": "v", "optimise": [step]}
    file = to / "config.yaml"
    file.write_text(yaml.safe_dump({"model": {"path": str(to / "model")}, **blocks, "variants": [variant]}))
    return read_config(file)


@pytest.mark.parametrize(("config", "step", "apply", "words"), EXAMPLES, ids=NAMES)
def test_check_says_what_the_scheme_says_after_loading(
    tmp_path: Path, config: Any, step: dict[str, Any], apply: Callable[[Any], object], words: str
) -> None:
    with pytest.raises(Unsupported, match=words):
        apply(transformers.AutoModelForCausalLM.from_config(copy.deepcopy(config)).eval())
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, config, step)
    assert caught.value.key == "variants[0].optimise[0]"
    read(tmp_path, config, step, python="/usr/bin/python3")  # which may have another transformers


def test_a_hybrid_class_with_attention_alone_is_not_judged_by_its_name() -> None:
    """Some Granite 4 have no layer of the other kind."""
    for kind in ("attention", "full_attention"):
        config = {"model_type": "granitemoehybrid", "layer_types": [kind] * 2}
        assert classes.why_no_drafts(config) is None
        assert classes.why_no_other_cache(config) is None
        mixed = {**config, "layer_types": [kind, "mamba"]}
        assert classes.why_no_drafts(mixed) is not None
        assert classes.why_no_other_cache(mixed) is not None


def test_only_layers_without_attention_are_not_taken_alone() -> None:
    """And settings of a config are believed: some Gemma 4 have no inputs of layers."""
    lfm = {"model_type": "lfm2_moe", "layer_types": ["conv", "full_attention"] * 2}
    assert classes.why_no_first_layers(lfm) is None
    assert classes.why_no_first_layers(lfm, 1) == (
        "the first 1 layers of lfm2_moe have no attention, and do not run by themselves"
    )
    without = transformers.Gemma4TextConfig(**GEMMA, hidden_size_per_layer_input=0)
    assert classes.why_no_first_layers(without.to_dict()) is None
    skipping(transformers.AutoModelForCausalLM.from_config(without).eval())
    shortened(transformers.AutoModelForCausalLM.from_config(without).eval())


def test_running_out_of_memory_is_not_a_model_that_cannot_be_shortened() -> None:
    with pytest.raises(RuntimeError, match="memory"), decoder.fewer_layers(None):
        raise RuntimeError("CUDA out of memory")


def llama(**sizes: int) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(**{**SMALL, **sizes})


@pytest.mark.parametrize(
    ("sizes", "step", "fits"),
    [
        ({"num_key_value_heads": 2}, {"quantise": "kv-quanto"}, True),
        ({"num_key_value_heads": 1}, {"quantise": "kv-quanto"}, False),  # 16 numbers, groups of 32
        ({"num_key_value_heads": 1}, {"quantise": "kv-quanto", "group_size": 16}, True),
        ({"num_key_value_heads": 2, "head_dim": 24}, {"quantise": "kv-quanto"}, False),
        ({"num_key_value_heads": 2}, {"quantise": "kv-hqq", "bits": 8}, True),
        ({"num_key_value_heads": 2}, {"quantise": "kv-hqq", "bits": 4}, False),  # a token fills half a byte
        ({"num_key_value_heads": 4}, {"quantise": "kv-hqq", "bits": 4}, True),
    ],
)
def test_groups_that_a_token_does_not_fill(
    tmp_path: Path, sizes: dict[str, int], step: dict[str, Any], fits: bool
) -> None:
    """As ``check_group`` says after loading."""
    params = plugins.load("optimisations.quantise", step["quantise"]).Params(
        **{key: value for key, value in step.items() if key != "quantise"}
    )
    size = params.group_size * (8 // params.bits if step["quantise"] == "kv-hqq" else 1)
    model = transformers.AutoModelForCausalLM.from_config(llama(**sizes))
    if fits:
        kv_cache.check_group(model, size)
        read(tmp_path, llama(**sizes), step)
        return
    with pytest.raises(Unsupported, match="do not fill the"):
        kv_cache.check_group(model, size)
    with pytest.raises(ConfigError, match="do not fill the") as caught:
        read(tmp_path, llama(**sizes), step)
    assert caught.value.key == "variants[0].optimise[0]"


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({"model_type": "deepseek_v3", "kv_lora_rank": 40, "qk_rope_head_dim": 8}, 40),
        ({"model_type": "gemma3", "text_config": {"num_key_value_heads": 1, "head_dim": 48}}, 48),
        (
            {"model_type": "qwen3", "num_key_value_heads": 1, "hidden_size": 48, "num_attention_heads": 2},
            None,
        ),
        ({"model_type": "qwen2", "num_key_value_heads": 1, "hidden_size": 48, "num_attention_heads": 2}, 24),
        ({"model_type": "qwen2", "hidden_size": 48, "num_attention_heads": 2}, None),
        ({"num_key_value_heads": "1", "head_dim": [48]}, None),
    ],
)
def test_of_which_configs_the_sizes_are_known(config: dict[str, Any], numbers: int | None) -> None:
    """What a file leaves out is the default of its class, which may be any."""
    said = kv_cache.why_no_group(config, 32)
    assert (said is None) if numbers is None else f"the {numbers} that a token has" in str(said)


def test_the_classes_that_share_their_width_out_are_those_of_transformers() -> None:
    for kind in kv_cache.DERIVED_HEADS:
        built = CONFIG_MAPPING[kind](hidden_size=128, num_attention_heads=4, num_key_value_heads=4)
        assert getattr(built, "head_dim", None) in (None, 32), kind


def test_a_class_that_is_not_known_is_not_judged() -> None:
    for verb in verbs():
        for _name, scheme in plugins.each(f"optimisations.{verb}"):
            if hasattr(scheme, "refuse_model"):
                for config in ({"model_type": "her-own", "architectures": ["Hers"]}, {}):
                    assert scheme.refuse_model(usual(scheme), config) is None


def _layers(config: Any) -> set[str]:
    return {type(layer).__name__ for layer in transformers.DynamicCache(config=config).layers}


@pytest.mark.parametrize(
    "more",
    [{"sliding_window": 16}, {"sliding_window": 16, "use_sliding_window": False}],
    ids=["a window", "switched off"],
)
def test_a_prompt_split_refuses_no_class_that_keeps_all_tokens(more: dict[str, Any]) -> None:
    """Whatever the config names as a window: the cache that transformers makes for it decides."""
    judged, wrong = 0, []
    for kind in sorted({row["model_type"] for row in TRIED} - classes.OTHER_PLACE):
        try:
            layers = _layers(transformers.AutoConfig.for_model(kind, **more))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue  # a class that needs other settings too
        said = classes.why_no_plain_cache({"model_type": kind, **more})
        if said is not None:
            judged += 1
            wrong += [] if layers - {"DynamicLayer"} else [kind]
    assert wrong == []
    assert judged > 10


def test_latent_attention_holds_other_keys_than_values() -> None:
    sizes = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    said = classes.why_no_plain_cache({"model_type": "deepseek_v3", **sizes}) or ""
    assert "192 numbers of a key and 128 of a value" in said
    assert classes.why_no_plain_cache({"model_type": "deepseek_v3", **sizes, "v_head_dim": 192}) is None
    assert classes.why_no_plain_cache({"model_type": "deepseek_v3"}) is None
