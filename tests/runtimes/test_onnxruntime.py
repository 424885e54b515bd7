"""The ONNX Runtime engine and its schemes beside transformers, in the engine's own environment.

Run there by the first test; here, without the packages, the others are skipped.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engines import (
    decoded,
    own_cache,
    run_there,
    saved,
    sizes,
    told,
    toys,
    with_other_formats,
    without_a_tensor,
)

from bench import plugins
from bench.engine import Options
from bench.engine.evidence import Census
from bench.errors import NotApplied, Unsupported, VariantFailed
from bench.runtimes import _onnx, onnxruntime
from bench.runtimes import transformers as reference
from bench.worker import session

MISSING = plugins.missing_packages(onnxruntime)
inside = pytest.mark.skipif(bool(MISSING), reason="runs in the environment of the engine")
PROMPTS = ([5, 17, 200, 3, 44, 8, 8, 91], [9], [7, 300, 2])
SCHEMES = ("onnx-int8-dynamic", "onnx-int4")
every_scheme = pytest.mark.parametrize("name", SCHEMES)
SIZES = sizes(96)
MODELS = toys(96, sliding_window=None)


@pytest.mark.skipif(not MISSING, reason="this is the environment of the engine")
def test_in_the_environment_of_the_engine() -> None:
    run_there("onnxruntime", __file__)


_own_cache = own_cache(MISSING)


@pytest.fixture(scope="module", params=MODELS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(MODELS[request.param](), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(MODELS["llama"](), tmp_path_factory.mktemp("llama"))


def both(directory: Path) -> tuple[Any, Any]:
    options = Options(device="cpu", threads=1)
    return onnxruntime.load(directory, options), reference.load(directory, options)


# ---- the engine ----------------------------------------------------------------------------------


@inside
def test_logits_and_tokens(directory: Path) -> None:
    """Of one window, of a batch of unequal prompts, and of each of them alone."""
    ours, theirs = both(directory)
    window = [(7 * place) % 512 for place in range(40)]
    assert ours.logits(window).dtype == torch.float32
    assert torch.allclose(ours.logits(window), theirs.logits(window), rtol=1e-4, atol=1e-4)
    together = decoded(ours, PROMPTS, 12)
    assert together == decoded(theirs, PROMPTS, 12)
    assert together == [decoded(ours, [prompt], 12)[0] for prompt in PROMPTS]


@inside
@pytest.mark.parametrize("lengths", [(900, 3, 700), (130, 1), (1, 1), (5,) * 8])
def test_padding_does_not_change_a_reply(llama: Path, lengths: tuple[int, ...]) -> None:
    ours, theirs = both(llama)
    prompts = [[(11 * row + 7 * place) % 512 for place in range(one)] for row, one in enumerate(lengths)]
    together = decoded(ours, prompts, 8)
    assert together == decoded(theirs, prompts, 8)
    assert together == [decoded(ours, [prompt], 8)[0] for prompt in prompts]


@inside
def test_what_was_loaded(directory: Path) -> None:
    ours, theirs = both(directory)
    assert ours.parameters() == sum(one.numel() for one in theirs.model.parameters())
    matrices = ours.census().matrices
    assert len(matrices) == len({one.name for one in matrices})
    assert [one.name for one in matrices if one.is_head] == ["lm_head"]
    weights = {name: one.numel() for name, one in theirs.model.named_parameters() if one.dim() == 2}
    layers = sum(elements for name, elements in weights.items() if ".layers." in name)
    assert sum(one.elements for one in matrices if not one.is_head) == layers
    assert all(one.stored_bytes == 4 * one.elements for one in matrices)
    assert {one.module for one in matrices} == {"MatMul"}


@inside
def test_facts(llama: Path) -> None:
    ours, theirs = both(llama)
    found = ours.facts()
    assert found.engine.startswith("ONNX Runtime 1.")
    assert found == dataclasses.replace(theirs.facts(), engine=found.engine, loaded="11 MatMul")
    assert onnxruntime.load(llama, Options(device="cpu", threads=2)).facts().threads == 2


@inside
def test_the_cache_is_written_in_place(llama: Path) -> None:
    """Its bytes are those of the facts, and a step adds one token to the very buffers it began with."""
    ours, _theirs = both(llama)
    generation = ours.prefill([[1, 2, 3]], 5)
    a_token = ours.facts().kv_bytes_per_token
    assert ours.cache_bytes(generation) == 3 * a_token
    buffer = generation.caches[0]
    assert buffer.shape[2] == 8
    assert not buffer[:, :, 3:].any()
    ours.step(generation)
    assert ours.cache_bytes(generation) == 4 * a_token
    assert buffer[:, :, 3].any()
    assert not buffer[:, :, 4:].any()


@inside
def test_two_batches_at_once(llama: Path) -> None:
    ours, _theirs = both(llama)
    first, second = ours.prefill(PROMPTS, 6), ours.prefill(PROMPTS[:1], 6)
    for _ in range(5):
        ours.step(first)
        ours.step(second)
    assert ours.tokens(first) == decoded(ours, PROMPTS, 6)
    assert ours.tokens(second) == decoded(ours, PROMPTS[:1], 6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(device="cuda"), "runs on the CPU"),
        (Options(random=True), "not random ones"),
        (Options(dtype="bfloat16"), "not in bfloat16"),
        (Options(dtype="float16"), "not in float16"),
    ],
)
def test_what_it_does_not_do(options: Options, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=reason):
        onnxruntime.load(tmp_path, options)


@inside
def test_an_architecture_it_does_not_know(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(Unsupported, match="not for GPT2LMHeadModel"):
        onnxruntime.load(saved(config, tmp_path), Options())


@inside
@pytest.mark.parametrize(
    "config",
    [
        transformers.MistralConfig(**SIZES, sliding_window=8),
        transformers.Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ],
    ids=["mistral", "qwen2"],
)
def test_a_sliding_window(config: Any, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"the onnxruntime engine does not compute .*sliding"):
        onnxruntime.load(saved(config, tmp_path), Options())


LLAMA_3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


@inside
@pytest.mark.parametrize(
    "more",
    [{"rope_parameters": LLAMA_3}, {"attention_bias": True, "mlp_bias": True}],
    ids=["scaled rotation", "biases"],
)
def test_further_keys_that_are_computed(more: dict[str, Any], tmp_path: Path) -> None:
    """The window is longer than the context before scaling, so every frequency counts."""
    config = transformers.LlamaConfig(**SIZES, max_position_embeddings=512, **more)
    ours, theirs = both(saved(config, tmp_path / "model"))
    window = [(7 * place) % 512 for place in range(200)]
    plain = both(saved(transformers.LlamaConfig(**SIZES, max_position_embeddings=512), tmp_path / "plain"))[0]
    assert torch.allclose(ours.logits(window), theirs.logits(window), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(ours.logits(window), plain.logits(window), rtol=1e-1, atol=1e-1)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("Llama", "final_logit_softcapping", 3.0),
        ("Llama", "something_new", 1),
        ("Llama", "hidden_act", "gelu"),
        ("Llama", "rope_parameters", {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}),
        ("Llama", "quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("Qwen3", "rope_parameters", LLAMA_3),
    ],
)
def test_a_key_that_the_builder_would_ignore_or_misread(
    kind: str, key: str, value: object, tmp_path: Path
) -> None:
    """Llama has no cap on its logits in transformers, and the builder would add one; it ignores the scaling
    of a rotation that is not Llama 3's."""
    getattr(transformers, f"{kind}Config")(**SIZES).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    plain = {**json.loads(file.read_text()), "architectures": [f"{kind}ForCausalLM"]}
    file.write_text(json.dumps(plain))
    assert _onnx.computed(tmp_path)[1] == _onnx.BUILDERS[f"{kind}ForCausalLM"]
    file.write_text(json.dumps({**plain, key: value}))
    with pytest.raises(Unsupported, match=f"the onnxruntime engine does not compute {key}: "):
        _onnx.computed(tmp_path)


