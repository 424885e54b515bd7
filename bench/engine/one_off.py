"""Time and cache the one-off work of an optimisation, such as calibration and training.

A scheme wraps the work in ``spent``, or lets ``kept`` cache its result by a digest. Afterwards the worker
takes the bill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bench.engine import memory
from bench.machine import noise

if TYPE_CHECKING:
    from torch import Tensor

BILL = "bill.json"
TENSORS = "tensors.safetensors"
NAMES = ("architectures", "dtype", "torch_dtype", "name_or_path", "transformers_version", "use_cache")


@dataclass(frozen=True)
class Spent:
    """Record one piece of one-off work, which took ``took_s`` seconds and serves every later run.

    ``peak_bytes`` is the peak memory of the process until the end of the work, including loading (on CUDA, of
    the allocator). ``reused`` says that an earlier run did the work; the figures are then from that run.
    ``details`` are figures from the work itself, with ``processors`` if it used more processors than the row.
    ``others`` is the share of the machine's processor time that others took meanwhile, and ``texts`` are the
    SHA-256 of the texts that were read, by their names. A bill that an earlier version kept has neither.
    """

    what: str
    took_s: float
    peak_bytes: int
    reused: bool = False
    details: Mapping[str, float] = field(default_factory=dict)
    others: float | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


_bill: list[Spent] = []
_details: dict[str, float] = {}
_texts: dict[str, str] = {}


def detail(**figures: float) -> None:
    """Add figures to the bill of the current work.

    ``earlier_s`` is the time that the work took before it was interrupted; it is added to the time now.
    """
    _details.update(figures)


def has_read(name: str, sha256: str) -> None:
    """Add a text to the bill of the current work."""
    _texts[name] = sha256


def take_bill() -> list[dict[str, object]]:
    """Return the work billed since the last call."""
    taken = [asdict(work) for work in _bill]
    _bill.clear()
    return taken


def clock() -> float:
    """Return the seconds of the clock used for bills."""
    return perf_counter()


@contextmanager
def spent(what: str) -> Iterator[None]:
    """Time the block and bill it; its memory peak is that of the process so far."""
    _details.clear()
    _texts.clear()
    started, before = clock(), noise.read_ticks()
    yield
    took_s = clock() - started + _details.pop("earlier_s", 0.0)
    peaks = memory.read_peak()
    peak = peaks["peak_allocated_bytes"] or peaks["peak_rss_bytes"] or 0
    others = round(noise.others(before, noise.read_ticks()), 5)
    _bill.append(Spent(what, took_s, peak, details=dict(_details), others=others, texts=dict(_texts)))


def kept(
    what: str,
    model: Any,
    recipe: Mapping[str, object],
    packages: Sequence[str],
    make: Callable[[], Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """Return the tensors that ``make`` creates for this model, from the cache if they exist there.

    The key is a digest of the model as it is now, of ``recipe`` (JSON) and of the versions of ``packages``.
    For tensors from the cache, the bill is that of the run that made them.
    """
    from importlib.metadata import version  # slow to import, and not needed in a timed process

    from safetensors.torch import load_file, save_file

    versions = {name: version(name) for name in packages}
    key = f"{what} {digest(model, {'recipe': dict(recipe), 'packages': versions})}"

    def write(staging: Path) -> None:
        made = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
        save_file(made, staging / TENSORS)

    return dict(load_file(_kept(key, write) / TENSORS, device=str(next(model.parameters()).device)))


def digest(model: Any, recipe: Mapping[str, object]) -> str:
    """Return the SHA-256 of ``recipe``, of every tensor of the model by name, and of its config: two models
    of the same weights may turn or scale them differently."""
    import torch

    config = getattr(model, "config", None)
    said: object = {} if config is None else _computed(json.loads(config.to_json_string()))
    sha256 = hashlib.sha256(json.dumps([dict(recipe), said], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def _computed(config: object) -> object:
    """Return a config without what a model is called and how it is stored, at any depth."""
    if not isinstance(config, dict):
        return config
    kept = {key: _computed(value) for key, value in config.items() if key not in NAMES}
    return {key: value for key, value in kept.items() if not key.startswith("_")}


def kept_directory(key: str, make: Callable[[Path], None]) -> Path:
    """Return the directory that ``make`` fills, from the cache if it exists there; billed as by ``kept``."""
    return _kept(key, make)


def _kept(key: str, make: Callable[[Path], None]) -> Path:
    """Return the cache entry that ``make`` fills, with its bill stored beside it."""
    from bench.models.disk_cache import fill

    fresh = False

    def build(staging: Path) -> None:
        nonlocal fresh
        fresh = True
        with spent(key.split()[0]):
            make(staging)
        (staging / BILL).write_text(json.dumps(asdict(_bill[-1])))

    place = fill(key, build)
    if not fresh:
        _bill.append(Spent(**{**json.loads((place / BILL).read_text()), "reused": True}))
    return place


def kept_file(key: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the file that ``make`` writes, from the cache if it exists there; billed as by ``kept``."""
    return _kept(key, lambda staging: make(staging / name)) / name
