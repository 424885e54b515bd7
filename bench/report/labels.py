"""Place names beside the marks of a picture so that they can be read: greedy, deterministic, no library."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Place = tuple[float, float]
FONT, NARROW = 12.0, 6.6  # pixels: the height of a line, and a generous width of a Latin letter
MOST_NAMES = 80  # marks with a name beside them: more would hide the marks, and take long to place
LONGEST = 28  # letters; the full name is in the mark's title
# Where a name may be relative to its mark, the best place first: beside, above, below, diagonal.
NEAR: tuple[tuple[float, float, Anchor], ...] = (
    (11, 4, "start"), (-11, 4, "end"), (0, -12, "middle"), (0, 21, "middle"),
    (9, -9, "start"), (9, 18, "start"), (-9, -9, "end"), (-9, 18, "end"),
)  # fmt: skip
# Places farther off, with a line to the mark: several lines of text above or below, on either side.
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
        """Return the area that both boxes have in common."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0

    @property
    def area(self) -> float:
        """Return width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Label:
    """``text`` with its baseline at (x, y); ``leader`` means that a line must lead to it from its mark."""

    text: str
    x: float
    y: float
    anchor: Anchor
    leader: bool

    @property
    def box(self) -> Box:
        """Return the space that the text takes, estimated from its letters."""
        width = text_width(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - FONT + 2, left + width, self.y + 3)


def text_width(text: str) -> float:
    """Estimate the width in pixels; letters of East Asian scripts count double."""
    return sum(2 * NARROW if unicodedata.east_asian_width(c) in "WF" else NARROW for c in text)


def shortened(text: str) -> str:
    """Cut ``text`` to a length that fits beside a mark."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def names_beside(names: Sequence[str], *notable: Sequence[bool]) -> list[str]:
    """Return which marks have their name beside them, '' for the others: all of a few, else the first choice
    of ``notable`` ones that are few. Hundreds of names would hide the marks; each mark also has its name as a
    title."""
    for worth in ([True] * len(names), *notable):
        shown = [name if so else "" for name, so in zip(names, worth, strict=True)]
        if sum(map(bool, shown)) <= MOST_NAMES:
            return shown
    return [""] * len(names)


def place_labels(
    names: Sequence[str], places: Sequence[Place], lines: Sequence[Box], mark: float, plot: Box
) -> tuple[Label, ...]:
    """Place a label for each mark at ``places``; ``mark`` is half the size of a mark.

    A label is clear of marks, ``lines``, the frame and other labels if there is such a spot, else it goes
    where it hides least. A mark whose name is empty has no label.
    """
    taken = [Box(x - mark, y - mark, x + mark, y + mark) for x, y in places]
    taken += lines
    found: list[Label] = []
    for name, place in zip(names, places, strict=True):
        if not name:  # a mark without a name beside it
            found.append(Label("", *place, "middle", leader=False))
            continue
        label = min(_candidates(shortened(name), place), key=lambda one: _hidden(one.box, taken, plot))
        taken.append(label.box)
        found.append(label)
    return tuple(found)


def _candidates(text: str, place: Place) -> Iterator[Label]:
    """Yield the possible labels in order of preference, because the first of equals is taken."""
    for offsets, leader in ((NEAR, False), (FAR, True)):
        for dx, dy, anchor in offsets:
            yield Label(text, round(place[0] + dx, 1), round(place[1] + dy, 1), anchor, leader)


def _hidden(box: Box, taken: Sequence[Box], plot: Box) -> float:
    """Return the area that would be drawn over something else, and ten times the area outside the plot."""
    return sum(box.overlap(other) for other in taken) + 10 * (box.area - box.overlap(plot))
