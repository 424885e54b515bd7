"""Define the command `bench load`, which puts a server under load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.edited_results import showing
from bench.cli.load_options import Asking
from bench.cli.main_commands import app
from bench.cli.options import taking
from bench.errors import ExitCode

if TYPE_CHECKING:
    from bench.serving.record import Result


@app.command()
@taking(Asking)
def load(asking: Asking) -> None:
    """Put an OpenAI-compatible server under load, and price a request that met its limits.

    The client measures itself: a load in which it was the bottleneck is invalid, and exits with 5.
    """
    from bench.cli import load_idle, load_run
    from bench.cli.load_signals import Ending
    from bench.cli.output import Verdict

    earlier = load_run.is_earlier(asking.target)
    load_idle.all_in_use(asking, earlier=earlier)
    if earlier:
        place = Path(asking.target)
        with showing(place):
            done = load_run.again(asking)
            _show(done, place, as_json=asking.as_json)
    else:
        with Ending() as ending:
            done, directory = load_run.measured(asking, ending)
        _show(done, directory, as_json=asking.as_json)
        if done.interrupted:
            raise Verdict(ending.exit_code)
    raise Verdict(ExitCode.FAILED if done.reasons or done.drift_failed else ExitCode.OK)


def _show(done: Result, directory: Path, *, as_json: bool) -> None:
    from bench.cli import load_pages
    from bench.report.formats import ascii_json, harmless

    page = ascii_json(done.to_json(), indent=1) if as_json else load_pages.page(harmless(done), directory)
    print(page)
