"""Drift by place in the window, by the kind of the next token, and by the script of the window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import DriftWindow
from bench.records.token_kinds import KINDS, LETTERS

QUARTERS = 4


@dataclass(frozen=True)
class Part:
    """The positions of one kind: KL and agreement, in one list for each window that has any of them."""

    kld: tuple[tuple[float, ...], ...]
    same_top: tuple[tuple[int, ...], ...]

    @property
    def positions(self) -> int:
        """Return how many positions there are."""
        return sum(map(len, self.kld))


def by_place(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Return the quarters of the windows, ``quarter_1`` to ``quarter_4``: later tokens have more context."""
    return {
        f"quarter_{number + 1}": _part(windows, [_quarter(len(w.kld), number) for w in windows])
        for number in range(QUARTERS)
    }


def _quarter(length: int, number: int) -> range:
    return range(number * length // QUARTERS, (number + 1) * length // QUARTERS)


def by_token(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Return the positions by the kind of their true next token; empty where kinds were not recorded."""
    known = [window for window in windows if window.kinds]
    return {
        name: _part(known, [_places(window.kinds, letter) for window in known])
        for letter, name in KINDS.items()
    }


def _places(kinds: str, letter: str) -> list[int]:
    return [place for place, kind in enumerate(kinds) if kind == letter]


def by_script(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Return whole windows by the script in which most of their letter tokens are written."""
    groups: Mapping[str, list[DriftWindow]] = {name: [] for name in LETTERS.values()}
    for window in windows:
        if script := script_of(window.kinds):
            groups[script].append(window)
    return {name: _part(some, [range(len(window.kld)) for window in some]) for name, some in groups.items()}


def script_of(kinds: str) -> str | None:
    """Return the script of most letter tokens; None for a window without any."""
    counts = Counter(kind for kind in kinds if kind in LETTERS)
    return LETTERS[counts.most_common(1)[0][0]] if counts else None


def _part(windows: Sequence[DriftWindow], places: Sequence[Iterable[int]]) -> Part:
    """Return the values at these places of each window; windows without any are left out."""
    both = [(window, tuple(chosen)) for window, chosen in zip(windows, places, strict=True)]
    some = [(window, chosen) for window, chosen in both if chosen]
    return Part(
        tuple(tuple(window.kld[place] for place in chosen) for window, chosen in some),
        tuple(tuple(window.same_top[place] for place in chosen) for window, chosen in some),
    )
