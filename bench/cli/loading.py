"""The command `bench load`: a server under load, started here or given by its address."""

from __future__ import annotations

from pathlib import Path

from bench.cli.app import app
from bench.cli.load_options import Asking
from bench.cli.options import taking
from bench.errors import ExitCode


@app.command()
@taking(Asking)
def load(asking: Asking) -> None:
    """Put an OpenAI-compatible server under load, and price a request that met its limits.

    The client measures itself: a load in which it was the bottleneck is invalid, and exits with 5.
    """
    from bench.cli import load_idle, load_pages, load_run
    from bench.cli.output import Verdict
    from bench.report.formats import ascii_json, harmless
    from bench.serving.drift_failed import DriftFailed
    from bench.serving.load import INTERRUPTED
    from bench.store.replay import judging

    earlier = load_run.is_earlier(asking.target)
    load_idle.all_in_use(asking, earlier=earlier)
    if earlier:
        done, directory = load_run.again(asking), Path(asking.target)
    else:
        done, directory = load_run.measured(asking)
    with judging(directory):
        shown = (
            ascii_json(done.to_json(), indent=1)
            if asking.as_json
            else load_pages.page(harmless(done), directory)
        )
    print(shown)
    stopped, failed = done.load.stopped, done.drift if isinstance(done.drift, DriftFailed) else None
    if not earlier and (stopped == INTERRUPTED or failed == DriftFailed(INTERRUPTED)):
        raise Verdict(ExitCode.INTERRUPTED)
    raise Verdict(ExitCode.FAILED if done.reasons or failed else ExitCode.OK)
