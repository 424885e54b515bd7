"""Circumstances that users have met: what a loader would make up, what an engine would compute otherwise.

Each model is tiny and random; what is wrong with it is what was wrong with a real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from safetensors.torch import load_file, save_file

from bench.engine import Options, stepping
from bench.engine.stepping import by_batch, by_steps
from bench.errors import NotApplied, Outcome, Unsupported, UsageError, VariantFailed
from bench.models.checks import check_directory
from bench.runtimes import numpy as numpy_engine
from bench.runtimes import transformers as engine
from bench.runtimes._checkpoint import in_our_words
from bench.runtimes._config import must_keep_its_rotation, turns_of, unknown_key
from bench.runtimes._gguf import write
from bench.runtimes._whole import is_tied
from bench.worker import exporting, passes, session, steps
from bench.worker.commands import Worker
from bench.worker.prompt_tokens import encoded

CPU = Options(device="cpu", threads=1)
EAGER = Options(device="cpu", threads=1, attention="eager")
LLAMA: dict[str, Any] = {
    "vocab_size": 260, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0,
    "eos_token_id": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _always_the_same() -> None:
    torch.manual_seed(0)


def sharp(model: Any, scale: float = 4.0) -> Any:
    """Larger weights, so that a change of the computation shows in the logits."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(scale)
    return model


def saved(model: Any, to: Path, *, words: tuple[str, ...] = ()) -> Path:
    """The model with a tokenizer of bytes, and of further ``words``."""
    model.save_pretrained(to)
    write_tokenizer(to, words)
    return to


def llama(to: Path, **changes: Any) -> Path:
    config = transformers.LlamaConfig(**{**LLAMA, **changes})
    return saved(sharp(transformers.LlamaForCausalLM(config)), to)


