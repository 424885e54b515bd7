"""Place names next to the marks of a picture so that they can be read. The method is greedy."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Place = tuple[float, float]
FONT, NARROW = 12.0, 6.6  # pixels: the height of a line, and a width that is enough for a Latin letter
MOST_NAMES = 80  # names that are shown: more would hide the marks, and take long to place
LONGEST = 28  # characters of a name that are shown; the full name is in the mark's title
# Offsets of a name from its mark, the preferred first: at a side, above, below, diagonal.
NEAR: tuple[tuple[float, float, Anchor], ...] = (
    (11, 4, "start"), (-11, 4, "end"), (0, -12, "middle"), (0, 21, "middle"),
    (9, -9, "start"), (9, 18, "start"), (-9, -9, "end"), (-9, 18, "end"),
)  # fmt: skip
# Offsets that are farther away and need a line to the mark: several lines of text above or below it.
_SIDES: tuple[tuple[float, Anchor], ...] = ((14.0, "start"), (-14.0, "end"))
FAR = tuple((x, y, side) for y in (-30.0, 38.0, -46.0, 54.0, -62.0, 70.0) for x, side in _SIDES)


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels from the upper left corner of the picture."""

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
    """A text whose baseline is at (x, y). With ``leader``, a line must connect it to its mark."""

    text: str
    x: float
    y: float
    anchor: Anchor
    leader: bool

    @property
    def box(self) -> Box:
        """Return the space that the text occupies, estimated from its characters."""
        width = text_width(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - FONT + 2, left + width, self.y + 3)


def text_width(text: str) -> float:
    """Estimate the width of a text in pixels; East Asian characters count as twice as wide."""
    return sum(2 * NARROW if unicodedata.east_asian_width(c) in "WF" else NARROW for c in text)


def shortened(text: str) -> str:
    """Cut ``text`` to a length that fits next to a mark."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def names_beside(names: Sequence[str], *notable: Sequence[bool]) -> list[str]:
    """Return the names to show, with '' for marks that get none, because hundreds of names hide the marks.

    If there are at most ``MOST_NAMES``, all are shown. Otherwise the first selection in ``notable`` that is
    small enough is shown. A mark without a shown name still has it as a title.
    """
    for selection in ([True] * len(names), *notable):
        shown = [name if selected else "" for name, selected in zip(names, selection, strict=True)]
        if sum(map(bool, shown)) <= MOST_NAMES:
            return shown
    return [""] * len(names)


def place_labels(
    names: Sequence[str], places: Sequence[Place], lines: Sequence[Box], mark: float, plot: Box
) -> tuple[Label, ...]:
    """Place a label for each mark at ``places``. ``mark`` is half the size of a mark in pixels.

    A label goes where it covers the least of the marks, ``lines``, frame and other labels, if possible
    nothing. A mark whose name is empty gets an empty label.
    """
    taken = [Box(x - mark, y - mark, x + mark, y + mark) for x, y in places]
    taken += lines
    labels: list[Label] = []
    for name, place in zip(names, places, strict=True):
        if not name:
            labels.append(Label("", *place, "middle", leader=False))
            continue
        label = min(_candidates(shortened(name), place), key=lambda each: _hidden(each.box, taken, plot))
        taken.append(label.box)
        labels.append(label)
    return tuple(labels)


def _candidates(text: str, place: Place) -> Iterator[Label]:
    """Yield the possible labels in order of preference: of equally good ones the first is taken."""
    for offsets, leader in ((NEAR, False), (FAR, True)):
        for dx, dy, anchor in offsets:
            yield Label(text, round(place[0] + dx, 1), round(place[1] + dy, 1), anchor, leader)


def _hidden(box: Box, taken: Sequence[Box], plot: Box) -> float:
    """Return the cost of a place: the area that covers something else, plus 10 times the area outside."""
    return sum(box.overlap(other) for other in taken) + 10 * (box.area - box.overlap(plot))
