"""Group the positions of drift by place in the window, kind of the next token, and script of the window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import DriftWindow
from bench.records.token_kinds import KINDS, LETTERS

QUARTERS = 4


@dataclass(frozen=True)
class Part:
    """Hold KL and agreement at the positions of one group: a tuple per window that has such positions."""

    kld: tuple[tuple[float, ...], ...]
    same_top: tuple[tuple[int, ...], ...]

    @property
    def positions(self) -> int:
        """Return the number of positions in all windows."""
        return sum(map(len, self.kld))


def by_place(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Group positions by quarter of the window, ``quarter_1`` to ``quarter_4``; the last has most context."""
    return {
        f"quarter_{number + 1}": _part(windows, [_quarter(len(w.kld), number) for w in windows])
        for number in range(QUARTERS)
    }


def _quarter(length: int, number: int) -> range:
    return range(number * length // QUARTERS, (number + 1) * length // QUARTERS)


def by_token(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Group positions by the kind of their true next token; groups are empty if kinds were not recorded."""
    with_kinds = [window for window in windows if window.kinds]
    return {
        name: _part(with_kinds, [_places(window.kinds, letter) for window in with_kinds])
        for letter, name in KINDS.items()
    }


def _places(kinds: str, letter: str) -> list[int]:
    return [place for place, kind in enumerate(kinds) if kind == letter]


def by_script(windows: Sequence[DriftWindow]) -> dict[str, Part]:
    """Group whole windows by the script of most of their tokens that are letters."""
    groups: Mapping[str, list[DriftWindow]] = {name: [] for name in LETTERS.values()}
    for window in windows:
        if script := script_of(window.kinds):
            groups[script].append(window)
    return {
        name: _part(of_script, [range(len(window.kld)) for window in of_script])
        for name, of_script in groups.items()
    }


def script_of(kinds: str) -> str | None:
    """Return the script of most tokens that are letters; None for a window without letters."""
    counts = Counter(kind for kind in kinds if kind in LETTERS)
    return LETTERS[counts.most_common(1)[0][0]] if counts else None


def _part(windows: Sequence[DriftWindow], places: Sequence[Iterable[int]]) -> Part:
    """Return the values at the given places of each window; windows without such places are left out."""
    all_chosen = [(window, tuple(chosen)) for window, chosen in zip(windows, places, strict=True)]
    with_places = [(window, chosen) for window, chosen in all_chosen if chosen]
    return Part(
        tuple(tuple(window.kld[place] for place in chosen) for window, chosen in with_places),
        tuple(tuple(window.same_top[place] for place in chosen) for window, chosen in with_places),
    )