def edited(directory: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """The directory with its weights renamed, added or left out."""
    file = directory / "model.safetensors"
    save_file(edit(load_file(file)), file, {"format": "pt"})
    return directory


def refused(directory: Path, options: Options = CPU) -> VariantFailed:
    with pytest.raises(VariantFailed) as caught:
        engine.load(directory, options)
    return caught.value


# ---- weights that the loader would make up --------------------------------------------------------------


def test_a_head_that_is_not_in_the_files(tmp_path: Path) -> None:
    found = refused(
        edited(llama(tmp_path), lambda all_: {k: v for k, v in all_.items() if k != "lm_head.weight"})
    )
    assert found.outcome == Outcome.LOAD_ERROR
    assert found.reason == (
        "the weights do not fit LlamaForCausalLM: 1 tensor not in the files, so made up by the loader: "
        "lm_head.weight"
    )


def test_names_of_another_wrapper(tmp_path: Path) -> None:
    found = refused(edited(llama(tmp_path), lambda all_: {f"_orig_mod.{key}": v for key, v in all_.items()}))
    assert "21 tensors not in the files, so made up by the loader" in found.reason
    assert "21 tensors in the files and left out by the loader: _orig_mod.lm_head.weight" in found.reason


def test_a_tensor_that_nobody_reads(tmp_path: Path) -> None:
    found = refused(edited(llama(tmp_path), lambda all_: {**all_, "extra.weight": torch.ones(2, 2)}))
    assert "1 tensor in the files and left out by the loader: extra.weight" in found.reason


def predicting(to: Path, **said: Any) -> Path:
    """A model of the shape of DeepSeek-V3, with a layer for multi-token prediction behind its last one."""
    config = transformers.DeepseekV3Config(
        **{**LLAMA, "num_key_value_heads": 4}, first_k_dense_replace=1, moe_intermediate_size=32,
        q_lora_rank=16, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8,
        n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1,
    )  # fmt: skip
    saved(sharp(transformers.DeepseekV3ForCausalLM(config)), to)
    file = to / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
    return edited(
        to,
        lambda all_: {
            **all_,
            **{
                key.replace("layers.1.", "layers.2."): v.clone()
                for key, v in all_.items()
                if "layers.1." in key
            },
            **{f"model.layers.2.{name}.weight": torch.ones(64) for name in ("enorm", "hnorm")},
        },
    )


def test_a_layer_for_multi_token_prediction_is_left_out(tmp_path: Path) -> None:
    """transformers knows it as number 61 only, so every smaller model of that shape was refused."""
    loaded = engine.load(predicting(tmp_path, num_nextn_predict_layers=1), CPU)
    plain = transformers.DeepseekV3ForCausalLM.from_pretrained(tmp_path).eval()
    assert loaded.parameters() == sum(one.numel() for one in plain.parameters())
    assert torch.equal(loaded.logits([1, 2, 3]), plain(torch.tensor([[1, 2, 3]])).logits[0])


@pytest.mark.parametrize(
    "said", [{"num_nextn_predict_layers": None}, {"num_nextn_predict_layers": 0}, {"num_hidden_layers": 1}]
)
def test_a_layer_that_the_config_does_not_call_one_of_prediction_is_missed(
    tmp_path: Path, said: dict[str, int]
) -> None:
    """With one layer fewer in the config, the last layer of the model is none of prediction."""
    more = {"num_nextn_predict_layers": 1} if "num_hidden_layers" in said else {}
    assert "left out by the loader" in refused(predicting(tmp_path, **more, **said)).reason


def test_a_whole_checkpoint_loads(tmp_path: Path) -> None:
    assert engine.load(llama(tmp_path), CPU).facts().vocabulary == 260


def test_an_adapter_beside_the_weights(tmp_path: Path) -> None:
    (llama(tmp_path) / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UsageError, match="an adapter beside the weights would not be applied"):
        check_directory(tmp_path)


# ---- configs that transformers writes itself ------------------------------------------------------------


def test_private_keys_name_no_code(tmp_path: Path) -> None:
    """Gemma 3, OPT, Mamba 2 and others have such keys."""
    file = llama(tmp_path) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_sliding_window_pattern": 6}))
    check_directory(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {"auto_map": {"AutoConfig": "x.Y"}},
        {"a": [{"trust_remote_code": True}]},
        {"_attn_implementation": "org/kernel"},
        {"text_config": {"_experts_implementation_internal": "org/kernel:x"}},
        {"transformers_weights": "sub/other.safetensors"},
    ],
)
def test_keys_that_can_bring_code_or_other_weights(tmp_path: Path, more: dict[str, Any]) -> None:
    file = llama(tmp_path) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    with pytest.raises(UsageError, match="can make the loader run code"):
        check_directory(tmp_path)


# ---- text that is not the model's -----------------------------------------------------------------------


def test_no_tokenizer_is_no_text(tmp_path: Path) -> None:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).save_pretrained(tmp_path)
    with pytest.raises(VariantFailed, match="no tokenizer beside the weights"):
        engine.load(tmp_path, CPU).encode("text")


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    found = engine.load(saved(model, tmp_path, words=("beyond",)), CPU)
    assert found.encode("within") != []
    with pytest.raises(
        VariantFailed, match=r"its token 260 \('beyond'\) is beyond the model's vocabulary of 260"
    ):
        found.encode("beyond")


def test_a_text_begins_as_the_tokenizer_says(tmp_path: Path) -> None:
    directory = llama(tmp_path)
    assert engine.load(directory, CPU).begin_ids() == ()
    file = directory / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }  # fmt: skip
    file.write_text(json.dumps(content))
    for found in (engine.load(directory, CPU), numpy_engine.load(directory, CPU)):
        assert found.begin_ids() == (0,)
        worker = Worker()
        worker.engine, worker.corpus = found, list(range(4, 40))
        assert worker._windows({"window": 4, "starts": [0, 8]}) == [[0, 4, 5, 6], [0, 12, 13, 14]]
        for chat in (False, True):  # there is no template, so a message is a text
            assert encoded(found, [{"chat": chat, "text": "ab", "tokens": None}])[0][0] == 0


