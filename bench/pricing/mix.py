"""The mean request that is priced: its tokens in and out, and what a prompt cache does with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError

MOST_TOKENS: Final = 10_000_000
MOST_RATIO: Final = 100
ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class TokenMix:
    """The mean tokens of one request: what goes in, what comes out, and the share of the input that a prompt
    cache serves (from 0 to 1).

    ``written_share`` of the input is written to the cache, for which some APIs bill more than for other
    input. Without it, that is all that was not read from the cache, as a cache that keeps every prompt does;
    where nothing is read there is no cache, and nothing is written.
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
        """Return the same request where there is no cache."""
        return TokenMix(self.input_tokens, self.output_tokens)

    def scaled(self, ratio: float) -> TokenMix:
        """Return the same text counted by a tokenizer that makes ``ratio`` times as many tokens."""
        if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
            least = 1 / MOST_RATIO
            raise UsageError(f"the ratio of tokens must be from {least:g} to {MOST_RATIO}, got {ratio:g}")
        tokens = self.input_tokens * ratio, self.output_tokens * ratio
        return TokenMix(*tokens, self.cached_share, self.written_share)
