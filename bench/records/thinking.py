"""Count the tokens of an answer up to its end, and how many of them are reasoning.

The worker counts them, because only it has the tokenizer that encodes the markers of reasoning. This module
uses only the standard library.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """Count the tokens of one answer, including its end token.

    ``ended`` is False for an answer that was cut at ``output_tokens``. ``reasoning`` counts the tokens
    between the markers, markers included; None for a model whose markers are not known.
    """

    tokens: int
    ended: bool
    reasoning: int | None = None


@dataclass(frozen=True)
class Markers:
    """Hold the token ids that begin and end reasoning."""

    start: Ids
    end: Ids

    def open_after(self, prompt: Sequence[int]) -> bool:
        """Return whether reasoning is still open at the end of a prompt; some chat templates open it."""
        return _last(prompt, self.start) > _last(prompt, self.end)

    def reasoning_in(self, answer: Sequence[int], *, opened: bool) -> int:
        """Count the reasoning tokens of an answer, markers included; ``opened`` if the prompt opened it.

        Reasoning without an end marker goes on to the end of the answer. If an end marker comes before any
        start marker, the answer was reasoning from its first token.
        """
        thinking = opened or _first_end_is_alone(answer, self)
        count = place = 0
        while place < len(answer):
            marker = self.end if thinking else self.start
            at_marker = bool(marker) and tuple(answer[place : place + len(marker)]) == marker
            step = len(marker) if at_marker else 1
            count += step if thinking or at_marker else 0
            thinking ^= at_marker
            place += step
        return count


def before_end(tokens: Sequence[int], end_ids: Collection[int]) -> Sequence[int]:
    """Return the tokens of an answer before its first end token."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in end_ids), len(tokens))]


def counted(
    tokens: Sequence[int], end_ids: Sequence[int], markers: Markers | None, *, opened: bool, whole: bool
) -> Answer:
    """Count the tokens of one answer up to its first end token.

    ``whole`` says that the tokens are a complete answer even if no end token is among them.
    """
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
