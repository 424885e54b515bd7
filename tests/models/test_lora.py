"""LoRA adapters: merged into their base and named in the result, or refused in a sentence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from safetensors.torch import load_file, save_file

from bench.errors import BenchError, UsageError
from bench.models import fetch, lora
from bench.models.child import Limits
from bench.models.convert import conversion_limits
from bench.models.fetch import ensure
from bench.models.reference import LocalPath

R, ALPHA = 4, 8
SIZES: dict[str, Any] = {
    "vocab_size": 260, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0,
    "eos_token_id": 1,
}  # fmt: skip
MODELS = Path(transformers.models.__file__).parent
MODULES = transformers.models.auto.configuration_auto.SPECIAL_MODEL_TYPE_TO_MODULE_NAME
TARGETS = {"self_attn.q_proj": (64, 64), "mlp.down_proj": (64, 128)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged models have names of their own in every test: they do not pile up in the user's cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def merged_here(arguments: list[str], *_: object) -> tuple[int, str]:
    return lora.main(arguments[2:]), ""


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child takes a second to import torch; ``test_the_result_names_adapter_and_base`` has one."""
    monkeypatch.setattr(fetch, "run_child", merged_here)


def base(to: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).to(dtype)
    model.save_pretrained(to)
    write_tokenizer(to)
    return to


def adapter(to: Path, on: object, zero: bool = False, **settings: object) -> Path:
    """An adapter as peft writes it."""
    to.mkdir()
    torch.manual_seed(1)
    tensors = {}
    for layer in range(2):
        for name, (out, into) in TARGETS.items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{module}.lora_A.weight"] = torch.randn(R, into)
            tensors[f"{module}.lora_B.weight"] = torch.zeros(out, R) if zero else torch.randn(out, R)
    save_file(tensors, to / "adapter_model.safetensors", {"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": R, "lora_alpha": ALPHA, "bias": "none",
        "base_model_name_or_path": str(on), "target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.05,
        "init_lora_weights": True, "inference_mode": True, "fan_in_fan_out": False, "use_dora": False,
        "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "peft_version": "0.21.2",
    }  # fmt: skip
    (to / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    return to


def by_hand(directory: Path, name: str, scale: float) -> torch.Tensor:
    """The product as peft's own layer computes it: B(A(x)) times the scale, for x of all unit vectors."""
    tensors = load_file(directory / "adapter_model.safetensors")
    low, high = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    return (high @ (low @ torch.eye(low.shape[1]))) * scale


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(("rank_stabilised", "scale"), [(False, ALPHA / R), (True, ALPHA / math.sqrt(R))])
def test_an_adapter_is_merged_into_a_copy_of_its_base(
    tmp_path: Path, rank_stabilised: bool, scale: float
) -> None:
    origin = base(tmp_path / "base")
    found = ensure(LocalPath(adapter(tmp_path / "tuned", origin, use_rslora=rank_stabilised)))
    before, after = (load_file(place / "model.safetensors") for place in (origin, found.directory))
    changed = {f"model.layers.{layer}.{name}.weight" for layer in range(2) for name in TARGETS}
    for name, weights in before.items():
        expected = weights
        if name in changed:
            expected = weights + by_hand(tmp_path / "tuned", name.removesuffix(".weight"), scale)
        assert torch.allclose(after[name], expected, atol=1e-5), name
    loaded = transformers.AutoModelForCausalLM.from_pretrained(found.directory)
    assert torch.isfinite(loaded(torch.tensor([[5, 6, 7]])).logits).all()


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("kind", lora.SIDEWAYS)
def test_layers_that_keep_inputs_first(tmp_path: Path, kind: str, said: bool) -> None:
    """peft looks at the class of a layer, whatever the adapter says. In a square matrix the shapes fit both
    ways, and the product was added the wrong way round."""
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 260, "n_positions": 64}
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    config = transformers.AutoConfig.for_model(kind, **sizes, **ends, initializer_range=0.2)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "base")
    on = tmp_path / "tuned"
    adapter(on, tmp_path / "base", fan_in_fan_out=said)
    tensors, add = {}, {}
    for name, layer in model.named_modules():
        if type(layer).__name__ == "Conv1D":
            into, out = layer.weight.shape
            low, high = torch.randn(R, into) / 8, torch.randn(out, R) / 8
            tensors |= {
                f"base_model.model.{name}.lora_{part}.weight": one
                for part, one in zip("AB", (low, high), strict=True)
            }
            add[layer] = lambda _, x, y, low=low, high=high: y + ALPHA / R * (x[0] @ low.T @ high.T)
    assert len(add) == 4
    save_file(tensors, on / "adapter_model.safetensors", {"format": "pt"})
    merged = transformers.AutoModelForCausalLM.from_pretrained(ensure(LocalPath(on)).directory)
    for layer, more in add.items():
        layer.register_forward_hook(more)
    ids = torch.tensor([[5, 6, 7, 200]])
    assert torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-4)