def test_what_a_tokenizer_puts_behind_a_text_does_not_begin_it(tmp_path: Path) -> None:
    directory = llama(tmp_path)
    file = directory / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
    }  # fmt: skip
    file.write_text(json.dumps(content))
    for found in (engine.load(directory, CPU), numpy_engine.load(directory, CPU)):
        assert found.begin_ids() == ()


# ---- decoding that is not what is scored ----------------------------------------------------------------


def test_steps_of_a_sound_model_are_those_of_one_pass(tmp_path: Path) -> None:
    found = engine.load(llama(tmp_path), CPU)
    checks, held = by_steps(found, found.facts())
    assert len(checks) == 2
    assert all(check.holds for check in checks)
    assert held == found.facts().kv_bytes_per_token == 2 * 2 * 2 * 16 * 4


def test_a_model_that_takes_no_cache(tmp_path: Path) -> None:
    """Each step sees its last token alone, at full speed."""
    config = transformers.OpenAIGPTConfig(vocab_size=260, n_positions=512, n_embd=64, n_layer=2, n_head=4)
    found = engine.load(saved(sharp(transformers.OpenAIGPTLMHeadModel(config), 20.0), tmp_path), EAGER)
    (causal, check), _held = by_steps(found, found.facts())
    assert causal.holds
    assert not check.holds
    with pytest.raises(NotApplied, match="tokens decoded step by step are those of one pass"):
        steps.enforce("runtime", [check])


