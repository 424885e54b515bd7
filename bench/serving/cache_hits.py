"""Count the prompt tokens that a server found in its prefix cache, from the counters in its ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import BenchError
from bench.formatting import MIB
from bench.serving.address import Address, Secret
from bench.serving.client import fetch_text

HITS, QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"
MOST_BYTES = 4 * MIB
MOST_TOKENS = 1e18  # that a server has counted in its life


@dataclass(frozen=True)
class Hits:
    """Tokens that were found in the cache, and all tokens that were looked up."""

    found: float
    asked: float

    @property
    def share(self) -> float:
        """Return the hit rate; 0 if nothing was looked up. It is 1 for a server or a file that says that more
        was found than was looked up."""
        return min(self.found, self.asked) / self.asked if self.asked > 0 else 0.0

    def since(self, before: Hits) -> Hits:
        """Return what was added after ``before``. A server that began anew has counted all of it."""
        began_anew = self.asked < before.asked or self.found < before.found
        return self if began_anew else Hits(self.found - before.found, self.asked - before.asked)

    def to_json(self) -> dict[str, float]:
        """Return it as it stands in a summary."""
        return {"hits": self.found, "queries": self.asked}

    @classmethod
    def from_json(cls, found: Mapping[str, float]) -> Hits:
        """Read back what ``to_json`` wrote."""
        return cls(found["hits"], found["queries"])


def hits_in(text: str) -> Hits | None:
    """Read the counters of vLLM in the text format of Prometheus, summed over engines; None without them."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in (HITS, QUERIES):
            value = _number(line.rpartition(" ")[2])
            if value is None:
                return None
            sums[name] = sums.get(name, 0.0) + value
    return Hits(sums[HITS], sums[QUERIES]) if len(sums) == 2 else None


async def hits_of(server: Address, key: Secret | None) -> Hits | None:
    """Ask a server for its counters; None if it has none."""
    try:
        found = await fetch_text(server, "/metrics", key, most_bytes=MOST_BYTES)
    except BenchError:
        return None
    return hits_in(found.decode(errors="replace"))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= MOST_TOKENS else None
