"""Tell the worker of a server in the place of a cascade's large model, and say what that server bills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from bench.measure.clock import utc_now
from bench.pricing import apis
from bench.records.plain import Json

PER_1M = 1e-6


def token_prices(params: Mapping[str, Any]) -> Json:
    """Return the server of a cascade with its dollars of a token; nothing for a large model that runs here.

    Raises UsageError for a model without a price for text today.
    """
    cloud = params.get("cloud")
    if cloud is None:
        return {}
    if cloud.price is None:
        usd, source = (cloud.usd_per_1m_input * PER_1M, cloud.usd_per_1m_output * PER_1M), "the config"
    else:
        today = dt.date.fromisoformat(utc_now()[:10])
        usd, source = apis.token_usd(cloud.price, today), f"{apis.list_version()}, {cloud.price}, {today}"
    about = {key: getattr(cloud, key) for key in ("url", "model", "api", "timeout_s")}
    return {
        "cloud": {**about, "source": source, "usd_per_input_token": usd[0], "usd_per_output_token": usd[1]}
    }
