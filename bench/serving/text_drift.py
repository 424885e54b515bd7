"""Measure how far a server's texts are from its model's texts, where its probabilities are not known.

Both answer the same pieces of a text greedily; the server is asked twice, which shows how far it is from
itself. The statistics are those of the rows of a run (``bench/metrics/reply_texts.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.metrics import reply_texts
from bench.records import Json, SaidTexts
from bench.records.drift import BY_TEXT
from bench.serving.client import Settings
from bench.serving.greedy_replies import Said, paired, pieces, replies
from bench.stats.figure import Figures

Write = Callable[[str], Awaitable[Said]]  # the baseline's reply to a prompt


@dataclass(frozen=True)
class TextDrift:
    """What was compared, ``why`` only texts were, and the replies: in each ``again`` is the second one of the
    server."""

    baseline: str
    text: str
    output_tokens: int
    why: str
    said: tuple[SaidTexts, ...]

    def figures(self) -> Figures:
        """Return the drift by the keys of its metrics."""
        twice = [(one.variant, one.again) for one in self.said]
        return reply_texts.compared(self.said, twice, self.output_tokens, self.text)

    def how(self) -> Json:
        """Return what was compared, without the replies."""
        return {key: value for key, value in vars(self).items() if key != "said"}

    @property
    def sentence(self) -> str:
        """Say for people what the figures are worth."""
        return f"{BY_TEXT}, against {self.baseline} in float32: {self.why}"

    def to_json(self) -> Json:
        """Return it as it stands in the journal."""
        return {**self.how(), "said": [dict(vars(one)) for one in self.said]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TextDrift:
        """Read back what ``to_json`` wrote."""
        names = ("baseline", "text", "output_tokens", "why")
        said = tuple(SaidTexts(**one) for one in found["said"])
        return cls(**{name: found[name] for name in names}, said=said)


async def said_by_both(
    settings: Settings, text: str, count: int, output_tokens: int, write: Write,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[SaidTexts, ...]:  # fmt: skip
    """Return the replies of both to ``count`` pieces of a text. Raises BenchError if one is not whole."""
    prompts = pieces(text, count, output_tokens)
    say(f"drift by text: {len(prompts)} replies of at most {output_tokens} tokens, each asked for twice")
    of_server = await replies(settings, prompts, output_tokens)
    again = await replies(settings, prompts, output_tokens)
    of_model = [await write(prompt) for prompt in prompts]
    return paired(of_model, again, of_server)
