"""transformers with one model split over several devices of this machine (tensor parallelism, ``tp_plan``).

Each device has a process of its own. All of them compute every layer together, each with its part of every
weight matrix. The times are those of the first process, which waits for the others in each layer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census, Check, check
from bench.engine.ranks import Ranks
from bench.errors import Unsupported
from bench.models.json_files import json_object
from bench.records import Facts, Json
from bench.runtimes import _sharded, transformers
from bench.runtimes._checkpoint import in_our_words
from bench.runtimes.transformers import TransformersEngine

REQUIRES = transformers.REQUIRES
DTYPES = transformers.DTYPES
RANDOM = False  # such weights are made whole, and shards are loaded from files
not_needed = transformers.not_needed
MOST_DEVICES = 64


@dataclass(frozen=True)
class Params:
    """``devices``: how many devices the model is split over. On a CPU these are processes, each with
    ``threads`` threads."""

    devices: int = 2

    def __post_init__(self) -> None:
        if not 2 <= self.devices <= MOST_DEVICES:
            raise ValueError(f"devices must be from 2 to {MOST_DEVICES}; one device is runtime transformers")


def refuse_model(config: Mapping[str, Any], devices: int = Params.devices) -> str | None:
    """Return why a model cannot be split over so many devices, from its ``config.json`` alone, or None."""
    return _sharded.why_not(config, devices)


def load(directory: Path, options: Options) -> ParallelEngine:
    """Start the other processes and load one shard in each.

    Raises Unsupported for what cannot be split: random weights, packed checkpoints, an architecture without a
    plan, and numbers of heads that the devices cannot share.
    """
    size = int(options.own["devices"])
    kind = _kind(options, size)
    if options.random:
        raise Unsupported("random weights are made whole, and shards are loaded from files")
    if reason := refuse_model(json_object(directory / "config.json"), size):
        raise Unsupported(reason)
    with tempfile.TemporaryDirectory(prefix="bench-ranks-") as meeting:
        places = [_sharded.Place(rank, size, kind, f"{meeting}/store") for rank in range(size)]
        told = [
            {"place": place._asdict(), "directory": str(directory), "options": _plain(options)}
            for place in places[1:]
        ]
        ranks = Ranks(told)
        model = shard(directory, options, places[0])
    if (share := _sharded.share_sharded(model)) < _sharded.LEAST_SHARDED:
        ranks.close()
        raise Unsupported(f"the plan of {type(model).__name__} splits only {share:.0%} of its weights")
    _sharded.Mirror(model, ranks)
    with in_our_words(options.attention, directory=directory):
        return ParallelEngine(model, directory, options, ranks, share)


def shard(directory: Path, options: Options, place: _sharded.Place) -> Any:
    """Join the group and return this process's shard of the model."""
    mesh = _sharded.joined(place)
    device = f"cuda:{place.rank}" if place.kind == "cuda" else "cpu"
    return transformers.loaded(directory, replace(options, device=device), **_sharded.split_over(mesh))


def _kind(options: Options, size: int) -> str:
    """Return ``cpu`` or ``cuda``. Raises Unsupported if there are fewer GPUs than the model is split over."""
    import torch

    if options.device == "cpu" or (options.device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if options.device.startswith("cuda:"):
        raise Unsupported("a model that is split takes the first GPUs: write device: cuda, not cuda:N")
    if (count := torch.cuda.device_count()) < size:
        raise Unsupported(f"devices: {size}, and torch sees {count} CUDA device(s)")
    return "cuda"


def _plain(options: Options) -> Json:
    return {"dtype": options.dtype, "threads": options.threads, "attention": options.attention}


class ParallelEngine(TransformersEngine):
    """Hold the first shard of a model, and the processes that hold the others."""

    ranks: Ranks

    def __init__(self, model: Any, directory: Path, options: Options, ranks: Ranks, share: float) -> None:
        self.ranks, self._share = ranks, share
        super().__init__(model, directory, options)

    def facts(self) -> Facts:
        """Add how the model is split to the facts of its first part."""
        words = f"1 of {self.ranks.size} parts in each of {self.ranks.size} processes"
        return replace(super().facts(), loaded=words)

    def census(self, *, count_zeros: bool = True) -> Census:
        """Describe the first shard, with the bytes of all of them: every process holds as much. Zeros are not
        counted, because each number of a split matrix would have to be gathered."""
        own = super().census(count_zeros=False)
        by_dtype = {dtype: size * self.ranks.size for dtype, size in own.bytes_by_dtype.items()}
        return replace(own, weights_bytes=own.weights_bytes * self.ranks.size, bytes_by_dtype=by_dtype)

    def as_asked(self, options: Options) -> list[Check]:
        """Check as well that there are as many processes as devices, and that the weights are split."""
        import torch.distributed as dist

        joined, share = dist.get_world_size(), f"{self._share:.0%} of the weights"
        return [
            *super().as_asked(options),
            check("devices", joined, joined == self.ranks.size, self.ranks.size),
            check("split over the devices", share, self._share >= _sharded.LEAST_SHARDED, "at least half"),
        ]

    def cache_bytes(self, generation: Any) -> int:
        """Return the bytes of keys and values of all devices: each holds its part of the heads."""
        return super().cache_bytes(generation) * self.ranks.size

    def seen_by_hooks(self) -> bool:
        """Return False: hooks see what the first process computes."""
        return False
