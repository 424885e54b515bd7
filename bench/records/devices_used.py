"""Count the devices that a row occupies, from its runtime block. A row is charged for each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Arguments of serving engines whose product is the number of devices, in each of their spellings.
SPLITS = (
    ("tensor-parallel-size", "tp-size", "tp"),
    ("pipeline-parallel-size", "pp-size", "pp"),
    ("data-parallel-size", "dp-size", "dp"),
)
MOST = 1024


def devices_used(runtime: Mapping[str, Any]) -> int:
    """Return how many devices a runtime block asks for: its key ``devices``, or the product of the sizes
    among a server's ``args``. A block that names neither asks for one."""
    args = runtime.get("args")
    given = (
        {str(key).replace("_", "-"): value for key, value in args.items()}
        if isinstance(args, Mapping)
        else {}
    )
    sizes = [_size(next((given[name] for name in names if name in given), 1)) for names in SPLITS]
    return min(MOST, math.prod(sizes) * _size(runtime.get("devices", 1)))


def _size(value: object) -> int:
    """Return a size as a number: the server itself refuses what is none."""
    text = str(value)
    return max(1, int(text)) if text.isdigit() and len(text) < 5 else 1
