"""The command `bench price`: a run at another price, and beside the prices of APIs."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Against, AsJson
from bench.cli.whose_fault import showing
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.plan.against import Comparison, Question
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
    list[str] | None, typer.Option(help="with --against api: the rows to set against each API")
]
Cached = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="share of the input that an API's prompt cache serves; if absent, as the row's own server did",
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
TokenRatio = Annotated[float, typer.Option(help="tokens of other models' tokenizers for one of the run's")]
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
    from bench.cli.app_commands import show

    of_apis = (api, variant, cached is not None, written is not None, picture, token_ratio != 1)
    _must_fit(split=split, against=against is not None, of_apis=any(of_apis))
    if _holds_runs(run):
        from bench.cli.price_many import price_many

        if split or against is not None:
            raise UsageError(f"--split and --against are about one run, and {run} holds several")
        price_many(run, hardware, usd_per_hour, utilisation, vcpus, as_json=as_json)
        return
    from bench.plan.against import Question

    found = priced(run, hardware, usd_per_hour, utilisation, vcpus, may_stay=bool(against) or split)
    with showing(run):
        if split:
            print_split(found, as_json=as_json)
        elif against is None:
            show(found, as_json=as_json)
        else:
            asked = Question(today(), tuple(api or ()), tuple(variant or ()), cached, token_ratio, written)
            print_against(found, asked, picture, as_json=as_json)


def _must_fit(*, split: bool, against: bool, of_apis: bool) -> None:
    """Raise UsageError if the options of ``price`` do not go together."""
    if split and against:
        raise UsageError("--split and --against are two questions: ask one")
    if of_apis and not against:
        raise UsageError(
            "--api, --variant, --cached, --written, --token-ratio and --picture go with --against api"
        )


def _holds_runs(directory: Path) -> bool:
    """Return whether a directory is not a run itself and has directories in it that look like runs."""
    from bench.results.summary import is_run

    return directory.is_dir() and not is_run(directory) and any(map(is_run, directory.iterdir()))


def priced(
    directory: Path,
    hardware: str | None,
    usd_per_hour: float | None,
    utilisation: float | None,
    vcpus: int | None,
    *,
    may_stay: bool,
) -> RunSummary:
    """Return a run at another price; nothing on the disk changes.

    Its own price stays if nothing is given and it ``may_stay``; else that is a UsageError.
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
    """Return the day for which prices of APIs are looked up."""
    from bench.measure.clock import utc_now

    return dt.date.fromisoformat(utc_now()[:10])


def print_against(run: RunSummary, asked: Question, picture: Path | None, *, as_json: bool) -> None:
    """Print a run beside hosted APIs, and draw it if a file is given."""
    from bench.cli.api_pages import against_json, against_page
    from bench.plan.against import against_apis
    from bench.report.formats import ascii_json, harmless

    found = against_apis(run, names_of_weights(run), asked)
    if picture is not None:
        _draw(run, found, picture)
    if as_json:
        print(ascii_json(against_json(found), indent=1))
    else:
        print(against_page(harmless(run), harmless(found)))


def print_split(run: RunSummary, *, as_json: bool) -> None:
    """Print what a token in and a token out cost in each row of a sweep."""
    from bench.cli.tables import align
    from bench.formatting import format_significant
    from bench.plan.split import splits
    from bench.pricing.split import FORMULA_SPLIT
    from bench.report.formats import ascii_json, harmless

    found = list(splits(run))
    if as_json:
        rows = {name: asdict(one) if not isinstance(one, str) else {"reason": one} for name, one in found}
        print(ascii_json({"formula": FORMULA_SPLIT, "rows": rows}, indent=1))
        return
    lines: list[tuple[str, ...]] = [("", "$/1M tokens in", "$/1M tokens out", "residual")]
    for name, one in harmless(found):
        if isinstance(one, str):
            lines.append((name, "-", "-", one))
        else:
            usd = (format_significant(1e6 * each) for each in (one.input_usd, one.output_usd))
            lines.append((name, *usd, f"{one.residual:.1%}"))
    print("\n".join([*align(lines), "", FORMULA_SPLIT]))


def _draw(run: RunSummary, found: Comparison, file: Path) -> None:
    from bench.plan.picture import picture, svg

    if file.suffix.lower() != ".svg":
        raise UsageError(f"a picture is an SVG file: call it {file.stem}.svg")
    title = f"{run.name} beside hosted APIs, {found.day}"
    try:
        file.write_text(svg(picture(title, found)), encoding="utf-8")
    except OSError as bad:
        raise UsageError(f"cannot write {file}: {bad.strerror}") from None
    print(f"wrote {file}", file=sys.stderr)


def names_of_weights(run: RunSummary) -> list[str]:
    """Return the names under which the run's model is known: its hub id, and that of its card."""
    from bench.errors import BenchError
    from bench.models.registry import find_model

    model = run.model or {}
    names = [str(model["location"])] if model.get("kind") == "hub" else []
    try:
        hub = find_model(str(model.get("name"))).hub
    except BenchError:  # a directory, or a model whose card is gone
        hub = None
    return [*names, *([hub] if hub else [])]