def test_which_decoders_have_such_layers() -> None:
    decoders = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    homes = {kind: one.partition(".")[0] for kind, one in MODULES.items()}
    files = {kind: MODELS / homes.get(kind, kind.replace("-", "_")) for kind in decoders}
    sources = {
        kind: "".join(one.read_text() for one in place.glob("modeling_*.py")) for kind, place in files.items()
    }
    assert {kind for kind, text in sources.items() if "= Conv1D(" in text} == set(lora.SIDEWAYS)


def test_the_result_names_adapter_and_base(tmp_path: Path) -> None:
    origin = base(tmp_path / "base")
    found = ensure(LocalPath(adapter(tmp_path / "tuned", origin))).source
    assert found.name == "tuned"
    assert found.location.endswith("(LoRA merged into 4 matrices, rank 4, scale 2)")
    assert found.adapter is not None
    plain = ensure(LocalPath(origin)).source
    assert found.adapter.base_sha256 == plain.weights_sha256 != found.weights_sha256
    assert str(origin) in found.adapter.words


@pytest.mark.usefixtures("no_child")
def test_another_adapter_is_another_model(tmp_path: Path) -> None:
    origin = base(tmp_path / "base")
    one = ensure(LocalPath(adapter(tmp_path / "one", origin)))
    two = ensure(LocalPath(adapter(tmp_path / "two", origin, lora_alpha=16)))
    assert one.directory != two.directory
    assert one.source.weights_sha256 != two.source.weights_sha256


