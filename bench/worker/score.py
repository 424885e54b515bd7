"""Compute drift between two workers: the baseline sends logits through shared memory, the variant compares.

The shared block holds a few rows of the vocabulary, so its size does not grow with the text. Everything is
computed in float32 over the full vocabulary: there is no top-K, and logits are never written to disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from bench.engine import Engine
from bench.errors import NonFiniteOutput
from bench.records import DriftWindow, Windows
from bench.records.token_kinds import kinds_of
from bench.worker.duet import Baton

Reach = tuple[float, float]  # the smallest and the largest logit of a window
MOST_LOGIT = 1e5  # a journal keeps log-probabilities down to -10^6; those of models are below a thousand


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
    being_read, reach = False, list[Reach]()
    for ids in windows:
        if being_read and not ahead:
            baton.wait()
            being_read = False
        logits = predictions(engine, ids, reach)
        for start, stop in _slices(len(logits), len(block)):
            if being_read:
                baton.wait()
            block[: stop - start].copy_(logits[start:stop])
            baton.give()
            being_read = True
    if being_read:
        baton.wait()
    return Windows((), logits=tuple(reach))


def compare_logits(
    engine: Engine,
    windows: Sequence[Sequence[int]],
    block: Any,
    baton: Baton,
    *,
    ahead: bool = False,
    more: Mapping[str, ModuleType] | None = None,
    text: Callable[[Sequence[int]], str] | None = None,
) -> Windows:
    """Compare the variant's logits with the baseline's. For each window and scored position this gives
    KL(base ‖ variant), whether both choose the same token, and the log-probability that each gives to the
    true next token. ``more`` adds further statistics (modules of bench/drift/statistics, by name). ``text``
    decodes tokens, to say of what kind each is."""
    results, reach = list[DriftWindow](), list[Reach]()
    for ids in windows:
        logits: Any = predictions(engine, ids, reach) if ahead else None
        parts: list[tuple[Any, ...]] = []
        further: dict[str, list[float]] = {name: [] for name in more or {}}
        for start, stop in _slices(len(ids) - 1, len(block)):
            baton.wait()
            if logits is None:
                logits = predictions(engine, ids, reach)
            base = block[: stop - start].to(logits.device)
            parts.append(statistics(base, logits[start:stop], ids[start + 1 : stop + 1]))
            for name, module in (more or {}).items():
                further[name] += _values(module.of_positions(base, logits[start:stop]))
            baton.give()
        further_values = {name: tuple(values) for name, values in further.items()}
        kinds = kinds_of(ids[1:], text) if text else ""
        results.append(replace(_joined(parts), more=further_values, kinds=kinds))
    return Windows(tuple(results), logits=tuple(reach))


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


def compared(base: Any, again: Any, next_ids: Sequence[int]) -> DriftWindow:
    """Return one window of which both logits are here."""
    return _joined([statistics(base, again, next_ids)])


def predictions(engine: Engine, ids: Sequence[int], reach: list[Reach] | None = None) -> Any:
    """Return the logits of every position that has a next token in the window; the smallest and the largest
    are added to ``reach``. Raises NonFiniteOutput on NaN or infinity, and on a logit that no model has."""
    logits = engine.logits(ids)[:-1]
    low, high = logits.aminmax()  # both propagate NaN, without a copy of the logits
    if not bool(low.isfinite() & high.isfinite()):
        raise NonFiniteOutput("the model put out NaN or infinite logits on the evaluation text")
    if float(high) > MOST_LOGIT:
        raise NonFiniteOutput(f"the model put out a logit of {float(high):.2g} on the evaluation text")
    if reach is not None:
        reach.append((round(float(low), 6), round(float(high), 6)))
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
