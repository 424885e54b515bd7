"""The int4 layer against the product it stands for, worked out with unpacked weights."""

from __future__ import annotations

import pytest
import torch
import transformers

from bench.errors import Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.quantise import torchao_int4
from bench.optimisations.shared import int4
from bench.optimisations.shared.linear import named_linears


@pytest.fixture
def toy() -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.from_pretrained(ensure(Random("tiny-llama")).directory)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def unpacked(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    codes, scale, zero = (tensors[f"{name}.{part}"].float() for part in (int4.CODES, int4.SCALE, int4.ZERO))
    groups = codes.unflatten(1, (scale.shape[1], -1))
    return ((groups - 8) * scale[..., None] + zero[..., None]).flatten(1)


def test_rounding_spans_each_group() -> None:
    weight = torch.randn(32, 128)
    scale, zero = int4.round_to_nearest(weight, 32)
    tensors = int4.tensors("layer", weight, scale, zero)
    assert scale.shape == zero.shape == (32, 4)
    codes = tensors["layer.int4_codes"].unflatten(1, (4, 32))
    assert torch.equal(codes.amin(-1), torch.zeros(32, 4, dtype=torch.uint8))
    assert torch.equal(codes.amax(-1), torch.full((32, 4), 15, dtype=torch.uint8))
    error = (unpacked(tensors, "layer") - weight).abs().unflatten(1, (4, 32)).amax(-1)
    assert (error <= scale / 2 + 1e-6).all()


def test_weights_on_the_grid_are_kept_exactly() -> None:
    scale, zero = torch.full((16, 2), 0.25), torch.full((16, 2), 0.5)
    codes = torch.randint(0, 16, (16, 64))
    weight = (codes - 8) * 0.25 + 0.5
    assert torch.equal(int4.tensors("a", weight, scale, zero)["a.int4_codes"].long(), codes)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_the_kernel_multiplies_with_the_unpacked_weights(
    toy: transformers.PreTrainedModel, dtype: torch.dtype, tolerance: float
) -> None:
    model = toy.to(dtype)
    found: dict[str, torch.Tensor] = {}
    for name, layer in named_linears(model):
        found |= int4.tensors(name, layer.weight, *int4.round_to_nearest(layer.weight, 32))
    name, layer = next(iter(named_linears(model)))
    x = torch.randn(2, 3, layer.in_features, dtype=dtype)
    expected = x.float() @ unpacked(found, name).T
    int4.replace(model, found)
    got = model.get_submodule(name)(x)
    assert got.dtype == dtype
    assert got.shape == expected.shape
    assert (got.float() - expected).abs().max() <= tolerance * expected.abs().max()


def test_groups_that_do_not_fill_a_row(toy: transformers.PreTrainedModel) -> None:
    with pytest.raises(
        Unsupported, match=r"groups of 256 do not fill the 64 weights of a row of model\.layers\.0"
    ):
        int4.check_shapes(toy, 256)


def test_torchao_pads_rows_to_tiles(toy: transformers.PreTrainedModel) -> None:
    """Rows of 64 or 128 weights would become 1024; rows of 2048 and 3072 stay as they are."""
    with pytest.raises(Unsupported, match="groups of 256 do not fill the 64 weights of a row of model"):
        torchao_int4.check_shapes(toy, 256)
    with pytest.raises(Unsupported, match=r"pads rows to multiples of 1024, [0-9.]+ bits per weight"):
        torchao_int4.check_shapes(toy, 32)
    with torch.device("meta"):
        large = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=2048, intermediate_size=3072, num_hidden_layers=1, num_attention_heads=16
            )
        )
    torchao_int4.check_shapes(large, 128)
