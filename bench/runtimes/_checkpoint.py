"""Checkpoints as transformers reads them: plain ones, and those that were quantised before."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from bench.errors import Unsupported

READERS = {  # the package that unpacks a checkpoint of each method; for all others it is transformers
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "gptq": "gptqmodel",
    "hqq": "hqq",
    "quanto": "optimum",
    "torchao": "torchao",
}


def pretrained(directory: Path, device: str, wanted: dict[str, Any]) -> Any:
    """Load the checkpoint as it is.

    Raises Unsupported if it was quantised before and the package that packed it is not installed.
    """
    import transformers

    wanted |= {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    said = quantisation(directory)
    if not said:
        return transformers.AutoModelForCausalLM.from_pretrained(directory, **wanted).to(device)
    method = said.get("quant_method")
    if importlib.util.find_spec(package := READERS.get(str(method), "transformers")) is None:
        raise Unsupported(f"a {method} checkpoint needs the package {package}, which is not installed")
    return transformers.AutoModelForCausalLM.from_pretrained(directory, device_map={"": device}, **wanted)


def quantisation(directory: Path) -> dict[str, Any]:
    """Return what the checkpoint says about how it was quantised; empty if it was not."""
    config = json.loads((directory / "config.json").read_text())
    return dict(config.get("quantization_config") or {})


def quantised_by(config: Any) -> str | None:
    """Return the method by which the checkpoint says it was quantised, or None."""
    said = getattr(config, "quantization_config", None)
    if said is None:
        return None
    method = said["quant_method"] if isinstance(said, dict) else said.quant_method
    return str(getattr(method, "value", method))


def into_own_memory(model: Any) -> None:
    """Copy every tensor out of the checkpoint's mapped file.

    A scheme that writes or packs weights has them in the process's own memory. A step from there was 2 to 5 %
    faster than from mapped pages, so a pruned model looked cheaper than the same kernels on the file. Also,
    two processes that map one file find each other's weights in the caches (docs/decisions/0013).
    """
    import torch

    own: dict[tuple[int, torch.Size, tuple[int, ...]], Any] = {}  # tied weights stay one tensor
    for tensor in (*model.parameters(), *model.buffers()):
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        tensor.data = own.setdefault(key, tensor.data.clone())


def kv_bytes_per_token(config: Any, item_bytes: int) -> int:
    """Return 2 · layers · kv_heads · head_dim · bytes."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_dim * item_bytes)


def without_gradients(model: Any) -> Any:
    """Return ``torch.inference_mode``, or ``no_grad`` for quanto's packed bits.

    Inference mode cannot make such tensors ("Cannot set version_counter for inference tensor").
    """
    import torch

    packed = any(type(one).__name__.endswith("BitsTensor") for one in model.parameters())
    return torch.no_grad if packed else torch.inference_mode
