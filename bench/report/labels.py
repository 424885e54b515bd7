"""Names beside the marks of a picture, placed so that they can be read: greedy, deterministic, no library."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Place = tuple[float, float]
FONT, NARROW = 12.0, 6.6  # pixels: a line's height, and a Latin letter's width, on the generous side
LONGEST = 28  # letters; the full name is in the mark's title
# Where a name may stand relative to its mark, the best first: beside, above, below, aslant.
NEAR: tuple[tuple[float, float, Anchor], ...] = (
    (11, 4, "start"), (-11, 4, "end"), (0, -12, "middle"), (0, 21, "middle"),
    (9, -9, "start"), (9, 18, "start"), (-9, -9, "end"), (-9, 18, "end"),
)  # fmt: skip
# Farther off, with a line to the mark: lines of text above and below, to either side.
_SIDES: tuple[tuple[float, Anchor], ...] = ((14.0, "start"), (-14.0, "end"))
FAR = tuple((x, y, side) for y in (-30.0, 38.0, -46.0, 54.0, -62.0, 70.0) for x, side in _SIDES)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area in common."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Label:
    """``text`` with its baseline at (x, y), and whether it is so far off that a line must lead to it."""

    text: str
    x: float
    y: float
    anchor: Anchor
    leader: bool

    @property
    def box(self) -> Box:
        """The space the text takes, estimated from its letters."""
        width = text_width(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - FONT + 2, left + width, self.y + 3)


def text_width(text: str) -> float:
    """Pixels, with letters of East Asian scripts counted double."""
    return sum(2 * NARROW if unicodedata.east_asian_width(c) in "WF" else NARROW for c in text)


def shortened(text: str) -> str:
    """``text`` cut to a length that fits beside a mark."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def place_labels(
    names: Sequence[str], places: Sequence[Place], lines: Sequence[Box], mark: float, plot: Box
) -> tuple[Label, ...]:
    """A label for each mark at ``places`` (half a mark is ``mark``), clear of marks, ``lines``, the frame and
    each other where there is such a spot; else where it hides least."""
    taken = [Box(x - mark, y - mark, x + mark, y + mark) for x, y in places]
    taken += lines
    found: list[Label] = []
    for name, place in zip(names, places, strict=True):
        label = min(_candidates(shortened(name), place), key=lambda one: _hidden(one.box, taken, plot))
        taken.append(label.box)
        found.append(label)
    return tuple(found)


def _candidates(text: str, place: Place) -> Iterator[Label]:
    """The first of equals is taken, so the order is the preference."""
    for offsets, leader in ((NEAR, False), (FAR, True)):
        for dx, dy, anchor in offsets:
            yield Label(text, round(place[0] + dx, 1), round(place[1] + dy, 1), anchor, leader)


def _hidden(box: Box, taken: Sequence[Box], plot: Box) -> float:
    """The area that would be drawn over something else or outside the plot, which is worse."""
    return sum(box.overlap(other) for other in taken) + 10 * (box.area - box.overlap(plot))