@pytest.mark.parametrize("kind", ["Bert", "Electra"])
def test_a_model_that_sees_later_tokens(tmp_path: Path, kind: str) -> None:
    """An encoder that is loaded as a decoder without ``is_decoder``: what is scored is not what it writes."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=260, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    found = engine.load(saved(sharp(model, 5.0), tmp_path), CPU)
    (causal, _steps), _held = by_steps(found, found.facts())
    assert not causal.holds
    with pytest.raises(NotApplied, match="logits of a token do not depend on later tokens"):
        steps.enforce("runtime", [causal])
    found = engine.load(with_config(tmp_path, {"is_decoder": True}), CPU)
    assert by_steps(found, found.facts())[0][0].holds


def gpt1(to: Path) -> Path:
    config = transformers.OpenAIGPTConfig(vocab_size=260, n_positions=512, n_embd=64, n_layer=2, n_head=4)
    return saved(sharp(transformers.OpenAIGPTLMHeadModel(config), 20.0), to)


def electra(to: Path) -> Path:
    config = transformers.ElectraConfig(
        vocab_size=260, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
    )
    return saved(sharp(transformers.AutoModelForCausalLM.from_config(config), 5.0), to)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize(
    ("make", "holds"), [(llama, [True, True]), (gpt1, [True, False]), (electra, [False])]
)
def test_few_tokens_of_a_large_model_show_the_same(
    make: Callable[[Path], Path],
    holds: list[bool],
    few: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an encoder the steps are not judged here: its cache has seen nothing of later tokens."""
    found = engine.load(make(tmp_path), CPU if make is llama else EAGER)
    read: list[int] = []
    found.model.register_forward_pre_hook(
        lambda _model, _args, named: read.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    monkeypatch.setattr(stepping, "LARGE", 0 if few else found.parameters() + 1)
    checks, _held = by_steps(found, found.facts())
    assert [one.holds for one in checks][: len(holds)] == holds
    assert sum(read) == (16 + 4 + 20 + 16 if few else 48 + 12 + 60 + 48)


def test_an_attention_that_an_architecture_does_not_have(tmp_path: Path) -> None:
    config = transformers.OpenAIGPTConfig(vocab_size=260, n_positions=64, n_embd=64, n_layer=2, n_head=4)
    found = refused(saved(transformers.OpenAIGPTLMHeadModel(config), tmp_path))
    assert found.outcome == Outcome.UNSUPPORTED
    assert "set runtime.attention to eager" in found.reason


def test_a_state_space_model_has_no_formula_for_its_cache(tmp_path: Path) -> None:
    config = transformers.MambaConfig(vocab_size=260, hidden_size=64, num_hidden_layers=2, state_size=8)
    assert (
        engine.load(saved(transformers.MambaForCausalLM(config), tmp_path), EAGER).facts().kv_bytes_per_token
        is None
    )


STATES: dict[str, dict[str, Any]] = {  # architectures with a cache of another name or kind
    "mamba": {"hidden_size": 64, "state_size": 8},
    "falcon_mamba": {"hidden_size": 64, "state_size": 8},
    "mamba2": {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 8},
    "rwkv": {"hidden_size": 64, "attention_hidden_size": 64, "context_length": 512},
    "xlstm": {"hidden_size": 128, "num_heads": 4, "embedding_dim": 128},
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_is_carried_from_step_to_step_and_does_not_grow(tmp_path: Path, kind: str) -> None:
    layers = {"num_blocks": 2} if kind == "xlstm" else {}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=260, num_hidden_layers=2, bos_token_id=0, eos_token_id=1, **layers, **STATES[kind]
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    found = engine.load(saved(sharp(model), tmp_path), EAGER)
    (causal, steps), a_token = by_steps(found, found.facts())
    assert causal.holds, causal
    assert steps.holds, steps
    assert a_token == 0
    generation = found.prefill([[5, 6, 7]], 2)
    found.step(generation)
    assert found.cache_bytes(generation) > 0


@pytest.mark.parametrize(("window", "held"), [(16, 15), (128, 127), (None, 203)])
def test_the_cache_of_a_batch_is_what_its_own_length_holds(
    tmp_path: Path, window: int | None, held: int
) -> None:
    """A window of 128 tokens is not full in the short prompt after which a token's bytes are measured."""
    config = transformers.MistralConfig(**LLAMA, sliding_window=window)
    found = engine.load(saved(transformers.MistralForCausalLM(config), tmp_path), CPU)
    peaks = passes.memory_pass(found, [stepping.probe(200, 260)], 4)
    assert peaks.cache is not None
    assert 0 <= peaks.cache - held * 2 * 2 * 2 * 16 * 4 <= 2 * 8  # a window counts its tokens in 8 bytes


def test_linear_layers_with_a_cache_of_their_own(tmp_path: Path) -> None:
    """MiniMax refuses every other cache; of its two layers only the second one keeps keys and values."""
    config = transformers.MiniMaxConfig(
        **LLAMA, num_local_experts=4, num_experts_per_tok=2, head_dim=16,
        layer_types=["linear_attention", "full_attention"], block_size=8,
    )  # fmt: skip
    found = engine.load(saved(sharp(transformers.MiniMaxForCausalLM(config)), tmp_path), CPU)
    checks, a_token = by_steps(found, found.facts())
    assert all(one.holds for one in checks)
    assert a_token == 2 * 2 * 16 * 4


def test_a_padded_batch_of_a_sound_model_is_decoded_as_its_prompts_alone(tmp_path: Path) -> None:
    found = engine.load(llama(tmp_path), CPU)
    (check,) = by_batch(found, found.facts())
    assert check.holds, check


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("falcon_mamba", {"state_size": 8}),  # the padding goes through its state
        ("camembert", {"num_attention_heads": 4, "intermediate_size": 128, "is_decoder": True}),  # positions
    ],
)
def test_an_architecture_that_reads_the_padding_of_a_batch(
    tmp_path: Path, kind: str, more: dict[str, Any]
) -> None:
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=260, hidden_size=64, num_hidden_layers=2, bos_token_id=0, eos_token_id=1,
        pad_token_id=1, **more,
    )  # fmt: skip
    directory = saved(sharp(transformers.AutoModelForCausalLM.from_config(config), 5.0), tmp_path)
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "eager", "random": False}
    message = {
        "directory": str(directory), "runtime": "bench.runtimes.transformers", "optimise": [],
        "options": options, "step_by_step": True,
    }  # fmt: skip
    session.load({**message, "batches": None})
    with pytest.raises(NotApplied, match="reads the padding: set batch_size to 1, or use workload fixed"):
        session.load({**message, "batches": "padded"})


