"""Pruning on a small model, against what is worked out by hand from its weights and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from bench.engine import census, one_off
from bench.errors import Unsupported
from bench.optimisations.prune import depth, experts, magnitude, sparsegpt, wanda, width
from bench.optimisations.shared import decoder
from bench.optimisations.shared.calibration import CalibrationParams, windows
from bench.optimisations.shared.linear import named_linears

FEW: dict[str, Any] = {"samples": 4, "tokens": 32}


@pytest.fixture
def toy(tmp_path: Any) -> Any:
    """Four layers, six heads in three groups."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=96, intermediate_size=64, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=3, vocab_size=300,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "toy")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "toy")
    return model.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(40)[None]).logits


def reloaded(model: Any, tmp_path: Any) -> Any:
    model.save_pretrained(tmp_path / "saved")
    return transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()


# ---- zeros -----------------------------------------------------------------------------------------


def test_magnitude_of_all_matrices_together(toy: Any) -> None:
    before = torch.cat([layer.weight.flatten().clone() for _name, layer in named_linears(toy)])
    magnitude.apply(toy, magnitude.Params(sparsity=0.3, scope="global"))
    after = torch.cat([layer.weight.flatten() for _name, layer in named_linears(toy)])
    gone = after == 0
    assert int(gone.sum()) == round(0.3 * after.numel())
    assert before.abs()[gone].max() <= before.abs()[~gone].min()


@pytest.mark.parametrize("scheme", [magnitude, wanda, sparsegpt])
def test_two_of_every_four(toy: Any, scheme: Any) -> None:
    if scheme is not magnitude:
        pytest.importorskip("llmcompressor")
    params = scheme.Params(pattern="2:4", **({} if scheme is magnitude else FEW))
    model = scheme.apply(toy, params)
    for _name, layer in named_linears(model):
        zeros = (layer.weight.view(-1, 4) == 0).sum(-1)
        assert torch.equal(zeros, torch.full_like(zeros, 2))
    assert all(one.two_of_four for one in census.take(model).matrices if not one.is_head)


def test_unstructured_zeros_are_not_taken_for_two_of_four(toy: Any) -> None:
    before = census.take(toy)
    after = census.take(magnitude.apply(toy, magnitude.Params(sparsity=0.5)))
    checks = magnitude.evidence(before, after, magnitude.Params(pattern="2:4"))
    assert [one.holds for one in checks] == [True, False]


def test_wanda_takes_the_smallest_products_of_each_row(toy: Any) -> None:
    """|W| · ‖x‖ of the first layer, whose input no pruning has changed."""
    pytest.importorskip("llmcompressor")
    layer = toy.model.layers[0].self_attn.q_proj
    weight = layer.weight.clone()
    (norm,) = decoder.input_norms(toy, [layer], windows(toy, CalibrationParams(**FEW)))
    wanda.apply(toy, wanda.Params(sparsity=0.5, **FEW))
    score = weight.abs() * norm
    pruned = toy.model.layers[0].self_attn.q_proj.weight == 0
    for row, gone in zip(score, pruned, strict=True):
        assert int(gone.sum()) == 48
        assert row[gone].max() <= row[~gone].min()


def test_sparsegpt_changes_what_stays(toy: Any) -> None:
    pytest.importorskip("llmcompressor")
    weight = toy.model.layers[0].self_attn.q_proj.weight.clone()
    sparsegpt.apply(toy, sparsegpt.Params(sparsity=0.5, **FEW))
    new = toy.model.layers[0].self_attn.q_proj.weight
    assert 0.49 < float((new == 0).float().mean()) < 0.52
    assert not torch.equal(new[new != 0], weight[new != 0])


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, 1.5])
def test_a_sparsity_that_is_none(wrong: float) -> None:
    for scheme in (magnitude, wanda, sparsegpt):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            scheme.Params(sparsity=wrong)


def test_a_pattern_has_its_own_sparsity() -> None:
    with pytest.raises(ValueError, match=r"2:4 is a sparsity of 0\.5"):
        wanda.Params(pattern="2:4", sparsity=0.6)
    with pytest.raises(ValueError, match="scope must be layer"):
        magnitude.Params(pattern="2:4", scope="global")


