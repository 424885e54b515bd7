"""Compute a fingerprint of a batch's replies, so that two processes can be compared without storing replies.

This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

DIGITS = 16


def fingerprint(replies: Sequence[Sequence[int]]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of the tokens of all replies of a batch."""
    tokens = json.dumps([list(reply) for reply in replies], separators=(",", ":"))
    return hashlib.sha256(tokens.encode()).hexdigest()[:DIGITS]
