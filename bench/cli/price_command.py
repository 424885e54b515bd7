"""Define the command `bench price`, which shows a run at another price or compares it with APIs."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.edited_results import showing
from bench.cli.main_commands import app
from bench.cli.options import Against, AsJson
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.plan.api_comparison import Comparison, Question
    from bench.results.run_summary import RunSummary


Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="a directory in results/, or results/ itself: every run in it")
]
Hardware = Annotated[str | None, typer.Option(help="an id in configs/prices")]
UsdPerHour = Annotated[float | None, typer.Option(help="or a price of your own")]
Utilisation = Annotated[float | None, typer.Option(help="share of paid hours spent serving")]
Vcpus = Annotated[
    int | None,
    typer.Option(help="vCPUs of that price, of which the run is charged its share; if absent, all"),
]
AgainstApi = Annotated[Against | None, typer.Option(help="api: what hosted APIs bill for the same requests")]
Apis = Annotated[
    list[str] | None, typer.Option(metavar="PROVIDER/MODEL", help="with --against api: these APIs only")
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        help="with --against api: the rows to compare with each API; if absent, the baseline and the "
        "cheapest row beside it, one with close answers before all others"
    ),
]
Cached = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="share of the input that an API's prompt cache serves; if absent, that of the row's own server",
    ),
]
Written = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="share of the input that is written to that cache, if that is billed; if absent, all the rest",
    ),
]
TokenRatio = Annotated[float, typer.Option(help="tokens of other models for each token of the run's model")]
Split = Annotated[
    bool, typer.Option("--split", help="a price for each token in and out, from a sweep over their mix")
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE.svg", help="with --against api: dollars against volume")
]


@app.command()
def price(
    run: Run,
    hardware: Hardware = None,
    usd_per_hour: UsdPerHour = None,
    utilisation: Utilisation = None,
    vcpus: Vcpus = None,
    against: AgainstApi = None,
    api: Apis = None,
    variant: Variants = None,
    cached: Cached = None,
    written: Written = None,
    token_ratio: TokenRatio = 1.0,
    split: Split = False,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Show a run at another price, or beside the prices of APIs, without measuring again."""
    from bench.cli.main_actions import show

    of_apis = (api, variant, cached is not None, written is not None, picture, token_ratio != 1)
    _must_fit(split=split, against=against is not None, of_apis=any(of_apis))
    if _contains_runs(run):
        from bench.cli.price_many import price_many

        if split or against is not None:
            raise UsageError(f"--split and --against are about one run, and {run} holds several")
        price_many(run, hardware, usd_per_hour, utilisation, vcpus, as_json=as_json)
        return
    from bench.plan.api_comparison import Question

    summary = priced(run, hardware, usd_per_hour, utilisation, vcpus, may_stay=bool(against) or split)
    with showing(run):
        if split:
            print_split(summary, as_json=as_json)
        elif against is None:
            show(summary, as_json=as_json)
        else:
            asked = Question(today(), tuple(api or ()), tuple(variant or ()), cached, token_ratio, written)
            print_against(summary, asked, picture, as_json=as_json)


def _must_fit(*, split: bool, against: bool, of_apis: bool) -> None:
    """Raise UsageError if the options of ``price`` do not go together."""
    if split and against:
        raise UsageError("--split and --against are two questions: ask one")
    if of_apis and not against:
        raise UsageError(
            "--api, --variant, --cached, --written, --token-ratio and --picture go with --against api"
        )


def _contains_runs(directory: Path) -> bool:
    """Return whether a directory contains runs and is not a run itself. A directory in it that only another
    user may look into counts: it is told as a run that cannot be read."""
    from bench.results.summary import is_run
    from bench.store.directories import is_closed

    def may_be_run(below: Path) -> bool:
        return is_run(below) or is_closed(below)

    return directory.is_dir() and not is_run(directory) and any(map(may_be_run, directory.iterdir()))


