"""Make the two models of a gate of the proof: two copies, or one with more work and the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from bench.models.fetch import ensure
from bench.models.reference import Named

TOY = {"layers": 30, "hidden": 96, "inner": 256, "heads": 4, "vocabulary": 512}
REAL = {"layers": 8, "wider": 160}


def toy_weights() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the config and weights of a small random Llama, the same every time."""
    draw, hidden, inner = np.random.default_rng(0), TOY["hidden"], TOY["inner"]
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": TOY["layers"], "num_attention_heads": TOY["heads"],
        "num_key_value_heads": TOY["heads"], "head_dim": hidden // TOY["heads"],
        "vocab_size": TOY["vocabulary"],
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "eos_token_id": 2,
        "tie_word_embeddings": True,
    }  # fmt: skip
    weights = {
        "model.embed_tokens.weight": draw.standard_normal((TOY["vocabulary"], hidden), np.float32) * 0.02
    }
    weights["model.norm.weight"] = np.ones(hidden, np.float32)
    for layer in range(TOY["layers"]):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            key = f"model.layers.{layer}.self_attn.{name}.weight"
            weights[key] = draw.standard_normal((hidden, hidden), np.float32) * 0.02
        for name, shape in (
            ("gate_proj", (inner, hidden)),
            ("up_proj", (inner, hidden)),
            ("down_proj", (hidden, inner)),
        ):
            weights[f"model.layers.{layer}.mlp.{name}.weight"] = (
                draw.standard_normal(shape, np.float32) * 0.02
            )
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{name}.weight"] = np.ones(hidden, np.float32)
    return config, weights


def real_weights() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the config and weights of the first layers of SmolLM2-135M."""
    directory = ensure(Named("smollm2-135m")).directory
    config = json.loads((directory / "config.json").read_text())
    config["num_hidden_layers"] = REAL["layers"]
    stored = load_file(directory / "model.safetensors")
    kept = {
        key: value
        for key, value in stored.items()
        if not key.startswith("model.layers.") or int(key.split(".")[2]) < REAL["layers"]
    }
    return config, kept


def widened(
    config: dict[str, Any], weights: dict[str, np.ndarray], more: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add ``more`` zero columns to every MLP: more work, the same function."""
    found = {}
    for key, value in weights.items():
        if key.endswith(("gate_proj.weight", "up_proj.weight")):
            value = np.pad(value, ((0, more), (0, 0)))
        elif key.endswith("down_proj.weight"):
            value = np.pad(value, ((0, 0), (0, more)))
        found[key] = np.ascontiguousarray(value)
    return {**config, "intermediate_size": config["intermediate_size"] + more}, found


def deepened(config: dict[str, Any], weights: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add a copy of the first layer with output projections of zero: it does work, and adds nothing."""
    last, found = config["num_hidden_layers"], dict(weights)
    for key, value in weights.items():
        if key.startswith("model.layers.0."):
            silent = key.endswith(("o_proj.weight", "down_proj.weight"))
            found[key.replace("layers.0.", f"layers.{last}.")] = (
                np.zeros_like(value) if silent else value.copy()
            )
    return {**config, "num_hidden_layers": last + 1}, found


def work_a_token(config: dict[str, Any]) -> int:
    """Return how many multiplications the matrices need for one decoded token."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * inner
    return config["num_hidden_layers"] * layer + hidden * config["vocab_size"]


def real_tokenizer() -> str:
    """Return the tokenizer.json of SmolLM2-135M."""
    return (ensure(Named("smollm2-135m")).directory / "tokenizer.json").read_text()


def byte_tokenizer() -> str:
    """Return the tokenizer.json of the toy: each byte of a text is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer: Any = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def models(engine: str, plant: str, at: Path) -> dict[str, Any]:
    """Write a model into each of ``x`` and ``y``, and return how much more work ``y`` is, counted."""
    config, weights = real_weights() if engine == "real" else toy_weights()
    tokenizer = real_tokenizer() if engine == "real" else byte_tokenizer()
    sides = {"x": (config, weights), "y": (config, weights)}
    if plant in ("plus3", "layer"):
        sides["y"] = (
            widened(config, weights, REAL["wider"]) if engine == "real" else deepened(config, weights)
        )
    for name, (its_config, its_weights) in sides.items():
        (at / name).mkdir(parents=True)
        (at / name / "config.json").write_text(json.dumps(its_config))
        save_file(its_weights, at / name / "model.safetensors", metadata={"format": "pt"})
        (at / name / "tokenizer.json").write_text(tokenizer)
    return {"work_ratio": work_a_token(sides["y"][0]) / work_a_token(sides["x"][0])}
