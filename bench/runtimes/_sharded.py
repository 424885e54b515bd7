"""Load one shard of a model in each process of a group, and make all of them compute the same passes.

The shards follow the plan of the model's class in transformers: tensor parallelism, where every process holds
a part of each weight matrix, and an all-reduce after attention and after the MLP adds up what each computed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from datetime import timedelta
from inspect import signature
from typing import Any, NamedTuple

from bench.engine.ranks import Frame, Op, Ranks
from bench.errors import Unsupported
from bench.models.json_files import packing, text_block
from bench.records import Json

TOGETHER_WITHIN = timedelta(minutes=30)  # the longest that one process waits for the others
ON_THIS_MACHINE = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
LEAST_SHARDED = 0.5  # of the elements of all weight matrices but those of embeddings


class Place(NamedTuple):
    """Hold a process's place in its group: its rank, the size of the group, ``cpu`` or ``cuda``, and the file
    through which the processes find each other."""

    rank: int
    size: int
    kind: str
    file: str


def why_not(config: Mapping[str, Any], size: int) -> str | None:
    """Return why a model cannot be split over ``size`` devices, from its ``config.json`` alone, or None."""
    if packing(config):
        return "a checkpoint that was quantised before is not split: its packed weights have no plan"
    part = text_block(config)
    for key in ("num_attention_heads", "num_key_value_heads"):
        heads = part.get(key)
        if isinstance(heads, int) and heads % size:
            return f"{key} is {heads}, which {size} devices cannot share evenly"
    return None


def joined(place: Place) -> Any:
    """Join the group and return its mesh: one dimension, as many devices as there are processes.

    Blocks until all processes have joined. They talk over the loopback device, or the links of their GPUs.
    """
    import torch
    import torch.distributed as dist

    on_gpu = place.kind == "cuda"
    # transformers reads the number of the device from here.
    os.environ |= {**ON_THIS_MACHINE, "LOCAL_RANK": str(place.rank if on_gpu else 0)}
    own = torch.device("cuda", place.rank) if on_gpu else None
    if own is not None:
        torch.cuda.set_device(own)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=f"file://{place.file}", rank=place.rank,
        world_size=place.size, timeout=TOGETHER_WITHIN, device_id=own,
    )  # fmt: skip
    return dist.init_device_mesh(place.kind, (place.size,), mesh_dim_names=("tp",))


def split_over(mesh: Any) -> Json:
    """Return the arguments by which ``from_pretrained`` loads this process's shard."""
    from transformers.distributed import DistributedConfig

    return {
        "distributed_config": DistributedConfig(tp_plan="auto", tp_size=mesh.size()),
        "device_mesh": mesh,
    }


def share_sharded(model: Any) -> float:
    """Return the share of the elements of matrices, without embeddings, that are cut into shards."""
    import torch
    from torch.distributed.tensor import DTensor

    cut = whole = 0
    for module in model.modules():
        for one in module._parameters.values():
            if one is None or one.dim() < 2 or isinstance(module, torch.nn.Embedding):
                continue
            is_cut = isinstance(one, DTensor) and not all(place.is_replicate() for place in one.placements)
            cut, whole = cut + is_cut * one.numel(), whole + one.numel()
    return cut / whole if whole else 0.0


def shard_of(tensor: Any) -> Any:
    """Return what this process holds of a tensor, which may be all of it."""
    return getattr(tensor, "_local_tensor", tensor)


class Mirror:
    """Make every pass of rank 0's model a pass of all ranks.

    Raises Unsupported for a model whose cache is not given to it as ``past_key_values``.
    """

    def __init__(self, model: Any, ranks: Ranks) -> None:
        self._own, self._ranks = model.forward, ranks
        if "past_key_values" not in signature(self._own).parameters:
            raise Unsupported(f"{type(model).__name__} has no cache that several processes can keep")
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._last = 0
        model.forward = self.forward

    def forward(
        self, input_ids: Any, attention_mask: Any = None, position_ids: Any = None,
        past_key_values: Any = None, use_cache: bool | None = None, logits_to_keep: int = 0, **other: Any,
    ) -> Any:  # fmt: skip
        """Tell the others of a pass, give them its tokens, and make it."""
        import torch.distributed as dist

        if other or (attention_mask is None) != (position_ids is None):
            raise Unsupported(f"a pass over several devices takes no {', '.join(other) or 'mask alone'}")
        columns = 0 if attention_mask is None else attention_mask.shape[1]
        number = self._number_of(past_key_values) if use_cache else 0
        sequences, tokens = input_ids.shape
        self._ranks.tell(Frame(Op.FORWARD, number, sequences, tokens, columns, logits_to_keep))
        for tensor in (input_ids, attention_mask, position_ids):
            if tensor is not None:
                dist.broadcast(tensor.contiguous(), 0)
        return self._own(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache,
            **({"logits_to_keep": logits_to_keep} if logits_to_keep else {}),
        )  # fmt: skip

    def _number_of(self, cache: Any) -> int:
        """Return the number by which the others know a cache; they forget it when it is freed here."""
        if cache is None:
            return 0
        if cache not in self._numbers:
            self._last += 1
            self._numbers[cache] = self._last
            weakref.finalize(cache, self._ranks.forget, self._last).atexit = False
        return self._numbers[cache]


class Follower:
    """Repeat the passes of rank 0, with caches of this process's own part of the heads."""

    def __init__(self, model: Any, place: Place) -> None:
        import torch

        self._model, self._place = model, place
        self._device = torch.device("cuda", place.rank) if place.kind == "cuda" else torch.device("cpu")
        self._caches: dict[int, Any] = {}

    def do(self, frame: Frame) -> Mapping[str, Any] | None:
        """Do what a frame says. Return an answer if it asks for one."""
        if frame.op == Op.FORWARD:
            self._forward(frame)
        elif frame.op == Op.DROP:
            self._caches.pop(frame.cache, None)
        else:
            return self._peaks(frame.op)
        return None

    def _forward(self, frame: Frame) -> None:
        import torch

        with torch.inference_mode():
            ids = self._given(frame.sequences, frame.tokens)
            mask = positions = None
            if frame.columns:
                mask = self._given(frame.sequences, frame.columns)
                positions = self._given(frame.sequences, frame.tokens)
            self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions,
                past_key_values=self._cache(frame.cache), use_cache=bool(frame.cache),
                **({"logits_to_keep": frame.rows} if frame.rows else {}),
            )  # fmt: skip

    def _given(self, rows: int, columns: int) -> Any:
        import torch

        tensor = torch.empty(rows, columns, dtype=torch.long, device=self._device)
        torch.distributed.broadcast(tensor, 0)
        return tensor

    def _cache(self, number: int) -> Any:
        from transformers import DynamicCache

        if number and number not in self._caches:
            self._caches[number] = DynamicCache(config=self._model.config.get_text_config(decoder=True))
        return self._caches.get(number)

    def _peaks(self, op: Op) -> Mapping[str, Any]:
        from bench.engine import memory

        if op == Op.RESET:
            memory.reset_peak()
            return {}
        return memory.read_peak()
