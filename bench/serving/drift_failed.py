"""Record that the drift of a load was asked for and could not be measured; the load before it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.records.json_form import Json
from bench.stats.figure import Figures

FAILED = "failed"


@dataclass(frozen=True)
class DriftFailed:
    """Why nothing was compared."""

    reason: str

    def figures(self) -> Figures:
        """Return no figure."""
        return {}

    def how(self) -> Json:
        """Return why, as it stands in the summary."""
        return {FAILED: self.reason}

    def to_json(self) -> Json:
        """Return it as it stands in the journal."""
        return self.how()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> DriftFailed:
        """Read back what ``to_json`` wrote."""
        return cls(str(found[FAILED]))