@pytest.mark.usefixtures("no_child")
def test_the_dtype_of_the_base_stays_and_a_relative_base_is_beside_the_adapter(tmp_path: Path) -> None:
    base(tmp_path / "base", dtype=torch.bfloat16)
    found = ensure(LocalPath(adapter(tmp_path / "tuned", "../base")))
    tensors = load_file(found.directory / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.usefixtures("no_child")
def test_the_tokenizer_beside_the_adapter_is_used(tmp_path: Path) -> None:
    origin = base(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", origin)
    (tuned / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert (ensure(LocalPath(tuned)).directory / "chat_template.jinja").read_text().startswith("{{ messages")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3, which is not merged here"),
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "all"}, "bias is all"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern is"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is pissa"),
        ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters is"),
        ({"something_new": 1}, "something_new is 1"),
        ({"use_rslora": "no"}, "use_rslora is 'no', not true or false"),
        ({"r": 0}, "r is 0 and lora_alpha is 8"),
        ({"r": 8}, r"is \[64, 4\] times \[4, 128\], and in the base \[64, 128\] at rank 8"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": True}, "lora_alpha is True: no LoRA has that"),
        ({"lora_alpha": 10**400}, "lora_alpha is 1000.*: no LoRA has that"),
        ({"r": 10**400, "use_rslora": True}, "r is 1000.*: no LoRA has that"),
        ({"base_model_name_or_path": "a" * 300}, "which is no directory here"),
        (
            {"base_model_name_or_path": "meta-llama/Llama-3.1-8B"},
            "'meta-llama/Llama-3.1-8B', which is no dir",
        ),
        ({"base_model_name_or_path": None}, "base_model_name_or_path does not name its base"),
    ],
)
def test_what_the_formula_does_not_cover_is_refused(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    origin = base(tmp_path / "base")
    with pytest.raises(UsageError, match=words):
        lora.read_adapter(adapter(tmp_path / "tuned", origin, **settings))


def test_a_matrix_that_the_base_does_not_have(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    file = tuned / "adapter_model.safetensors"
    tensors = {name.replace("layers.1", "layers.7"): one for name, one in load_file(file).items()}
    save_file(tensors, file)
    with pytest.raises(UsageError, match=r"changes model.layers.7.mlp.down_proj.weight, and .*peft"):
        lora.read_adapter(tuned)


@pytest.mark.parametrize("name", ["base_model.model.model.embed_tokens.lora_embedding_A", "lm_head.weight"])
def test_a_tensor_that_is_no_pair(tmp_path: Path, name: str) -> None:
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    file = tuned / "adapter_model.safetensors"
    save_file({**load_file(file), name: torch.ones(2, 2)}, file)
    with pytest.raises(UsageError, match=r"is no pair of LoRA .* would be left out; merge it with peft"):
        lora.read_adapter(tuned)


def test_packed_matrices_are_no_floats(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    file = tuned / "adapter_model.safetensors"
    save_file({name: one.to(torch.int8) for name, one in load_file(file).items()}, file)
    with pytest.raises(UsageError, match=r"lora_A.weight is I8, and LoRA has floats"):
        lora.read_adapter(tuned)


def test_pickled_weights_of_an_adapter_are_not_read(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    (tuned / "adapter_model.safetensors").rename(tuned / "adapter_model.bin")
    with pytest.raises(UsageError, match="an adapter is read from safetensors only"):
        lora.read_adapter(tuned)


def test_a_packed_base(tmp_path: Path) -> None:
    origin = base(tmp_path / "base")
    file = origin / "config.json"
    packed = {"quant_method": "compressed-tensors"}
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": packed}))
    with pytest.raises(UsageError, match=r"its base .* is packed"):
        lora.read_adapter(adapter(tmp_path / "tuned", origin))


def test_an_adapter_that_does_nothing(tmp_path: Path) -> None:
    tuned = lora.read_adapter(adapter(tmp_path / "tuned", base(tmp_path / "base"), zero=True))
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="the adapter changes nothing"):
        lora.merge(tuned, tmp_path / "out")


@pytest.mark.parametrize(("name", "said"), [("chat_template.jinja", "is larger"), ("spiece.model", "FIFO")])
def test_what_lies_beside_an_adapter_is_looked_at(tmp_path: Path, name: str, said: str) -> None:
    """It is copied into the merged model: once ten gigabytes of it."""
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    if said == "FIFO":
        os.mkfifo(tuned / name)
    else:
        with (tuned / name).open("wb") as file:
            file.truncate(10 << 30)
    with pytest.raises(UsageError, match=f"{name}: is .*{said.removeprefix('is ')}"):
        lora.read_adapter(tuned)


def test_code_beside_an_adapter_is_found_before_it_is_merged(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", base(tmp_path / "base"))
    (tuned / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "evil.T"}}')
    with pytest.raises(UsageError, match=r"tokenizer_config\.json: auto_map: this key can make"):
        lora.read_adapter(tuned)


@pytest.mark.usefixtures("no_child")
def test_all_that_a_loader_opens_is_copied(tmp_path: Path) -> None:
    """Further templates have a directory. An index beside whole weights is not read."""
    origin = base(tmp_path / "base")
    (origin / "additional_chat_templates").mkdir()
    (origin / "additional_chat_templates" / "default.jinja").write_text("{{ messages }}")
    (origin / "other.safetensors").write_bytes((origin / "model.safetensors").read_bytes())
    named = dict.fromkeys(load_file(origin / "other.safetensors"), "other.safetensors")
    (origin / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))
    merged = ensure(LocalPath(adapter(tmp_path / "tuned", origin))).directory
    assert (merged / "additional_chat_templates" / "default.jinja").read_text() == "{{ messages }}"
    assert not (merged / "model.safetensors.index.json").exists()


def test_a_merge_may_take_what_its_weights_account_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a conversion does; a child that takes more is ended, or refused the memory."""
    origin = base(tmp_path / "base")
    tuned = adapter(tmp_path / "tuned", origin)
    bounds: list[Limits] = []

    def child(arguments: list[str], _environment: object, _watch: object, limits: Limits) -> tuple[int, str]:
        bounds.append(limits)
        raise BenchError("it took more than 300 s, and was ended")

    monkeypatch.setattr(fetch, "run_child", child)
    with pytest.raises(BenchError, match=r"merging .*tuned: it took more than 300 s, and was ended"):
        ensure(LocalPath(tuned))
    files = (origin / "model.safetensors", tuned / "adapter_model.safetensors")
    weights = sum(file.stat().st_size for file in files) // 2
    assert bounds == [conversion_limits(weights)]


@pytest.mark.usefixtures("no_child")
def test_only_the_files_of_the_model_are_merged(tmp_path: Path) -> None:
    """Those that transformers would load: a file of other weights beside them is no part of the model."""
    origin = base(tmp_path / "base")
    save_file({"model.layers.0.self_attn.q_proj.weight": torch.ones(64, 64)}, origin / "other.safetensors")
    found = ensure(LocalPath(adapter(tmp_path / "tuned", origin)))
    assert [path.name for path in found.directory.glob("*.safetensors")] == ["model.safetensors"]


def test_what_a_library_says_of_an_adapter_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> int:
        raise RuntimeError("two\nlines \x1b[31m")

    monkeypatch.setattr(lora, "read_adapter", broken)
    assert lora.main([str(tmp_path), str(tmp_path)]) == 1
    assert capsys.readouterr().err == "RuntimeError: two lines �[31m\n"


def test_files_of_the_base_with_names_of_ours_say_nothing(tmp_path: Path) -> None:
    """They are copied with the base, and were taken for what a conversion of a GGUF had written."""
    origin = base(tmp_path / "base")
    (origin / "grid.json").write_text("[]")
    (origin / "complete.json").write_text("{}")
    tuned = adapter(tmp_path / "tuned", origin)
    for _again in range(2):
        assert ensure(LocalPath(tuned)).source.grid is None