def test_an_architecture_that_mixes_the_rows_of_a_batch(tmp_path: Path) -> None:
    """Without padding too, so a batch of the workload `fixed` was measured, and was not this model."""
    torch.manual_seed(0)
    config = transformers.RwkvConfig(vocab_size=260, hidden_size=64, num_hidden_layers=3)
    directory = saved(sharp(transformers.RwkvForCausalLM(config), 5.0), tmp_path)
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "eager", "random": False}
    message = {
        "directory": str(directory), "runtime": "bench.runtimes.transformers", "optimise": [],
        "options": options, "step_by_step": True,
    }  # fmt: skip
    session.load(message)
    with pytest.raises(NotApplied, match="mixes the rows of a batch: set batch_size to 1"):
        session.load({**message, "batches": "even"})


def test_an_architecture_that_cannot_decode_by_steps_is_refused_in_a_sentence(tmp_path: Path) -> None:
    config = transformers.CpmAntConfig(
        vocab_size=260, hidden_size=64, num_attention_heads=4, dim_head=16, dim_ff=128, num_hidden_layers=2
    )
    found = engine.load(saved(transformers.CpmAntForCausalLM(config), tmp_path), EAGER)
    with pytest.raises(VariantFailed, match="CpmAntForCausalLM cannot decode step by step") as caught:
        found.as_decoded()
    assert caught.value.outcome == Outcome.LOAD_ERROR


@pytest.mark.parametrize(
    "said", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory", "std::bad_alloc"]
)
def test_too_little_memory_stays_what_it_is(said: str) -> None:
    with pytest.raises(RuntimeError, match=said.replace("'", ".")), in_our_words("sdpa"):
        raise RuntimeError(said)


def test_an_export_whose_recipe_ends_at_a_version_is_unsupported() -> None:
    cannot, said = "optimum-intel cannot export", "Transformers does not allow for the export; it required 5"
    with pytest.raises(Unsupported, match=f"{cannot}: {said}"), in_our_words("sdpa", cannot):
        raise ValueError(said)


# ---- an engine that would compute another model ---------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"), ("attention_bias", True), ("mlp_bias", True), ("sliding_window", 16),
        ("rope_parameters", {"rope_type": "llama3", "factor": 8.0, "rope_theta": 1e4}), ("soft_cap", 30.0),
        ("layer_types", ["sliding_attention", "full_attention"]), ("something_new", 1),
    ],
)  # fmt: skip
def test_an_engine_refuses_a_key_that_it_does_not_compute(key: str, value: Any) -> None:
    config = {**transformers.LlamaConfig(**LLAMA).to_dict(), key: value}
    said = numpy_engine.refuse_model(config)
    assert str(said).startswith(f"the numpy engine does not compute {key}: ")


@pytest.mark.parametrize("window", [{"sliding_window": 16, "use_sliding_window": False}, {}])
def test_a_window_of_mistral_has_no_switch_and_a_default(window: dict[str, Any]) -> None:
    config = transformers.MistralConfig(**LLAMA).to_dict()
    del config["sliding_window"]
    assert "does not compute sliding_window: " in str(unknown_key("llama-cpp", {**config, **window}))
    assert unknown_key("llama-cpp", {**config, "sliding_window": None}) is None


