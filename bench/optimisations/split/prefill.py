"""Read prompts in a second process, and decode here with the KV cache that it sends (disaggregation).

Source: Zhong et al. 2024, arXiv 2401.09670 (DistServe), within a data centre; here a link lies between. Both
sides have the whole model. It pays where the edge reads prompts slowly and the link carries a cache quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check
from bench.engine.split_socket import Codec
from bench.engine.splitting import Prices
from bench.link import NO_DELAY, LinkSettings
from bench.optimisations.shared import classes, halves

REQUIRES = ("torch", "transformers")
DECODING = True
NOTE = "each prompt waits for its cache; both processes run on this machine, and the link is simulated"


@dataclass(frozen=True)
class Params:
    """``cache`` crosses the link as it is, or rounded with a scale for each token and head.
    ``edge_usd_per_hour``, ``cloud_usd_per_hour`` and ``egress_usd_per_gb`` (bytes from the cloud) price the
    two sides; without them there is no dollar figure of the split."""

    link: LinkSettings = NO_DELAY
    cache: Codec = "as-they-are"
    edge_usd_per_hour: float | None = None
    cloud_usd_per_hour: float | None = None
    egress_usd_per_gb: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "link", LinkSettings.of(self.link))
        halves.check_prices(self)


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_plain_cache(config)


def apply(model: Any, params: Params) -> Changed:
    """Start the second process with a copy of the whole model.

    Raises Unsupported for a model whose cache is not plain keys and values of every token.
    """
    prices = Prices(params.edge_usd_per_hour, params.cloud_usd_per_hour, params.egress_usd_per_gb)
    return Changed(model, rest=halves.open_prompts(model, params.cache, params.link, prices))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the two processes, that both have the whole model, and the bytes of the cache."""
    work, checks = halves.two_processes(after)
    plain = before.decoding.cache_bytes_a_token if before.decoding else None
    if work is None or plain is None:
        return [*checks, check("bytes of cache a token", plain, False, "counted")]
    split = f"{work.edge_layers} and {work.cloud_layers}"
    cache_bytes = halves.cache_bytes(work, plain, halves.item_bytes(before), params.cache)
    return [
        *checks,
        check("layers of both", split, work.edge_layers == work.cloud_layers, "all and all"),
        *halves.prompts_match(work, cache_bytes),
    ]
