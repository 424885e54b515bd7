"""Experts in stacks: taken apart they compute the same, and every scheme takes them or says why not."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import told

from bench import plugins
from bench.engine import Changed, Options, census, expert_counts, experts
from bench.errors import NotApplied, Unsupported
from bench.optimisations import gets_experts, unsupported, verbs
from bench.optimisations.prune import experts as pruning
from bench.optimisations.prune import magnitude
from bench.optimisations.shared import calibration
from bench.runtimes.transformers import TransformersEngine
from bench.worker import session

SMALL: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "vocab_size": 300, "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip
LATENT: dict[str, Any] = {
    "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
    "num_key_value_heads": 4, "head_dim": 16, "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
# What experts differ in: gated and together; beside shared ones; transposed, interleaved and with biases.
KINDS: dict[str, Callable[[], Any]] = {
    "mixtral": lambda: transformers.MixtralConfig(
        **SMALL, num_local_experts=8, intermediate_size=128, sliding_window=None
    ),
    "qwen3-moe": lambda: transformers.Qwen3MoeConfig(
        **SMALL, num_experts=4, moe_intermediate_size=128, norm_topk_prob=True
    ),
    "deepseek-v3": lambda: transformers.DeepseekV3Config(
        **{**SMALL, **LATENT}, n_routed_experts=8, moe_intermediate_size=128, intermediate_size=128,
        n_group=2, topk_group=1,
    ),
    "gpt-oss": lambda: transformers.GptOssConfig(
        **SMALL, num_local_experts=8, intermediate_size=128,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "granite-moe": lambda: transformers.GraniteMoeConfig(
        **{key: value for key, value in SMALL.items() if key != "head_dim"}, num_local_experts=8,
        intermediate_size=128,
    ),
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS)
IDS = torch.arange(3, 43)[None]


def mixture(kind: str) -> Any:
    """A model whose logits depend on its experts."""
    torch.manual_seed(0)
    attention = "eager" if kind == "gpt-oss" else "sdpa"
    model = transformers.AutoModelForCausalLM.from_config(KINDS[kind](), attn_implementation=attention)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight.shape[-1] ** -0.5)
            elif weight.dim() == 1 and float(weight.abs().sum()) == 0:
                weight.normal_(0, 0.1)  # biases
    return model.eval().requires_grad_(False)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits[0].double()


def divergence(base: torch.Tensor, other: torch.Tensor) -> float:
    ln_p, ln_q = base.log_softmax(-1), other.log_softmax(-1)
    return float((ln_p.exp() * (ln_p - ln_q)).sum(-1).mean())


# ---- taken apart ------------------------------------------------------------------------------------------


@every_kind
def test_a_pass_and_steps_are_those_of_the_stacks(kind: str, tmp_path: Path) -> None:
    model = mixture(kind)
    expected, bytes_before = logits(model), census.take(model).weights_bytes
    taken = experts.into_linears(model)
    assert taken.experts == (4 if kind == "qwen3-moe" else 8) * taken.layers > 0
    assert abs(divergence(expected, logits(model))) < 1e-6
    assert not experts.has_stacks(model)
    assert census.take(model).weights_bytes == bytes_before
    options = Options(device="cpu", attention=model.config._attn_implementation, random=True)
    checks, _held = TransformersEngine(model, tmp_path, options).as_decoded()
    assert checks
    assert all(one.holds for one in checks)


@every_kind
def test_without_its_experts_a_model_is_another(kind: str) -> None:
    """Otherwise the test above could not fail."""
    model = mixture(kind)
    expected = logits(model)
    for module in experts.stacked(model):
        module.down_proj.data[:2] = 0
    assert divergence(expected, logits(model)) > 1e-4


def test_each_expert_has_memory_of_its_own() -> None:
    model = mixture("qwen3-moe")
    experts.into_linears(model)
    for module in experts.mixtures(model):
        for layer in (*module.gate_up_proj, *module.down_proj):
            assert layer.weight.untyped_storage().nbytes() == layer.weight.nbytes
            assert layer.weight.is_contiguous()


@every_kind
def test_lent_experts_are_the_stacks(kind: str) -> None:
    """What is changed in place is changed in the stacks, which are there again with their names."""
    model = mixture(kind)
    expected, names = logits(model), list(model.state_dict())
    implementation = model.config._experts_implementation
    with experts.lent_as_linears(model):
        assert abs(divergence(expected, logits(model))) < 1e-6
        first = next(experts.mixtures(model))
        first.down_proj[3].weight.zero_()
    assert list(model.state_dict()) == names
    assert model.config._experts_implementation == implementation
    zeros = next(experts.mixtures(model)).down_proj
    assert bool((zeros[3] == 0).all())
    assert not bool((zeros[2] == 0).any())


def test_lent_experts_come_back_after_a_failure() -> None:
    model = mixture("mixtral")
    expected = logits(model)
    with pytest.raises(RuntimeError, match="in the middle"), experts.lent_as_linears(model):
        raise RuntimeError("in the middle")
    assert torch.equal(logits(model), expected)


@every_kind
def test_experts_that_read_everything_change_nothing(kind: str) -> None:
    model = mixture(kind)
    experts.into_linears(model)
    expected, seen = logits(model), []
    layer = next(experts.mixtures(model)).down_proj[2]
    layer.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    with experts.reading_everything(model):
        assert torch.allclose(logits(model), expected, atol=1e-5)
    assert seen == [IDS.shape[1]]


def test_a_copy_is_calibrated_apart() -> None:
    """Calibration copies the model; the copy must compute with its own experts."""
    model = mixture("mixtral")
    experts.into_linears(model)
    expected, other = logits(model), copy.deepcopy(model)
    for module in experts.mixtures(other):
        for layer in module.down_proj:
            layer.weight.zero_()
    assert torch.equal(logits(model), expected)
    assert divergence(expected, logits(other)) > 1e-4


def test_experts_of_another_kind_are_refused() -> None:
    config = transformers.Llama4TextConfig(
        hidden_size=64, intermediate_size=64, intermediate_size_mlp=64, num_hidden_layers=2, vocab_size=300,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_local_experts=4, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Llama4ForCausalLM(config)
    with pytest.raises(Unsupported, match=r"Llama4ForCausalLM computes its experts .* in its own way"):
        experts.into_linears(model)


def test_a_dense_model_has_nothing_to_take_apart() -> None:
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=300
    )
    model = transformers.LlamaForCausalLM(config)
    assert not experts.has_stacks(model)
    assert experts.into_linears(model).experts == 0


# ---- by every scheme --------------------------------------------------------------------------------------

REFUSED = {("quantise", "awq"): "AWQ would scale what the experts read"}
SCHEMES = [
    (verb, name)
    for verb in verbs()
    for name in plugins.names(f"optimisations.{verb}")
    if gets_experts(verb, scheme := plugins.load(f"optimisations.{verb}", name)) != "stacks"
    and "transformers" in getattr(scheme, "RUNTIMES", ("transformers",))
    and not getattr(scheme, "DECODING", False)
]
every_scheme = pytest.mark.parametrize(("verb", "name"), SCHEMES, ids=[f"{v} {n}" for v, n in SCHEMES])


@cache
def saved(place: Path) -> Path:
    mixture("qwen3-moe").save_pretrained(place)
    write_tokenizer(place)
    return place


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "experts-cache"))
    return saved(tmp_path_factory.getbasetemp() / "experts-model")


def message(directory: Path, verb: str, name: str) -> dict[str, Any]:
    module = plugins.load(f"optimisations.{verb}", name)
    if missing := plugins.missing_packages(module):
        pytest.skip(f"needs {missing[0]}")
    dtype = next((one for one in ("float32", "bfloat16") if unsupported(module, "cpu", one) is None), None)
    if dtype is None:
        pytest.skip("has no CPU kernels")
    settings = dataclasses.asdict(module.Params())
    settings |= {"samples": 4, "tokens": 64} if "samples" in settings else {}
    return {
        "directory": str(directory), "runtime": "bench.runtimes.transformers",
        "options": {"device": "cpu", "dtype": dtype, "threads": None, "attention": "sdpa", "random": False},
        "optimise": [told(verb, name, settings)],
    }  # fmt: skip


@cache
def dense_bytes(directory: str, dtype: str) -> int:
    """The bytes of the weights before any scheme."""
    options = {"device": "cpu", "dtype": dtype, "threads": None, "attention": "sdpa", "random": False}
    _engine, found = session.load(
        {"directory": directory, "runtime": "bench.runtimes.transformers", "options": options, "optimise": []}
    )
    return found.weights_bytes


@every_scheme
def test_a_scheme_takes_the_experts_too(verb: str, name: str, directory: Path) -> None:
    asked = message(directory, verb, name)
    if reason := REFUSED.get((verb, name)):
        with pytest.raises(Unsupported, match=reason):
            session.load(asked)
        return
    engine, found = session.load(asked)
    _runtime, apart, step = found.evidence
    assert apart["step"] == "experts"
    assert "8 of 2 layers" in apart["checks"][0]["found"]
    assert step["step"] == f"{verb}: {name}"
    share = next(one["found"] for one in step["checks"] if one["claim"].startswith("share of the weights"))
    assert float(share.partition("%")[0]) > 98, "only the routers are left"
    if gets_experts(verb, plugins.load(f"optimisations.{verb}", name)) == "lent":
        assert [list(one.down_proj.shape) for one in experts.stacked(engine.model)] == [[4, 64, 128]] * 2
        assert all(float((one.down_proj == 0).float().mean()) > 0.4 for one in experts.stacked(engine.model))
        return
    assert not experts.has_stacks(engine.model)
    assert found.weights_bytes < 0.72 * dense_bytes(str(directory), asked["options"]["dtype"])


@every_scheme
def test_an_expert_that_is_left_out_is_missed(
    verb: str, name: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = message(directory, verb, name)
    if (verb, name) in REFUSED:
        pytest.skip("does not take experts")
    scheme = plugins.load(f"optimisations.{verb}", name)
    apply = scheme.apply

    def all_but_one(model: Any, params: Any) -> Any:
        holder = model.model.layers[1].mlp.experts
        original = copy.deepcopy(holder.down_proj[3])
        given = apply(model, params)
        changed = given.model if isinstance(given, Changed) else given
        held = changed.model.layers[1].mlp.experts.down_proj
        if type(held[3]) is torch.nn.Linear and type(held[3].weight) is torch.nn.Parameter:
            held[3].weight.copy_(original.weight)
        held[3] = original
        return given

    monkeypatch.setattr(scheme, "apply", all_but_one)
    with pytest.raises(NotApplied):
        session.load(asked)


@pytest.mark.parametrize("kind", ["qwen3-moe", "gpt-oss"])
@pytest.mark.parametrize("settings", [{}, {"scope": "global"}, {"pattern": "2:4"}], ids=str)
def test_magnitude_prunes_the_stacks(kind: str, settings: dict[str, Any]) -> None:
    """Along the inputs of an expert, however its stack lies in memory."""
    model, params = mixture(kind), magnitude.Params(**settings)
    before = {id(one): one.down_proj.clone() for one in experts.stacked(model)}
    with experts.lent_as_linears(model):
        magnitude.apply(model, params)
        assert all(one.holds for one in magnitude.evidence(census.take(model), census.take(model), params))
    for module in experts.stacked(model):
        inputs_last = module.down_proj.transpose(1, 2) if module.is_transposed else module.down_proj
        gone = inputs_last == 0
        slack = 0.3 if "scope" in settings else 0.01  # of all matrices together, one may lose more
        assert abs(float(gone.float().mean()) - 0.5) < slack
        if "pattern" in settings:
            assert bool((gone.reshape(-1, 4).sum(-1) == 2).all())
        stays = module.down_proj != 0
        assert torch.equal(module.down_proj[stays], before[id(module)][stays])


# ---- fewer of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["stacks", "linear layers"])
@every_kind
def test_experts_that_nobody_asks_go_first(
    kind: str, apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them the text that they were chosen on has the same logits, and the checkpoint can be read."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    one_token = kind in ("qwen3-moe", "deepseek-v3")  # of four experts, and of two groups of four
    few = IDS[:, :1] if one_token else IDS[:, :2]
    monkeypatch.setattr(calibration, "windows", lambda _model, _params: [few])
    model = mixture(kind)
    with torch.no_grad(), expert_counts.watched_model(model) as seen:
        expected = model(input_ids=few, use_cache=False).logits
    count = len(seen.counts[0])
    params = pruning.Params(keep_experts=count // 2)
    assert all(int((one > 0).sum()) <= count // 2 for one in seen.counts)
    if apart:
        experts.into_linears(model)
    before = census.take(model)
    model = pruning.apply(model, params)
    assert all(one.holds for one in pruning.evidence(before, census.take(model), params))
    with torch.no_grad(), expert_counts.watched_model(model) as left:
        assert torch.allclose(model(input_ids=few, use_cache=False).logits, expected, atol=1e-5)
        assert bool(logits(model).isfinite().all())
    assert [len(one) for one in left.counts] == [count // 2] * len(seen.counts)
    if not apart:
        model.save_pretrained(tmp_path)
        again = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, attn_implementation=model.config._attn_implementation
        )
        assert torch.allclose(logits(again.eval()), logits(model), atol=1e-5)


def test_evidence_misses_a_router_that_was_left() -> None:
    model = mixture("mixtral")
    before = census.take(model)
    for module in experts.mixtures(model):
        for name in ("gate_up_proj", "down_proj"):
            setattr(module, name, torch.nn.Parameter(getattr(module, name)[:4], requires_grad=False))
    assert not all(
        one.holds for one in pruning.evidence(before, census.take(model), pruning.Params(keep_experts=4))
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (pruning.Params(keep_experts=1), "1 experts would stay, and each token goes to 2"),
        (pruning.Params(keep_experts=8), "8 experts would stay, and a layer has 8"),
        (pruning.Params(keep=0.1), "1 experts would stay, and each token goes to 2"),
    ],
)
def test_a_number_of_experts_that_cannot_be(params: pruning.Params, message: str) -> None:
    shape = {"mixture": True, "experts": 8, "experts_per_token": 2}
    assert pruning.refuse(params, shape) == message
    assert pruning.refuse(params, {"mixture": True}) is None
    assert pruning.refuse(params, {"mixture": False}) == pruning.NO_MIXTURE


def test_groups_of_the_router_stay_as_large_as_each_other() -> None:
    times = torch.tensor([9, 8, 7, 6, 1, 2, 3, 4])
    assert pruning._most_used(times, 4, 1).tolist() == [0, 1, 2, 3]
    assert pruning._most_used(times, 4, 2).tolist() == [0, 1, 6, 7]
    with pytest.raises(Unsupported, match="3 experts do not fill the 2 groups"):
        pruning._most_used(times, 3, 2)
