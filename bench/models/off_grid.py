"""Move a Llama's weights off the grid of a 4-bit file without changing what the model computes.

This runs in the child process that converts a GGUF. There are three changes:

- the channels between layers get a different order, the same in every matrix and norm;
- so do the neurons inside each MLP;
- each pair of value channels of a head is rotated by its own angle, and the columns of the output projection
  that read them are rotated by the same angle.

After the first two changes, the weights of a block come from all over their row. The third change is for the
output projection, because its blocks lie within a head. No weight is scaled: that would make the model harder
to quantise (docs/decisions/0006). All numbers come from one seed and from operations that IEEE 754 rounds
correctly, so every machine makes the same file.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.records.grid import MOST_KL, Grid

if TYPE_CHECKING:
    from torch import Tensor

SEED = 32
HEAD_SIDE = ("model.embed_tokens", "model.norm", "lm_head")
NORMS = ("input_layernorm", "post_attention_layernorm")
READERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
WRITERS = ("self_attn.o_proj", "mlp.down_proj")


def unsupported(config: Any, names: set[str]) -> str | None:
    """Return why weights with these ``names`` cannot be moved; None for a Llama without biases."""
    if config.model_type != "llama":
        return f"architecture {config.model_type} is not known here"
    wanted = {f"{name}.weight" for name in HEAD_SIDE}
    for layer in range(config.num_hidden_layers):
        wanted |= {f"model.layers.{layer}.{part}.weight" for part in (*NORMS, *READERS, *WRITERS)}
    if odd := sorted(names ^ wanted):
        return f"a Llama has no tensor {odd[0]}" if odd[0] in names else f"there is no tensor {odd[0]}"
    if _head_dim(config) % 2:
        return "heads of an odd size"
    return None


def off_grid(model: Any, grid: Grid, tokens: list[int]) -> tuple[dict[str, Tensor], Grid]:
    """Return the weights moved off ``grid``, and a grid that records this and the KL measured on ``tokens``.

    The weights of an unknown architecture stay as they are, and the grid says why. Raises BenchError if the
    moved weights change the outputs (KL) too much or still have too few values per block.
    """
    state, block, levels = model.state_dict(), grid.block or 1, grid.levels or 0
    if why := unsupported(model.config, set(state)):
        return state, replace(grid, why_not=why)
    new = moved(state, model.config)
    before = _log_p(model, tokens)
    model.load_state_dict(new, assign=True)
    model.tie_weights()
    after = _log_p(model, tokens)
    kl = max(float((before.exp() * (before - after)).sum(-1).mean()), 0.0)
    fewest = fewest_values(new, block)
    if not kl < MOST_KL or fewest <= min(levels, block // 2):
        raise BenchError(
            f"weights moved off their grid have KL {kl:.1e}, {fewest} values a block: this is a bug"
        )
    return new, replace(grid, moved=True, kl=kl)


def _log_p(model: Any, tokens: list[int]) -> Any:
    """Return log-probabilities [tokens, vocabulary] in float64."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)


def moved(state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
    """Return ``state`` (float32) after the three changes, in float32 but computed in float64. A tied head
    stays tied."""
    draw = random.Random(SEED)
    new = dict(state)
    hidden = _order(draw, config.hidden_size)
    for name in HEAD_SIDE:
        new[f"{name}.weight"] = new[f"{name}.weight"][..., hidden].contiguous()
    if config.tie_word_embeddings:
        new["lm_head.weight"] = new["model.embed_tokens.weight"]
    for number in range(config.num_hidden_layers):
        _move_layer(new, f"model.layers.{number}.", config, hidden, draw)
    return new


def _move_layer(new: dict[str, Any], layer: str, config: Any, hidden: Any, draw: random.Random) -> None:
    """Change one layer of ``new`` in place."""
    neurons = _order(draw, config.intermediate_size)
    for name in (*NORMS, *READERS):
        new[f"{layer}{name}.weight"] = new[f"{layer}{name}.weight"][..., hidden]
    for name in WRITERS:
        new[f"{layer}{name}.weight"] = new[f"{layer}{name}.weight"][hidden]
    for name in ("mlp.gate_proj", "mlp.up_proj"):
        new[f"{layer}{name}.weight"] = new[f"{layer}{name}.weight"][neurons].contiguous()
    down, value, out = (
        f"{layer}{name}.weight" for name in ("mlp.down_proj", "self_attn.v_proj", "self_attn.o_proj")
    )
    new[down] = new[down][:, neurons].contiguous()
    new[value], new[out] = _turned(new[value], new[out], config, draw)


def _turned(value: Any, out: Any, config: Any, draw: random.Random) -> tuple[Any, Any]:
    """Rotate pairs of channels (i and i + size/2 of each head) in value rows and output columns.

    The value rows have shape [heads · size, hidden], the output columns [hidden, query heads · size]. All
    query heads that share a value head use the same angles.
    """
    import torch

    size, heads = _head_dim(config), config.num_key_value_heads
    tangents = [[draw.uniform(0.25, 0.75) for _ in range(size // 2)] for _ in range(heads)]
    t = torch.tensor(tangents, dtype=torch.float64)  # tangents of half the angle; angles of 28 to 74 degrees
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    a, b = value.double().view(heads, 2, size // 2, -1).unbind(1)  # [heads, size/2, hidden]
    c, s = cos[..., None], sin[..., None]
    rows = torch.stack([c * a - s * b, s * a + c * b], 1).reshape(value.shape)
    a, b = (
        out.double().view(out.shape[0], heads, -1, 2, size // 2).unbind(3)
    )  # [hidden, heads, queries, size/2]
    c, s = cos[:, None], sin[:, None]
    columns = torch.stack([c * a - s * b, s * a + c * b], 3).reshape(out.shape)
    return rows.float(), columns.float()


def fewest_values(state: Mapping[str, Tensor], block: int) -> int:
    """Return the smallest number of different values in any block of a row of the linear layers."""
    fewest = block
    for name, weight in state.items():
        if name.removesuffix(".weight").endswith((*READERS, *WRITERS)):
            ordered = weight.reshape(-1, block).sort(-1).values
            fewest = min(fewest, int((ordered[:, 1:] != ordered[:, :-1]).sum(-1).min()) + 1)
    return fewest


def _order(draw: random.Random, count: int) -> Any:
    """Return a random order of ``count`` channels."""
    import torch

    order = list(range(count))
    draw.shuffle(order)
    return torch.tensor(order)


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
