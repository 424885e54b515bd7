"""Describe the mean request that is priced: its tokens, and what a prompt cache serves of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError

MOST_TOKENS: Final = 10_000_000
MOST_RATIO: Final = 100
ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class TokenMix:
    """The mean input and output tokens of a request, and the share of its input that a prompt cache serves.

    ``cached_share`` (from 0 to 1) of the input is read from the cache. ``written_share`` of it is written to
    the cache; some APIs bill that input at a higher price. If ``written_share`` is None, everything that is
    not read from the cache is written to it, as a cache that keeps every prompt does. If nothing is read
    either, there is no cache, and nothing is written. Raises UsageError for numbers out of range.
    """

    input_tokens: float
    output_tokens: float
    cached_share: float = 0.0
    written_share: float | None = None

    def __post_init__(self) -> None:
        if not all(0 < tokens <= MOST_TOKENS for tokens in (self.input_tokens, self.output_tokens)):
            raise UsageError(
                f"a request has tokens in and tokens out, each above 0 and at most {MOST_TOKENS:,}"
            )
        if not 0 <= self.cached_share <= 1:
            raise UsageError(f"the cached share must be from 0 to 1, got {self.cached_share:g}")
        if self.written_share is not None and not 0 <= self.written_share <= 1 - self.cached_share + ROUNDING:
            raise UsageError(
                f"the written share must be from 0 to what is not read from the cache "
                f"({1 - self.cached_share:g}), got {self.written_share:g}"
            )

    @property
    def written(self) -> float:
        """Return the share of the input that is written to the cache."""
        if self.written_share is not None:
            return self.written_share
        return 1 - self.cached_share if self.cached_share else 0.0

    def uncached(self) -> TokenMix:
        """Return the same request without a cache."""
        return TokenMix(self.input_tokens, self.output_tokens)

    def scaled(self, ratio: float) -> TokenMix:
        """Return the mix of the same text under a tokenizer that makes ``ratio`` times as many tokens."""
        if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
            least = 1 / MOST_RATIO
            raise UsageError(f"the ratio of tokens must be from {least:g} to {MOST_RATIO}, got {ratio:g}")
        tokens = self.input_tokens * ratio, self.output_tokens * ratio
        return TokenMix(*tokens, self.cached_share, self.written_share)