def test_an_engine_computes_what_transformers_writes_for_a_plain_llama() -> None:
    assert unknown_key("numpy", transformers.LlamaConfig(**LLAMA).to_dict()) is None
    off = {"use_sliding_window": False, "sliding_window": 4096}
    qwen = transformers.Qwen2Config(**LLAMA, **off).to_dict()
    assert unknown_key("llama-cpp", qwen, {"attention_bias": (True,)}) is None


def test_a_window_is_refused_by_llama_cpp(tmp_path: Path) -> None:
    config = transformers.MistralConfig(**LLAMA, sliding_window=16)
    directory = saved(transformers.MistralForCausalLM(config), tmp_path / "model")
    with pytest.raises(Unsupported, match="the llama-cpp engine does not compute sliding_window: 16"):
        write(directory, tmp_path / "out.gguf", "float32")


def test_a_head_that_a_fine_tune_untied(tmp_path: Path) -> None:
    """The config still says that it is tied, and both engines use the head of the file."""
    directory = llama(tmp_path)
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": True}))
    ids = [5, 17, 99, 200]
    theirs = engine.load(directory, CPU).logits(ids)
    ours = torch.tensor(numpy_engine.load(directory, CPU).logits(ids))
    assert float((ours - theirs).abs().max()) < 1e-3 * float(theirs.abs().max())


@pytest.mark.parametrize(
    ("said", "head", "tied"),
    [
        (True, "none", True),
        (True, "the same", True),
        (True, "another", False),
        (False, "the same", False),
        (None, "another", False),
    ],
)
def test_whether_a_head_counts_as_a_matrix_of_its_own(
    said: bool | None, head: str, tied: bool, tmp_path: Path
) -> None:
    """Engines that read the files themselves count parameters by it: a head that was saved beside equal
    embeddings made the model of one engine half as large again as that of another."""
    directory = llama(tmp_path)

    def with_head(tensors: dict[str, Any]) -> dict[str, Any]:
        if head == "none":
            del tensors["lm_head.weight"]
        if head == "the same":
            tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        return tensors

    edited(directory, with_head)
    assert is_tied(directory, {} if said is None else {"tie_word_embeddings": said}) == tied
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": bool(said)}))
    assert numpy_engine.load(directory, CPU).parameters() == engine.load(directory, CPU).parameters()


# ---- experts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        {"label": "prune: magnitude", "module": "bench.optimisations.prune.magnitude", "params": {}},
        {
            "label": "quantise: torch",
            "module": "bench.optimisations.quantise.torch_int8_dynamic",
            "params": {},
        },
    ],
    ids=lambda step: step["label"],
)
def test_a_scheme_reaches_the_experts(tmp_path: Path, step: dict[str, Any]) -> None:
    config = transformers.Qwen3MoeConfig(
        **LLAMA, head_dim=16, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=128,
        decoder_sparse_step=1, mlp_only_layers=[],
    )  # fmt: skip
    directory = saved(transformers.Qwen3MoeForCausalLM(config), tmp_path)
    message = {
        "directory": str(directory), "runtime": "bench.runtimes.transformers", "optimise": [step],
        "options": {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False},
    }  # fmt: skip
    _engine, found = session.load(message)
    experts = next(one for one in found.evidence if one["step"] == "experts")
    assert all(check["holds"] for check in experts["checks"])
    share = next(
        check for check in found.evidence[-1]["checks"] if check["claim"].startswith("share of the weights")
    )
    assert float(share["found"].partition("%")[0]) > 99


# ---- what the second round of attackers found -----------------------------------------------------------