def priced(
    directory: Path,
    hardware: str | None,
    usd_per_hour: float | None,
    utilisation: float | None,
    vcpus: int | None,
    *,
    may_stay: bool,
) -> RunSummary:
    """Return a run at another price. No file is changed.

    Without any price option the run keeps its own price if it ``may_stay``. Otherwise UsageError is raised.
    """
    from bench.measure.clock import utc_now
    from bench.pricing.reprice import new_price
    from bench.results.summarise import summarise
    from bench.results.summary import load_run
    from bench.store.replay import load_record

    if may_stay and (hardware, usd_per_hour, utilisation, vcpus) == (None,) * 4:
        return load_run(directory)
    record = load_record(directory)
    block = new_price(record.price, hardware, usd_per_hour, utilisation, utc_now()[:10], vcpus)
    with showing(directory):
        return summarise(replace(record, price=block))


def today() -> dt.date:
    """Return the present day (UTC), for which the prices of APIs are looked up."""
    from bench.measure.clock import utc_now

    return dt.date.fromisoformat(utc_now()[:10])


def print_against(run: RunSummary, asked: Question, picture: Path | None, *, as_json: bool) -> None:
    """Print a run compared with hosted APIs, and draw the picture if a file is given."""
    from bench.cli.api_pages import against_json, against_page
    from bench.plan.api_comparison import against_apis
    from bench.report.formats import ascii_json, harmless

    comparison = against_apis(run, names_of_weights(run), asked)
    if picture is not None:
        _draw(run, comparison, picture)
    if as_json:
        print(ascii_json(against_json(comparison), indent=1))
    else:
        print(against_page(harmless(run), harmless(comparison)))


def print_split(run: RunSummary, *, as_json: bool) -> None:
    """Print the cost per input token and per output token of each row of a sweep."""
    from bench.cli.tables import align
    from bench.formatting import format_significant
    from bench.plan.token_costs import splits
    from bench.pricing.token_costs import FORMULA_SPLIT
    from bench.report.formats import ascii_json, harmless

    by_row = list(splits(run))
    if as_json:
        rows = {name: {"reason": each} if isinstance(each, str) else asdict(each) for name, each in by_row}
        print(ascii_json({"formula": FORMULA_SPLIT, "rows": rows}, indent=1))
        return
    lines: list[tuple[str, ...]] = [("", "$/1M tokens in", "$/1M tokens out", "residual")]
    for name, split in harmless(by_row):
        if isinstance(split, str):
            lines.append((name, "-", "-", split))
        else:
            usd = (format_significant(1e6 * each) for each in (split.input_usd, split.output_usd))
            lines.append((name, *usd, f"{split.residual:.1%}"))
    print("\n".join([*align(lines), "", FORMULA_SPLIT]))


def _draw(run: RunSummary, comparison: Comparison, file: Path) -> None:
    from bench.plan.picture import picture, svg

    if file.suffix.lower() != ".svg":
        raise UsageError(f"a picture is an SVG file: call it {file.stem}.svg")
    title = f"{run.name} beside hosted APIs, {comparison.day}"
    try:
        file.write_text(svg(picture(title, comparison)), encoding="utf-8")
    except OSError as bad:
        raise UsageError(f"cannot write {file}: {bad.strerror}") from None
    print(f"wrote {file}", file=sys.stderr)


def names_of_weights(run: RunSummary) -> list[str]:
    """Return the names under which the run's model is known: its hub id, and the hub id of its card."""
    from bench.errors import BenchError
    from bench.models.registry import find_model

    model = run.model or {}
    if model.get("random"):
        return []  # nobody sells a model of this shape whose weights were drawn at random
    place = model.get("location") if model.get("kind") == "hub" else None
    try:
        hub = find_model(str(model.get("name"))).hub
    except BenchError:  # the model is a directory, or its card no longer exists
        hub = None
    return [name for name in (place, hub) if name]
