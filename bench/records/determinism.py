"""A short name for what a batch was answered with, so that two processes can be compared without the replies.

Standard library only, because the worker imports this file too.
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