@inside
def test_a_tensor_that_is_missing_is_not_made_up(llama: Path, tmp_path: Path) -> None:
    """The exporter made it up and logged that, and the drift of the row was that of random numbers."""
    with pytest.raises(VariantFailed, match=r"made up by the loader: model\.layers\.1\.mlp\.down_proj"):
        onnxruntime.load(without_a_tensor(llama, tmp_path / "model"), Options(device="cpu", threads=1))


@inside
def test_files_of_other_formats_beside_the_weights_are_not_read(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, window = Options(device="cpu", threads=1), [5, 17, 200, 3]
    before = onnxruntime.load(llama, options).logits(window)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))  # it is exported again
    planted = with_other_formats(llama, tmp_path / "model")
    assert torch.equal(onnxruntime.load(planted, options).logits(window), before)


# ---- the schemes ---------------------------------------------------------------------------------


def message(directory: Path, name: str, **params: object) -> dict[str, Any]:
    settings = {**dataclasses.asdict(plugins.load("optimisations.quantise", name).Params()), **params}
    return {
        "directory": str(directory),
        "runtime": "bench.runtimes.onnxruntime",
        "options": {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False},
        "optimise": [told("quantise", name, settings)],
    }


@inside
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("onnx-int8-dynamic", {}),
        ("onnx-int8-dynamic", {"per_channel": False}),
        ("onnx-int8-dynamic", {"reduce_range": True}),
        ("onnx-int4", {}),
        ("onnx-int4", {"block_size": 16, "accuracy_level": 1}),
        ("onnx-int4", {"block_size": 16, "symmetric": False}),
        ("onnx-int4", {"block_size": 128}),
    ],
)
def test_a_scheme_that_works(llama: Path, name: str, params: dict[str, object]) -> None:
    """Evidence, tokens, and logits that are those of the whole model with noise on them."""
    plain, _theirs = both(llama)
    engine, found = session.load(message(llama, name, **params))
    step = found.evidence[1]
    assert all(one["holds"] for one in step["checks"])
    assert step["one_off"][0]["what"] == name
    assert found.parameters == plain.parameters()
    assert found.weights_bytes < plain.census().weights_bytes
    window = list(range(30))
    distance = (engine.logits(window) - plain.logits(window)).abs().mean() / plain.logits(window).std()
    assert 0 < distance < 0.5
    assert engine.finite(window)
    assert [len(row) for row in decoded(engine, PROMPTS, 5)] == [5, 5, 5]


