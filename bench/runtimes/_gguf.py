"""Write the safetensors of a Llama as an unquantised GGUF, for llama.cpp.

This needs gguf, numpy, safetensors and torch. No tokenizer is written, because every engine here is given
token ids. In llama.cpp the rows of a rotary embedding lie in pairs, in transformers in halves, so they are
moved where the order differs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.engine.evidence import Census, Matrix
from bench.errors import BenchError, Unsupported
from bench.models.json_files import json_object
from bench.models.weight_files import weight_files
from bench.records.json_form import Json
from bench.runtimes._config import rotary_base, unknown_key
from bench.runtimes._export import kept_export
from bench.runtimes._whole import is_tied, must_be_whole

RECIPE = 3  # part of the cache key: raise it when the same weights are written differently
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
FILE = "model.gguf"
HEADS = ("output.weight", "token_embd.weight")
KV_ITEM_BYTES = 2  # of a number in the cache


def exported(directory: Path, dtype: str) -> Path:
    """Return the model in ``directory`` as GGUF in ``dtype``, from the cache if it was written before.

    Raises Unsupported for an architecture that is not known here.
    """
    begin, end = f"gguf {dtype}", str(RECIPE)
    return kept_export(directory, begin, end, lambda to: write(directory, to / FILE, dtype)) / FILE


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why the model of a ``config.json`` cannot be written as GGUF here; None if it can."""
    kind = ARCHITECTURES.get(str(config.get("model_type")))
    if kind is None:
        known = ", ".join(ARCHITECTURES)
        return f"GGUF is written for {known} here, not for {str(config.get('model_type'))[:60]}"
    return unknown_key("llama-cpp", config, {"attention_bias": (True,)} if kind == "qwen2" else {})


def write(directory: Path, out: Path, dtype: str) -> None:
    """Write ``out`` with matrices in ``dtype`` and vectors in float32.

    Raises Unsupported for a model that cannot be written as GGUF here.
    """
    import gguf

    must_be_whole(directory)
    config = json_object(directory / "config.json")
    if reason := refuse_model(config):
        raise Unsupported(reason)
    kind = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(out, kind)
    _describe(writer, config, dtype)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, kind.upper()), config["num_hidden_layers"])
    quantisation = getattr(gguf.GGMLQuantizationType, DTYPES[dtype])
    tied = is_tied(directory, config)
    for name, values in _tensors(directory):
        if name == "lm_head.weight" and tied:
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise Unsupported(f"GGUF has no name for the tensor {name}")
        if kind == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _in_pairs(values, _heads(config, name))
        if values.ndim > 1 and dtype != "float32":
            writer.add_tensor(new, gguf.quants.quantize(values, quantisation), raw_dtype=quantisation)
        else:
            writer.add_tensor(new, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: Json, dtype: str) -> None:
    import gguf

    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    file_type = f"{'ALL' if dtype == 'float32' else 'MOSTLY'}_{DTYPES[dtype]}"
    writer.add_file_type(getattr(gguf.LlamaFileType, file_type))
    writer.add_context_length(config.get("max_position_embeddings") or 2048)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rotary_base(config))
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def _heads(config: Json, name: str) -> int:
    heads: int = config["num_attention_heads"]
    return heads if "q_proj" in name else config.get("num_key_value_heads") or heads


def _in_pairs(weights: Any, heads: int) -> Any:
    """Return ``weights`` [out, in] with the two halves of each head interleaved."""
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def _tensors(directory: Path) -> Iterator[tuple[str, Any]]:
    """Yield (name, float32 array) of every tensor."""
    from safetensors import safe_open

    for path in weight_files(directory):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                yield name, file.get_tensor(name).float().numpy()


def census(path: Path, tensor_bytes: int) -> Census:
    """List every matrix of a GGUF file, or of all parts of a model; ``tensor_bytes`` are the bytes that were
    loaded from them."""
    import gguf

    from bench.models.gguf_parts import parts_of

    tensors = [tensor for part in parts_of(path) for tensor in gguf.GGUFReader(part).tensors]
    matrices = tuple(
        Matrix(t.name, "gguf", t.tensor_type.name, int(t.n_elements), int(t.n_bytes), None, t.name in HEADS)
        for t in tensors
        if len(t.shape) == 2
    )
    by_dtype: dict[str, int] = {}
    for tensor in tensors:
        by_dtype[tensor.tensor_type.name] = by_dtype.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
    return Census(matrices, tensor_bytes, by_dtype)


def quantised(model: Path, out: Path, file_type: str, threads: int | None = None) -> None:
    """Let llama.cpp write ``model`` as ``file_type`` (``Q4_K_M``). Raises BenchError if it refuses."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    params.nthread = threads or 0
    code = llama_cpp.llama_model_quantize(str(model).encode(), str(out).encode(), ctypes.byref(params))
    if code:
        raise BenchError(f"llama.cpp could not quantise to {file_type} (code {code})")


def kv_bytes_per_token(model: Any) -> int:
    """Return the bytes that llama.cpp keeps of a token in a loaded model: in each layer a key and a value for
    each KV head, in float16."""
    import llama_cpp

    usual = llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
    kind = _header(model, "general.architecture")
    numbers = (int(_header(model, f"{kind}.attention.{part}_length") or usual) for part in ("key", "value"))
    heads = llama_cpp.llama_model_n_layer(model) * llama_cpp.llama_model_n_head_kv(model)
    return int(heads * sum(numbers) * KV_ITEM_BYTES)


def _header(model: Any, key: str) -> str:
    """Return what the header of a loaded file has under a key; '' if it has none."""
    import llama_cpp

    text = ctypes.create_string_buffer(200)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), text, len(text))
    return text.value.decode() if length > 0 else ""