# ---- width -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["magnitude", "activation", "taylor"])
def test_channels_that_do_nothing_go_first(toy: Any, by: str, tmp_path: Any) -> None:
    """16 of 64 channels and one group of heads write nothing: without them the model is the same."""
    with torch.no_grad():
        for block in toy.model.layers:
            block.mlp.down_proj.weight[:, ::4] = 0
            block.self_attn.o_proj.weight[:, 32:64] = 0  # the second group: two heads of 16
    expected, before = logits(toy), census.take(toy)
    params = width.Params(mlp=0.25, keep_heads=4, by=by, **FEW)  # type: ignore[arg-type]
    model = width.apply(toy, params)
    assert model.model.layers[0].mlp.up_proj.weight.shape == (48, 96)
    assert model.model.layers[3].self_attn.k_proj.weight.shape == (32, 96)
    assert torch.allclose(logits(model), expected, atol=1e-5)
    assert all(one.holds for one in width.evidence(before, census.take(model), params))
    assert torch.allclose(logits(reloaded(model, tmp_path)), expected, atol=1e-5)


@pytest.mark.parametrize(("heads", "nearest"), [(5, 4), (3, 2), (7, 6), (1, 2)])
def test_heads_that_do_not_divide(toy: Any, heads: int, nearest: int) -> None:
    with pytest.raises(Unsupported, match=rf"6 heads, 2 to a key; the nearest is {nearest}"):
        width.apply(toy, width.Params(mlp=0, keep_heads=heads, by="magnitude"))


@pytest.mark.parametrize("wrong", [{"mlp": 1.0}, {"mlp": -0.1}, {"mlp": 0.0}, {"keep_heads": 0}])
def test_widths_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|would be removed"):
        width.Params(**wrong)


# ---- what is kept for the next load ------------------------------------------------------------------


def again(path: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(path).eval().requires_grad_(False)


def never(*_arguments: Any, **_settings: Any) -> Any:
    raise AssertionError("done a second time")


def bills() -> list[tuple[str, bool, float]]:
    return [(str(b["what"]), bool(b["reused"]), float(str(b["took_s"]))) for b in one_off.take_bill()]


def same_model(one: Any, other: Any) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("scheme", "params"),
    [
        (width, width.Params(mlp=0.25, keep_heads=4, by="activation", **FEW)),
        (width, width.Params(mlp=0.25, keep_heads=4, by="taylor", **FEW)),
        (width, width.Params(mlp=0.25, by="magnitude", **FEW)),
        (depth, depth.Params(keep_layers=3, **FEW)),
    ],
    ids=["width by activation", "width by taylor", "width by magnitude", "depth by influence"],
)
def test_a_second_load_looks_at_no_text(
    toy: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, scheme: Any, params: Any
) -> None:
    """The same model, and the bill of the first time, marked as one that was not spent again."""
    one_off.take_bill()
    first = scheme.apply(toy, params)
    ((what, reused, took_s),) = bills()
    assert (what, reused) == ("pruning", False)
    for name in ("read", "input_norms", "gradients"):
        monkeypatch.setattr(decoder, name, never)
    second = scheme.apply(again(tmp_path / "toy"), params)
    assert same_model(first, second)
    assert torch.equal(logits(first), logits(second))
    assert bills() == [("pruning", True, took_s)]


@pytest.mark.parametrize(
    "other",
    [
        width.Params(mlp=0.25, samples=4, tokens=32, seed=1),
        width.Params(mlp=0.25, samples=5, tokens=32),
        width.Params(mlp=0.25, by="taylor", **FEW),
    ],
    ids=["seed", "samples", "by"],
)
def test_another_recipe_is_weighed_anew(toy: Any, tmp_path: Any, other: width.Params) -> None:
    one_off.take_bill()
    width.apply(toy, width.Params(mlp=0.25, **FEW))
    width.apply(again(tmp_path / "toy"), other)
    assert [reused for _what, reused, _took_s in bills()] == [False, False]


def test_how_much_is_cut_needs_no_second_look(toy: Any, tmp_path: Any) -> None:
    """Importances are kept, not what they decide: a row of another width takes them too."""
    one_off.take_bill()
    width.apply(toy, width.Params(mlp=0.25, **FEW))
    narrower = width.apply(again(tmp_path / "toy"), width.Params(mlp=0.5, **FEW))
    assert narrower.model.layers[0].mlp.up_proj.weight.shape == (32, 96)
    assert [reused for _what, reused, _took_s in bills()] == [False, True]


@pytest.mark.parametrize("params", [depth.Params(keep_layers=2, by="last"), depth.Params(drop=(0, 2))])
def test_layers_by_their_numbers_cost_nothing_once(toy: Any, params: depth.Params) -> None:
    one_off.take_bill()
    depth.apply(toy, params)
    assert bills() == []


