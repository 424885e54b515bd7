"""Drift between two workers: the baseline sends its logits through shared memory, the variant compares.

The shared block holds a few rows of the vocabulary, so its size does not grow with the text. Everything is
computed in float32 over the full vocabulary: there is no top-K, and logits are never written to disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from bench.engine import Engine
from bench.errors import NonFiniteOutput
from bench.records import DriftWindow, Windows
from bench.worker.duet import Baton


def shared_rows(descriptor: int, rows: int, vocabulary: int) -> Any:
    """Return the shared block as a float32 tensor of shape [rows, vocabulary]. The descriptor is closed,
    because the memory map keeps the memory alive."""
    import torch

    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        block = mmap.mmap(file.fileno(), rows * vocabulary * 4)
    return torch.frombuffer(block, dtype=torch.float32).view(rows, vocabulary)


def send_logits(
    engine: Engine, windows: Sequence[Sequence[int]], block: Any, baton: Baton, *, ahead: bool = False
) -> Windows:
    """Send the baseline's logits: one forward pass per window, written to the shared block a few rows at a
    time. With ``ahead`` both sides compute at the same time, each on its own processor; otherwise they take
    turns."""
    being_read = False
    for ids in windows:
        if being_read and not ahead:
            baton.wait()
            being_read = False
        logits = predictions(engine, ids)
        for start, stop in _slices(len(logits), len(block)):
            if being_read:
                baton.wait()
            block[: stop - start].copy_(logits[start:stop])
            baton.give()
            being_read = True
    if being_read:
        baton.wait()
    return Windows(())


def compare_logits(
    engine: Engine,
    windows: Sequence[Sequence[int]],
    block: Any,
    baton: Baton,
    *,
    ahead: bool = False,
    more: Mapping[str, ModuleType] | None = None,
) -> Windows:
    """Compare the variant's logits with the baseline's. For each window and scored position this gives
    KL(base ‖ variant), whether both choose the same token, and the log-probability that each gives to the
    true next token. ``more`` adds further statistics (modules of bench/drift/statistics, by name)."""
    results = []
    for ids in windows:
        logits: Any = predictions(engine, ids) if ahead else None
        parts: list[tuple[Any, ...]] = []
        further: dict[str, list[float]] = {name: [] for name in more or {}}
        for start, stop in _slices(len(ids) - 1, len(block)):
            baton.wait()
            if logits is None:
                logits = predictions(engine, ids)
            base = block[: stop - start].to(logits.device)
            parts.append(statistics(base, logits[start:stop], ids[start + 1 : stop + 1]))
            for name, module in (more or {}).items():
                further[name] += _values(module.of_positions(base, logits[start:stop]))
            baton.give()
        further_values = {name: tuple(values) for name, values in further.items()}
        results.append(replace(_joined(parts), more=further_values))
    return Windows(tuple(results))


def statistics(base: Any, variant: Any, next_ids: Sequence[int]) -> tuple[Any, Any, Any, Any]:
    """Return (KL in nats, same top token, ln P(next), ln Q(next)) for each row of two float32 logits."""
    import torch

    with torch.inference_mode():
        ln_p, ln_q = torch.log_softmax(base, -1), torch.log_softmax(variant, -1)
        same_top = base.argmax(-1) == variant.argmax(-1)
        true = torch.tensor(list(next_ids), device=ln_p.device).unsqueeze(-1)
        ln_p_true, ln_q_true = ln_p.gather(-1, true).squeeze(-1), ln_q.gather(-1, true).squeeze(-1)
        kld = ln_q.neg_().add_(ln_p).mul_(ln_p.exp_()).sum(-1)
    return kld, same_top, ln_p_true, ln_q_true


def _values(found: Any) -> list[float]:
    """Return one value for each position, rounded to nine significant digits."""
    return [float(f"{value:.9g}") for value in found.float().cpu().tolist()]


def noise_floor(engine: Engine, windows: Sequence[Sequence[int]], extra: Sequence[int]) -> Windows:
    """Compare the baseline with itself. The same positions are computed again with ``extra`` tokens appended,
    which changes the shapes of all kernels and nothing else."""
    results = []
    for ids in windows:
        alone = predictions(engine, ids)
        longer = engine.logits([*ids, *extra])[: len(alone)]
        results.append(_joined([statistics(alone, longer, ids[1:])]))
    return Windows(tuple(results))


def predictions(engine: Engine, ids: Sequence[int]) -> Any:
    """Return the logits of every position that has a next token in the window. Raises NonFiniteOutput on NaN
    or infinity."""
    logits = engine.logits(ids)[:-1]
    low, high = logits.aminmax()  # both propagate NaN, without a copy of the logits
    if not bool(low.isfinite() & high.isfinite()):
        raise NonFiniteOutput("the model put out NaN or infinite logits on the evaluation text")
    return logits


def _slices(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(start + size, total)


def _joined(parts: Sequence[tuple[Any, ...]]) -> DriftWindow:
    """Return one window with all its positions. KL values that float32 made negative become zero."""
    import torch

    kld, same, base, variant = (torch.cat([part[i].cpu() for part in parts]) for i in range(4))
    return DriftWindow(
        kld=tuple(round(max(value, 0.0), 9) for value in kld.tolist()),
        same_top=tuple(int(value) for value in same.tolist()),
        ln_p_base=tuple(round(value, 7) for value in base.tolist()),
        ln_p_variant=tuple(round(value, 7) for value in variant.tolist()),
    )
