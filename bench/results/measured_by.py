"""Say by what two runs were measured, where it differs: they are compared, but the reader must know."""

from __future__ import annotations

from collections.abc import Iterator

from bench.formatting import printable
from bench.results.run_summary import RunSummary

DIGITS = 8  # of the digest of the code


def measured_otherwise(before: RunSummary, after: RunSummary) -> list[str]:
    """Return a line for the code of ``bench``, and one for the design of the pairs, where these differ."""
    return [
        f"{what} differs, which alone can move a figure: {printable(one)} and {printable(other)}"
        for (what, one), (_what, other) in zip(_by(before), _by(after), strict=True)
        if one != other
    ]


def _by(run: RunSummary) -> Iterator[tuple[str, str]]:
    version, code = (str(run.harness.get(key) or "unknown") for key in ("version", "source_sha256"))
    yield "the code of bench", f"{version} ({code[:DIGITS]})"
    yield "measure.design", str((run.spec.get("measure") or {}).get("design") or "auto")