def test_experts_are_counted_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one_off.take_bill()
    mixture(transformers.MixtralConfig, num_local_experts=8, intermediate_size=48).save_pretrained(
        tmp_path / "mixture"
    )
    params = experts.Params(keep=0.75, **FEW)
    first = experts.apply(again(tmp_path / "mixture"), params)
    ((what, reused, took_s),) = bills()
    assert (what, reused) == ("pruning", False)
    monkeypatch.setattr(experts.expert_counts, "watched_model", never)
    second = experts.apply(again(tmp_path / "mixture"), params)
    assert same_model(first, second)
    assert bills() == [("pruning", True, took_s)]


# ---- depth -----------------------------------------------------------------------------------------


def dead(model: Any, number: int) -> None:
    """A layer that adds nothing to what goes through it."""
    with torch.no_grad():
        model.model.layers[number].self_attn.o_proj.weight.zero_()
        model.model.layers[number].mlp.down_proj.weight.zero_()


def test_the_layer_that_changes_least_goes_first(toy: Any, tmp_path: Any) -> None:
    dead(toy, 1)
    found = depth.influences(toy, windows(toy, CalibrationParams(**FEW)))
    assert found[1] == pytest.approx(0, abs=1e-6)
    assert min(found[0], found[2], found[3]) > 1e-4
    expected, before = logits(toy), census.take(toy)
    params = depth.Params(keep_layers=3, **FEW)
    model = depth.apply(toy, params)
    assert model.config.num_hidden_layers == len(model.model.layers) == 3
    assert [block.self_attn.layer_idx for block in model.model.layers] == [0, 1, 2]
    assert torch.allclose(logits(model), expected, atol=1e-6)
    assert all(one.holds for one in depth.evidence(before, census.take(model), params))
    assert torch.allclose(logits(reloaded(model, tmp_path)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        (depth.Params(keep_layers=2, by="last"), [0, 1]),
        (depth.Params(drop=(0, 2)), [1, 3]),
    ],
)
def test_layers_by_their_numbers(toy: Any, params: depth.Params, kept: list[int]) -> None:
    blocks = list(toy.model.layers)
    model = depth.apply(toy, params)
    assert [blocks.index(block) for block in model.model.layers] == kept
    generated = model.generate(torch.arange(5)[None], max_new_tokens=4, do_sample=False, use_cache=True)
    assert generated.shape[1] >= 6


SHAPE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "pad_token_id": 0,
}  # fmt: skip
OF_LAYERS: dict[str, Callable[[], Any]] = {
    "layers without positions": lambda: transformers.SmolLM3Config(**SHAPE, no_rope_layers=[1, 0, 0, 1]),
    "windows": lambda: transformers.Gemma3TextConfig(
        **SHAPE, head_dim=16, sliding_window=8, query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    ),
    "dense layers first": lambda: transformers.DeepseekV3Config(
        **{**SHAPE, "num_key_value_heads": 4}, q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=16,
        qk_rope_head_dim=16, v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=32, n_shared_experts=1, first_k_dense_replace=2,
    ),
    "dense layers by number": lambda: transformers.Qwen3MoeConfig(
        **SHAPE, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
        mlp_only_layers=[0, 3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_LAYERS)
def test_what_a_config_says_of_single_layers_is_said_of_those_that_stay(kind: str, tmp_path: Any) -> None:
    """Else the exported checkpoint is another model, or none."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(OF_LAYERS[kind]()).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    pruned = depth.apply(model, depth.Params(drop=(1,)))
    torch.testing.assert_close(logits(reloaded(pruned, tmp_path)), logits(pruned))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (depth.Params(keep_layers=4), "the model has 4; the nearest is 3"),
        (depth.Params(drop=(4,)), "the layers of the model are 0 to 3"),
        (depth.Params(drop=(0, 1, 2, 3)), "none of the 4 layers would stay"),
    ],
)
def test_layers_that_do_not_exist(toy: Any, params: depth.Params, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        depth.apply(toy, params)


@pytest.mark.parametrize(
    "wrong", [{"keep_layers": 0}, {"drop": (1, 1)}, {"drop": (-1,)}, {"keep_layers": 2, "drop": (1,)}]
)
def test_depths_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"keep_layers|drop"):
        depth.Params(**wrong)


# ---- experts ---------------------------------------------------------------------------------------


def mixture(kind: Callable[..., Any], **sizes: int) -> Any:
    torch.manual_seed(0)
    config = kind(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=300,
        head_dim=8, **sizes,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def test_fewer_experts_than_a_token_goes_to(toy: Any) -> None:
    small = mixture(transformers.MixtralConfig, num_local_experts=8, intermediate_size=48)
    with pytest.raises(Unsupported, match="1 experts would stay, and each token goes to 2"):
        experts.apply(small, experts.Params(keep=0.1, **FEW))
    with pytest.raises(Unsupported, match="no mixture of experts"):
        experts.apply(toy, experts.Params(**FEW))
