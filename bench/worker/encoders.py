"""Return what an encoder makes of some texts, vectors or the logits of labels, for the harness to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.engine import Engine
from bench.errors import NonFiniteOutput
from bench.records import Encodings


def encoded(engine: Engine, texts: Sequence[str], at_once: int) -> Encodings:
    """Encode the texts in their order, ``at_once`` in a batch. Raises NonFiniteOutput on NaN or infinity."""
    longest = engine.facts().context
    read = [engine.read(text) for text in texts]
    found: list[tuple[float, ...]] = []
    for start in range(0, len(read), at_once):
        rows = engine.encoded(engine.prefill(read[start : start + at_once], 1))
        if not all(math.isfinite(value) for row in rows for value in row):
            raise NonFiniteOutput("the model put out NaN or infinite numbers on the texts of drift")
        found += map(tuple, rows)
    cut = sum(longest is not None and len(ids) >= longest for ids in read)
    return Encodings(tuple(found), cut, engine.labels(), getattr(engine, "similarity", Encodings.similarity))
