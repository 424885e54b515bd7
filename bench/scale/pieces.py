"""Cut configs into pieces: each comparison group becomes a config that one machine measures alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.reader import MOST_LETTERS, read_groups
from bench.config.spec import Group, Spec
from bench.config.writer import write_yaml
from bench.formatting import one_line, short_name
from bench.store.files import digest


@dataclass(frozen=True)
class Piece:
    """One comparison group as a config of its own.

    ``needs_gpu`` is true if an arm names a CUDA device. ``digest`` is that of the config: a piece with
    another one is another measurement.
    """

    name: str
    text: str
    digest: str
    needs_gpu: bool = False


def pieces_of(
    configs: Sequence[Path],
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Piece]:
    """Read and check configs, and return their groups in the order in which they are begun.

    The first group of every config comes first, so that a config that cannot work fails early. Within a
    config the group with the most work comes first: what does not fit in memory is known soon, and no long
    group is left for the end. A group that is in several configs is one piece, and ``tell`` hears of each
    further one. Raises ConfigError as ``read_config`` does.
    """
    ordered: list[tuple[int, int, Piece]] = []
    for place, config in enumerate(configs):
        spec, alone = read_groups(config, overrides, only)
        groups = sorted(zip(spec.groups, alone, strict=True), key=lambda one: -_work(one[0]))
        for turn, (group, data) in enumerate(groups):
            ordered.append((turn, place, _piece(spec, group, dict(data))))
    found: dict[str, tuple[Path, Piece]] = {}
    for _turn, place, piece in sorted(ordered, key=lambda one: one[:2]):
        first, known = found.setdefault(piece.digest, (configs[place], piece))
        if known is not piece:
            tell(one_line(f"{configs[place]}: {piece.name} is also in {first}, so it is measured once"))
    return [piece for _config, piece in found.values()]


def _piece(spec: Spec, group: Group, data: dict[str, object]) -> Piece:
    name = short_name(f"{spec.name} {group.label}".strip(), MOST_LETTERS)
    whole = {**data, "name": name}
    needs_gpu = any(arm.runtime.device.startswith("cuda") for arm in group.arms)
    return Piece(name, write_yaml(whole), digest(whole), needs_gpu)


def _work(group: Group) -> int:
    """Return the tokens that the arms of a group write, as a measure of how much they do and need."""
    return sum(arm.workload.requests * arm.workload.output_tokens for arm in group.arms) + max(
        arm.workload.batch_size * arm.workload.output_tokens for arm in group.arms
    )
