"""Count the tokens of an answer up to its end, and those of them that are reasoning.

The worker counts, because it has the tokenizer that makes tokens of the markers. Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """The tokens of one answer with the token that ended it, and those of them that are reasoning.

    ``ended`` is False for an answer that was cut at ``output_tokens``. ``reasoning`` counts the tokens
    between the markers, markers included; None for a model of which no markers are known.
    """

    tokens: int
    ended: bool
    reasoning: int | None = None


@dataclass(frozen=True)
class Markers:
    """The tokens that begin and end reasoning."""

    start: Ids
    end: Ids

    def open_after(self, prompt: Sequence[int]) -> bool:
        """Return whether a prompt ends within reasoning; some chat templates begin it."""
        return _last(prompt, self.start) > _last(prompt, self.end)

    def reasoning_in(self, answer: Sequence[int], *, opened: bool) -> int:
        """Return the reasoning tokens of an answer, markers included; ``opened`` if the prompt began it.

        Reasoning that does not end goes on to the end of the answer. An end without a start closes what was
        open from the first token on.
        """
        thinking = opened or _first_end_is_alone(answer, self)
        count = place = 0
        while place < len(answer):
            marker = self.end if thinking else self.start
            found = bool(marker) and tuple(answer[place : place + len(marker)]) == marker
            step = len(marker) if found else 1
            count += step if thinking or found else 0
            thinking ^= found
            place += step
        return count


def before_end(tokens: Sequence[int], end_ids: Collection[int]) -> Sequence[int]:
    """Return an answer up to its first end token, which is left out."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in end_ids), len(tokens))]


def counted(
    tokens: Sequence[int], end_ids: Sequence[int], markers: Markers | None, *, opened: bool, whole: bool
) -> Answer:
    """Count one answer. A ``whole`` answer has ended where its tokens end."""
    ends = [place for place, token in enumerate(tokens) if token in end_ids]
    length = ends[0] + 1 if ends else len(tokens)
    reasoning = markers.reasoning_in(tokens[:length], opened=opened) if markers else None
    return Answer(length, ended=bool(ends) or whole, reasoning=reasoning)


def _first_end_is_alone(answer: Sequence[int], markers: Markers) -> bool:
    start, end = _first(answer, markers.start), _first(answer, markers.end)
    return end is not None and (start is None or end < start)


def _places(tokens: Sequence[int], part: Ids) -> list[int]:
    size = len(part)
    return [i for i in range(len(tokens) - size + 1) if size and tuple(tokens[i : i + size]) == part]


def _first(tokens: Sequence[int], part: Ids) -> int | None:
    return next(iter(_places(tokens, part)), None)


def _last(tokens: Sequence[int], part: Ids) -> int:
    return (_places(tokens, part) or [-1])[-1]