@inside
def test_what_is_multiplied(llama: Path) -> None:
    """Accuracy level 4 rounds the activations as well, so its logits are others than those of level 1."""
    levels = [session.load(message(llama, "onnx-int4", accuracy_level=one))[0] for one in (1, 4)]
    assert not torch.allclose(*(one.logits([3, 1, 2]) for one in levels), rtol=1e-4, atol=1e-4)


@inside
@every_scheme
def test_nothing_is_quantised_twice(llama: Path, name: str) -> None:
    """The second run has the file of the first, and says what it had cost."""
    bills = [session.load(message(llama, name))[1].evidence[1]["one_off"][0] for _ in range(2)]
    assert bills[1] == {**bills[0], "reused": True}


@inside
@every_scheme
def test_a_scheme_that_does_nothing(llama: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    monkeypatch.setattr(scheme, "apply", lambda model, params: model)
    with pytest.raises(NotApplied, match="layers now MatMul"):
        session.load(message(llama, name))


@inside
@every_scheme
def test_a_scheme_that_leaves_one_layer_out(llama: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quantiser is told to exclude one product more than the head."""
    import onnxruntime as package
    from onnxruntime.quantization import matmul_nbits_quantizer

    left_out = "/model/layers.1/mlp/down_proj/MatMul"

    def all_but_one(quantise: Any) -> Any:
        def less(*given: Any, nodes_to_exclude: list[str], **more: Any) -> Any:
            return quantise(*given, nodes_to_exclude=[*nodes_to_exclude, left_out], **more)

        return less

    for module, quantiser in (
        (package.quantization, "quantize_dynamic"),
        (matmul_nbits_quantizer, "MatMulNBitsQuantizer"),
    ):
        monkeypatch.setattr(module, quantiser, all_but_one(getattr(module, quantiser)))
    monkeypatch.setenv("BENCH_CACHE", str(llama / "cache"))
    with pytest.raises(NotApplied, match="expected 10, found 9"):
        session.load(message(llama, name))


@every_scheme
def test_evidence_about_an_empty_model_does_not_hold(name: str) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    empty = Census((), 0, {})
    assert not all(one.holds for one in scheme.evidence(empty, empty, scheme.Params()))


@every_scheme
def test_a_scheme_says_where_it_runs(name: str) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    assert scheme.RUNTIMES == ("onnxruntime",)
    assert scheme.unsupported("cpu", "float32") is None
    assert "CPU" in scheme.unsupported("cuda", "float32")
    assert "float32" in scheme.unsupported("cpu", "bfloat16")
