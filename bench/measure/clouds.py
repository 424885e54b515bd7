"""Tell the worker of a server in the place of a cascade's large model: its price for a token, and its key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from bench.config.spec import Place
from bench.errors import Outcome, VariantFailed
from bench.measure.clock import utc_now
from bench.pricing import apis
from bench.records.json_form import Json
from bench.serving.address import address, key_of

PER_1M = 1e-6


def key_told(params: Mapping[str, Any], place: Place) -> Json:
    """Return the key of a cascade's server as the worker is told it; nothing for a server without one.

    It is in the worker's command, and not in what a result keeps. Raises VariantFailed for the worker of
    another commit: its code may come from anybody.
    """
    cloud = params.get("cloud")
    if cloud is None or cloud.key_env is None:
        return {}
    if place.directory is not None:
        raise VariantFailed(
            Outcome.UNSUPPORTED, f"{cloud.key_env} is a key, and the code of another commit gets no key"
        )
    key = key_of(cloud.key_env, address(cloud.url))
    assert key is not None, "it has a name"
    return {"key": {"name": key.name, "value": key.reveal()}}


def usd_of_token(cloud: Any) -> tuple[float, float]:
    """Return the dollars of an input and of an output token of a cascade's server. Raises UsageError for a
    model without a price for text today."""
    if cloud.price is None:
        return cloud.usd_per_1m_input * PER_1M, cloud.usd_per_1m_output * PER_1M
    return apis.token_usd(cloud.price, dt.date.fromisoformat(utc_now()[:10]))


def token_prices(params: Mapping[str, Any]) -> Json:
    """Return the server of a cascade with its dollars of a token; nothing for a large model that runs here.

    Raises UsageError for a model without a price for text today.
    """
    cloud = params.get("cloud")
    if cloud is None:
        return {}
    usd, today = usd_of_token(cloud), utc_now()[:10]
    source = "the config" if cloud.price is None else f"{apis.list_version()}, {cloud.price}, {today}"
    about = {key: getattr(cloud, key) for key in ("url", "model", "api", "timeout_s")}
    return {
        "cloud": {**about, "source": source, "usd_per_input_token": usd[0], "usd_per_output_token": usd[1]}
    }