def with_config(directory: Path, changes: dict[str, Any]) -> Path:
    place = directory / "config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))
    return directory


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 1}, "9 tensors of the files belong to no layer of the config"),
        ({"num_hidden_layers": 3}, "the files hold no model.layers.2"),
        ({"vocab_size": 1000}, r"embed_tokens.weight is \[260, 64\] in the files and \[1000, 64\]"),
    ],
)
def test_the_numpy_engine_reads_the_whole_model_or_none(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(VariantFailed, match=words):
        numpy_engine.load(with_config(llama(tmp_path), changes), CPU)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads is '0', not a whole number above 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is '-1'"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"quantization_config": "abc"}, "not a block with a quant_method"),
        ({"quantization_config": {"a": 1}}, "not a block with a quant_method"),
    ],
)
def test_sizes_that_cannot_be_are_named_before_anything_is_loaded(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        check_directory(with_config(llama(tmp_path), changes))


def test_a_tokenizer_that_puts_a_book_before_each_text_is_refused(tmp_path: Path) -> None:
    directory = llama(tmp_path)
    place = directory / "tokenizer.json"
    found = json.loads(place.read_text())
    book = {"id": "<s>", "ids": [0] * 5000, "tokens": ["<s>"] * 5000}
    begin, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    other = {"Sequence": {"id": "B", "type_id": 1}}
    found["post_processor"] = {
        "type": "TemplateProcessing", "single": [begin, text], "pair": [text, other],
        "special_tokens": {"<s>": book},
    }  # fmt: skip
    place.write_text(json.dumps(found))
    with pytest.raises(VariantFailed, match="makes 5001 tokens of a text of one letter"):
        engine.load(directory, CPU).begin_ids()


# ---- numbers that are none ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [1, 3])
def test_a_later_prompt_that_overflows_fails_the_row(tmp_path: Path, where: int, value: float) -> None:
    """One token's embedding is too large; it is in one of the prompts, and not in the first."""
    letter = write_letter(llama(tmp_path), "x", value)
    worker = Worker()
    worker.engine = engine.load(tmp_path, CPU)
    texts = [f"question {'x' if number == where else 'a'}" for number in range(4)]
    prompts = [{"text": text, "chat": True, "tokens": None} for text in texts]
    worker.prompts({"prompts": prompts, "batch_size": 1, "output_tokens": 4}, [])
    assert letter in worker.batches[where][0]
    worker.solo({}, [])
    with pytest.raises(VariantFailed, match=f"NaN or infinite logits in request {where + 1} of 4"):
        worker.memory({}, [])


def test_a_reply_that_overflows_fails_the_row(tmp_path: Path) -> None:
    """No prompt has the token: the model writes it itself, as the second one of its reply."""
    found = engine.load(llama(tmp_path), CPU)
    generation = found.prefill([found.encode_chat("question")], 3)
    found.step(generation)
    found.step(generation)
    written = found.tokens(generation)[0][1]
    assert written not in found.encode_chat("question")
    with torch.no_grad():
        found.model.model.embed_tokens.weight[written] = float("nan")
    worker = Worker()
    worker.engine = found
    worker.prompts({"prompts": [{"text": "question", "chat": True, "tokens": None}], "batch_size": 1,
                    "output_tokens": 4}, [])  # fmt: skip
    worker.solo({}, [])
    with pytest.raises(VariantFailed, match="NaN or infinite logits in request 1 of 1"):
        worker.memory({}, [])


def write_letter(directory: Path, letter: str, value: float) -> int:
    """Set the whole embedding of a letter to a value, and return the letter's id."""
    token = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"][letter]

    def spoil(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors["model.embed_tokens.weight"][token] = value
        return tensors

    edited(directory, spoil)
    return int(token)


# ---- texts that are rotated in two ways -----------------------------------------------------------------


def longrope(to: Path) -> Path:
    """A model with other factors beyond 32 tokens, as Phi-3 and Phi-4-mini have beyond 4096."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [9.0] * 8}
    config = transformers.Phi3Config(
        **LLAMA, original_max_position_embeddings=32, pad_token_id=0, rope_parameters=rope,
    )  # fmt: skip
    return saved(sharp(transformers.Phi3ForCausalLM(config)), to)


@pytest.mark.parametrize(("prompt", "reply"), [(20, 13), (33, 8), (60, 4)])
def test_longrope_on_either_side_of_its_length_is_what_generate_writes(
    tmp_path: Path, prompt: int, reply: int
) -> None:
    ids = list(range(3, 3 + prompt))
    loaded = engine.load(longrope(tmp_path), CPU)
    generation = loaded.prefill([ids], reply)
    for _ in range(reply - 1):
        loaded.step(generation)
    written = loaded.model.generate(
        torch.tensor([ids]), max_new_tokens=reply, do_sample=False, eos_token_id=None
    )
    assert loaded.tokens(generation)[0] == written[0, prompt:].tolist()


@pytest.mark.parametrize(("prompts", "reply"), [((20,), 14), ((32,), 2), ((10, 20), 14)])
def test_a_reply_that_crosses_the_length_of_longrope_is_refused(
    tmp_path: Path, prompts: tuple[int, ...], reply: int
) -> None:
    """Its cache held keys of both rotations, and 11 of 16 tokens were others than those of ``generate``."""
    loaded = engine.load(longrope(tmp_path), CPU)
    with pytest.raises(Unsupported, match=r"texts of more than 32 tokens in another way \(LongRoPE\)"):
        loaded.prefill([list(range(3, 3 + length)) for length in prompts], reply)


def test_a_batch_on_both_sides_of_the_length_of_longrope_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short prompt was rotated like the long one beside it, and its logits were others than alone."""
    path = longrope(tmp_path)
    loaded = engine.load(path, CPU)
    short, long = list(range(3, 13)), list(range(3, 43))
    with pytest.raises(Unsupported, match=r"prompts of 10 and 40 tokens: .* set batch_size to 1"):
        loaded.prefill([short, long], 4)
    for alike in ([short, short[:5]], [long, long[:33]]):
        loaded.prefill(alike, 4)
    monkeypatch.setattr(engine, "must_keep_its_rotation", lambda *_: None)
    values = list[Any]()
    loaded._choose = lambda last: values.append(last[:1].clone()) or last.argmax(-1, keepdim=True)
    loaded.prefill([short], 4)
    loaded.prefill([short, long], 4)
    loaded.prefill([short, short[:5]], 4)
    alone, beside, padded = values
    assert torch.allclose(alone, padded, atol=1e-4)
    assert not torch.allclose(alone, beside, atol=1e-2), "else nothing needs to be refused"


@pytest.mark.parametrize(
    "config",
    [
        {"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 32},
        {"rope_scaling": {"type": "su", "original_max_position_embeddings": 32}},
        {"rope_parameters": {"full": {"rope_type": "longrope", "original_max_position_embeddings": 32}}},
    ],
)
def test_longrope_is_found_under_each_of_its_names(config: dict[str, Any]) -> None:
    must_keep_its_rotation(turns_of(config), [33], 8)
    another = {"rope_parameters": {"rope_type": "yarn"}, **dict(list(config.items())[1:])}
    must_keep_its_rotation(turns_of(another), [20, 40], 21)
    with pytest.raises(Unsupported, match="grow from 20 to 33 tokens"):
        must_keep_its_rotation(turns_of(config), [20], 14)


# ---- written out again ----------------------------------------------------------------------------------


def test_matrices_that_are_no_linear_layers_are_not_called_packed(tmp_path: Path) -> None:
    """The router of DeepSeek-V3, stacks of experts and the matrices of GPT-2: export refused them."""
    gpt2 = transformers.GPT2Config(vocab_size=260, n_embd=64, n_layer=1, n_head=4, n_positions=128)
    places = [
        predicting(tmp_path / "deepseek"),
        saved(sharp(transformers.GPT2LMHeadModel(gpt2)), tmp_path / "gpt2"),
    ]
    edited(places[0], lambda all_: {key: one for key, one in all_.items() if "layers.2." not in key})
    for place in places:
        loaded = engine.load(place, CPU)
        assert any(matrix.module != "Linear" for matrix in loaded.census().matrices)
        assert exporting.export(loaded, str(place / "again")).logits_apart == 0
