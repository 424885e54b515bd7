"""Simulate a network link: what crosses it takes as long as on the link that is asked for.

``LinkSettings`` is the block ``link`` of a YAML; ``Link`` waits. Standard library only, because the worker
imports this folder too.
"""

from __future__ import annotations

from bench.link.settings import NO_DELAY, Direction, LinkSettings, Outage
from bench.link.waiting import Link, LinkDown, draw_for

__all__ = ["NO_DELAY", "Direction", "Link", "LinkDown", "LinkSettings", "Outage", "draw_for"]
