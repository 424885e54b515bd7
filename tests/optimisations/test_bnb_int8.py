"""LLM.int8() in layers that read tensors of any number of dimensions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from bench.optimisations.quantise import bnb_int8

pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("shape", [(7, 64), (1, 7, 64), (1, 1, 7, 64), (1, 3, 7, 64)])
def test_a_product_is_that_of_its_rows(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    model: Any = bnb_int8.apply(transformers.LlamaForCausalLM(config).eval(), bnb_int8.Params())
    layer = model.model.layers[0].mlp.up_proj
    x = torch.randn(shape)
    x[..., 0, 3] = 20.0  # an outlier, which is multiplied in floating point
    with torch.no_grad():
        whole, rows = layer(x), layer(x.flatten(0, -2))
    assert whole.shape == (*shape[:-1], 64)
    torch.testing.assert_close(whole.flatten(0, -2), rows)
