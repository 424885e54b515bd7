"""A comment on a pull request: verdict, rules and what was compared, with a hidden marker to find it by.

The words of its rules are in ``bench/report/gate.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.formats import markdown
from bench.report.gate import MARKER, comment_body
from bench.results.run_summary import RunSummary

SUFFIX = "comment.md"
REQUIRES: tuple[str, ...] = ()


def render(runs: Sequence[RunSummary]) -> str:
    """Write one comment for all runs. A run without a gate is shown as in the Markdown report.

    The first line is ``MARKER``, so that a job can find and overwrite its earlier comment.
    """
    return "\n".join([MARKER, *(_body(run) for run in runs)])


def _body(run: RunSummary) -> str:
    return comment_body(run.name, run.gate) if run.gate else markdown.render([run])
