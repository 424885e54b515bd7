"""Describe what a config would do: its rows, what is measured, the price, and an estimate of time and memory.

Nothing is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.cli.check_drift import drift_words
from bench.cli.check_notes import notes
from bench.cli.estimate import NoFacts, assumptions, estimate, most_pairs
from bench.cli.list_pages import NO_STEPS, align, arm_words, terminal_width
from bench.config.served import serves
from bench.config.settings import LimitBlock
from bench.config.spec import Arm, Group, Spec
from bench.config.support import device_here
from bench.formatting import count, format_setting, printable
from bench.measure import designs
from bench.measure.served import ALONE_BLOCKS
from bench.pricing.book import price_called

MOST_ROWS = 50  # rows that are printed in full; a config may have 2,000
MOST_KINDS = 5  # kinds of the other rows that are named
SAME_SIZE = "; for one of its size: --set 'model={random: NAME}', with a NAME of `bench list models`"


def describe(spec: Spec) -> str:
    """Return the expanded config as text: a line for each row, why a row cannot run here, and an estimate."""
    arms = [arm for group in spec.groups for arm in group.arms]
    skipped = sum(arm.unsupported is not None for arm in arms)
    cannot = f", {skipped} of them cannot run here" if skipped else ""
    parts = [f"{spec.name} ({spec.file}): {count(len(arms), 'row')}{cannot}"]
    shown, hidden = _first(spec.groups)
    for group in shown:
        parts += ["", *(f"  {line}" for line in _rows(group))]
    if hidden:
        parts += ["", f"  {_more(hidden)}"]
    facts = [
        ("measured", _measured(spec)),
        ("drift", drift_words(spec)),
        ("price", _price(spec)),
        *(("gate", f"{key}: {_limit(limit)}") for key, limit in spec.gate),
        *_estimated(spec),
        *(("note", line) for line in notes(spec)),
    ]
    lines = [*parts, "", *(f"  {line}" for line in align(facts, terminal_width()))]
    return printable("\n".join(line.rstrip() for line in lines))


def _first(groups: Sequence[Group]) -> tuple[list[Group], list[Arm]]:
    """Return (groups with the rows that are printed, the other rows), with ``MOST_ROWS`` printed at most."""
    shown, hidden, room = list[Group](), list[Arm](), MOST_ROWS
    for group in groups:
        arms, room = group.arms[:room], max(room - len(group.arms), 0)
        if arms:
            shown.append(replace(group, variants=arms[1:]))
        hidden += group.arms[len(arms) :]
    return shown, hidden


def _more(arms: Sequence[Arm]) -> str:
    """Say in one line how many rows are left out, and of which kinds."""
    kinds = Counter(arm_words(arm)[2] for arm in arms).most_common()
    said = [
        f"{number} {'not optimised' if words == NO_STEPS else words}" for words, number in kinds[:MOST_KINDS]
    ]
    if others := sum(number for _words, number in kinds[MOST_KINDS:]):
        said.append(f"{others} of {count(len(kinds) - MOST_KINDS, 'other kind')}")
    cannot = sum(arm.unsupported is not None for arm in arms)
    unable = f"; {cannot} of them cannot run here" if cannot else ""
    return f"and {count(len(arms), 'more row')}: {', '.join(said)}{unable}"


def _rows(group: Group) -> Iterator[str]:
    """Yield what all rows have in common, then a line for each row, and the reason if it cannot run here."""
    names = ("model", "runtime", "optimised by", "workload")
    cells = [arm_words(arm) for arm in group.arms]
    shared = [len(set(column)) == 1 and len(cells) > 1 for column in zip(*cells, strict=True)]
    if group.label:
        yield f"[{group.label}]"
    shared_by_all = [(n, cell) for n, cell, same in zip(names, cells[0], shared, strict=True) if same]
    yield from (*align(shared_by_all), *([""] if shared_by_all else []))
    table = [
        (name, *(cell for cell, same in zip(row, shared, strict=True) if not same))
        for name, row in zip(["row", *(arm.name for arm in group.arms)], [names, *cells], strict=True)
    ]
    header, *lines = align(table)
    yield header
    for arm, line in zip(group.arms, lines, strict=True):
        yield line
        if arm.unsupported:
            yield f"  cannot run here: {arm.unsupported}"


def _measured(spec: Spec) -> str:
    if serves(spec.groups):
        return _under_load(spec)
    alone = "each row alone: latency, throughput, memory, and energy where there is a counter"
    least, half = spec.measure.processes, spec.measure.max_half_width
    if not any(group.variants for group in spec.groups):
        return f"{alone}; nothing is compared: there are no variants"
    most = least if spec.measure.max_rounds == 1 else most_pairs(spec)
    pairs = f"fresh {'pair' if most == 1 else 'pairs'} of processes {_in_turns(spec)}"
    if most == least:
        return f"{alone}; {least} {pairs}"
    return f"{alone}; {least} to {most} {pairs}, until the cost ratio is ±{format_setting(half)}"


def _in_turns(spec: Spec) -> str:
    """Say how both sides of a pair share the machine, which depends on the devices of the rows."""
    wanted = spec.measure.design
    chosen = {
        designs.chosen(
            wanted,
            on_gpu=any(device_here(arm.runtime.device) == "cuda" for arm in (row, group.baseline)),
            alike=designs.kernels(row).like(designs.kernels(group.baseline)),
            may_share={row.runtime.threads, group.baseline.runtime.threads} == {1},
        )
        for group in spec.groups
        for row in group.variants
    }
    if chosen == {designs.STEPS}:
        return "in turns with the baseline"
    words = {
        designs.REQUESTS: "in turns by request",
        designs.STEPS: "in turns by token",
        designs.SLICES: "at the same time on one processor",
        designs.ABBA: "one after the other",
    }
    return " or ".join(words[design] for design in sorted(chosen))


def _estimated(spec: Spec) -> list[tuple[str, str]]:
    """Return the estimate and its assumptions; of a model without facts, how to get one.

    There is none for servers, whose speed is not known.
    """
    if serves(spec.groups):
        return []
    try:
        return [("estimate", estimate(spec)), ("", assumptions(spec))]
    except NoFacts as unknown:
        own = any(arm.model == unknown.model for group in spec.groups for arm in group.arms)
        return [("estimate", f"time and memory unknown: {unknown}{SAME_SIZE if own else ''}")]


def _under_load(spec: Spec) -> str:
    """Say how servers are measured under load."""
    least, most = spec.measure.processes, most_pairs(spec)
    pairs = f"{least}" if most == least else f"{least} to {most}"
    most_blocks = f"are quiet, {2 * ALONE_BLOCKS} at most"
    each = f"the baseline alone until {ALONE_BLOCKS} blocks of the workload {most_blocks}"
    of = "pair" if most == 1 else "pairs"
    return f"{each}; each variant in {pairs} {of} of servers with the baseline, four blocks a pair (A B B A)"


def _price(spec: Spec) -> str:
    used = f"used {format_setting(spec.price.utilisation)} of the time"
    if spec.price.hardware is None:
        return f"{spec.price.usd_per_hour:g} USD/h, given in the config, {used}"
    price = price_called(spec.price.hardware)
    return f"{price.id}: {price.hourly_usd:.4g} USD/h on {price.date}, {used} ({price.name})"


def _limit(limit: LimitBlock) -> str:
    given = limit.model_dump(exclude_none=True).items()
    return ", ".join(f"{key} {value if isinstance(value, str) else f'{value:.10g}'}" for key, value in given)
