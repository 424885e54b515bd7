"""Read the sizes and the weights of a Llama, for the NumPy engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import Outcome, VariantFailed
from bench.models.weight_files import weight_files
from bench.records.json_form import Json
from bench.runtimes._config import rotary_base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[Any]]

NEEDED = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """Hold the sizes of the model."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    epsilon: float
    theta: float
    tied: bool

    @staticmethod
    def of(config: Json) -> Shape:
        """Read the sizes from a ``config.json`` of transformers."""
        for key in (*NEEDED, "num_key_value_heads", "head_dim"):
            size = config.get(key)
            if size is None and key in NEEDED:
                raise VariantFailed(Outcome.LOAD_ERROR, f"config.json has no {key}")
            if size is not None and (type(size) is not int or size < 1):
                raise VariantFailed(
                    Outcome.LOAD_ERROR, f"config.json: {key} is {str(size)[:40]}, not one size"
                )
        heads = config["num_attention_heads"]
        kv_heads = config.get("num_key_value_heads") or heads
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        if heads % kv_heads or head_dim < 2 or head_dim % 2:
            said = f"{heads} heads cannot share {kv_heads} keys of {head_dim} numbers, turned in pairs"
            raise VariantFailed(Outcome.LOAD_ERROR, f"config.json: {said}")
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocabulary=config["vocab_size"],
            context=config.get("max_position_embeddings") or 2048,
            epsilon=1e-6 if config.get("rms_norm_eps") is None else config["rms_norm_eps"],
            theta=rotary_base(config),
            tied=bool(config.get("tie_word_embeddings")),
        )

    def matrix(self, name: str) -> tuple[int, int]:
        """Return [out, in] of one of a layer's matrices."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (queries, self.hidden),
            "k_proj": (keys, self.hidden),
            "v_proj": (keys, self.hidden),
            "o_proj": (self.hidden, queries),
            "gate_proj": (self.inner, self.hidden),
            "up_proj": (self.inner, self.hidden),
            "down_proj": (self.hidden, self.inner),
        }[name]

    def flops(self, sequences: int, new: int, end: int, last: bool) -> int:
        """Return the floating-point operations of one forward pass over ``new`` tokens per sequence.

        The last token is at position ``end``. A multiplication counts as two operations; attention is counted
        in full. If ``last`` is true, the head computes the last position only.
        """
        weights = sum(math.prod(self.matrix(name)) for name in MATRICES)
        attention = 2 * self.heads * self.head_dim * end
        logits = self.hidden * self.vocabulary * (1 if last else new)
        return 2 * sequences * (self.layers * new * (weights + attention) + logits)


def random_weights(shape: Shape) -> Weights:
    """Return random weights that are always the same for the same shape."""
    import numpy as np

    draw = np.random.default_rng(0)
    weights: dict[str, Any] = {"norm": np.ones(shape.hidden, np.float32)}
    weights["embed"] = draw.standard_normal((shape.vocabulary, shape.hidden), np.float32) * 0.02
    weights["head"] = (
        weights["embed"]
        if shape.tied
        else draw.standard_normal((shape.vocabulary, shape.hidden), np.float32) * 0.02
    )
    for layer in range(shape.layers):
        for name in MATRICES:
            weights[f"{layer}.{name}"] = draw.standard_normal(shape.matrix(name), np.float32) * 0.02
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{layer}.{name}"] = np.ones(shape.hidden, np.float32)
    return weights


ROTARY = "rotary_emb.inv_freq"  # in checkpoints of older versions; it is computed from the config
FORMS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def _stored(directory: Path) -> dict[str, Any]:
    """Return every tensor of the files by its name, in float32. Raises VariantFailed for packed ones."""
    from safetensors import deserialize

    stored: dict[str, Any] = {}
    unpack: Any = deserialize  # its stub has no types
    for path in weight_files(directory):
        for name, one in unpack(path.read_bytes()):
            stored[name] = _float32(name, one["dtype"], one["data"]).reshape(one["shape"])
    return stored


def _float32(name: str, dtype: str, data: bytes) -> Any:
    """Return the numbers of a tensor. NumPy has no bfloat16: it is the upper half of a float32."""
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype not in FORMS:
        raise VariantFailed(
            Outcome.LOAD_ERROR, f"{name[:80]} is {dtype}, which the numpy engine does not read"
        )
    return np.frombuffer(data, FORMS[dtype]).astype(np.float32)


def read_weights(directory: Path, shape: Shape) -> Weights:
    """Read every weight in float32. Raises VariantFailed if the config and the files do not fit together."""
    import numpy as np

    found = _stored(directory)

    def taken(name: str, size: tuple[int, ...]) -> Any:
        if name not in found:
            raise VariantFailed(Outcome.LOAD_ERROR, f"the files hold no {name}, which the config needs")
        if (own := found.pop(name)).shape != size:
            raise VariantFailed(
                Outcome.LOAD_ERROR, f"{name} is {list(own.shape)} in the files and {list(size)} in the config"
            )
        return own

    def wanted(name: str) -> tuple[int, ...]:
        return shape.matrix(name) if name in MATRICES else (shape.hidden,)

    embedding = (shape.vocabulary, shape.hidden)
    weights = {
        "embed": taken("model.embed_tokens.weight", embedding),
        "norm": taken("model.norm.weight", (shape.hidden,)),
    }
    # A head of its own counts even if the config says that there is none: a fine-tune may have untied it.
    own_head = not shape.tied or "lm_head.weight" in found
    weights["head"] = taken("lm_head.weight", embedding) if own_head else weights["embed"]
    if shape.tied and np.array_equal(weights["head"], weights["embed"]):  # stored twice, and one matrix
        weights["head"] = weights["embed"]
    for layer in range(shape.layers):
        for name in (*MATRICES, "input_layernorm", "post_attention_layernorm"):
            part = "self_attn." if name[1:] == "_proj" else "mlp." if name.endswith("_proj") else ""
            weights[f"{layer}.{name}"] = taken(f"model.layers.{layer}.{part}{name}.weight", wanted(name))
    found = {name: one for name, one in found.items() if not name.endswith(ROTARY)}
    if found:
        raise VariantFailed(
            Outcome.LOAD_ERROR,
            f"{len(found)} tensors of the files belong to no layer of the config, such as {min(found)[:80]}",
        )
    return weights


def rotation(shape: Shape, start: int, end: int) -> tuple[Any, Any]:
    """Return cosines and sines of rotary position embedding (Su et al. 2021).

    They are in the half-split layout of Llama.
    """
    import numpy as np

    frequencies = shape.theta ** (-np.arange(0, shape.head_dim, 2, dtype=np.float32) / shape.head_dim)
    angles = np.arange(start, end, dtype=np.float32)[:, None] * frequencies
    both = np.concatenate([angles, angles], axis=-1)
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)


def rotate(x: Any, turn: tuple[Any, Any]) -> Any:
    """Turn queries or keys by the cosines and sines of ``rotation``."""
    import numpy as np

    half = x.shape[-1] // 2
    return x * turn[0] + np.concatenate([-x[..., half:], x[..., :half]], axis=-1) * turn[1]


def blas_threads() -> int:
    """Return the number of threads of the BLAS that NumPy multiplies with."""
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(pools, default=1)
