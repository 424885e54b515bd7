"""List the ways to serve a stream of requests that a run measured: its rows, as servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.errors import UsageError
from bench.formatting import join_words
from bench.plan.options import Option
from bench.plan.pass_times import MeasuredSteps, measured_steps
from bench.plan.served import MOST_USERS, Served, failed_rows, served_rows
from bench.plan.server_passes import UsersRow, server_passes
from bench.plan.two_devices import split_rows
from bench.pricing.hardware import recorded_price
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

MOST_SIMULATED = 40  # rows of a run; each takes about a second
NO_CLOSED_LOOP = (
    f"no row of it has a closed loop of at most {MOST_USERS:,} users, and random arrivals do not say how "
    "long a pass takes: measure it with 1 user and with more (workload: {name: closed-loop})"
)


def measured_options(run: RunSummary) -> list[Option]:
    """Return an option for each row of a run.

    Cells of a sweep that differ only in batch size become one server; a step of a batch size between two of
    them is interpolated. Closed loops of a server that differ only in their users become one server too (see
    `bench.plan.server_passes`); its other loads are left out, because they do not say how long a pass takes.
    Simulating a queue takes time, so if there are more than ``MOST_SIMULATED`` names, only the baselines and
    the names with the cheapest requests are kept. Raises UsageError if no row has times of its own.
    """
    names = {row.title: row.name for row in run.rows}
    price = recorded_price(run.price, run.run_id)
    return [
        replace(option, price=price)
        for cells in _cheapest(_by_name(run, _with_queue(run)))
        for option in (_of_server if cells[0].is_server else _of_loop)(names[cells[0].title], cells)
    ]


def not_planned(run: RunSummary) -> list[str]:
    """Say which names of a run have times but are left out by ``measured_options``, and why."""
    planned = _by_name(run, _with_queue(run))
    kept = {row.title for cells in planned for row in cells}
    names = {row.title: row.name for row in run.rows}
    without = {names[row.title] for row in served_rows(run) if row.is_server}
    without -= {names[title] for title in kept}
    said = [f"{name} is not planned: {NO_CLOSED_LOOP}" for name in sorted(without)]
    said += [*split_rows(run), *failed_rows(run)]
    if (more := len(planned) - MOST_SIMULATED) > 0:
        said.append(
            f"only the {MOST_SIMULATED} rows with the cheapest requests are simulated, not {more} others"
        )
    return said


def _with_queue(run: RunSummary) -> list[Served]:
    """Return the rows whose queue can be simulated. Raises UsageError if there is none.

    A simulation needs the time to the first token, which is unknown if answers came as a whole. For a server
    it needs a closed loop.
    """
    rows = served_rows(run)
    streamed = [row for row in rows if row.prefill_s is not None]
    if not streamed:
        raise UsageError(
            f"{rows[0].title}: its answers came as a whole, so no time of a token is known, and no queue "
            "can be simulated; `bench price RUN --against api` prices its requests"
        )
    closed = [row for row in streamed if row.users is not None or not row.is_server]
    if not closed:
        raise UsageError(f"{streamed[0].title}: {NO_CLOSED_LOOP}")
    return closed


def _by_name(run: RunSummary, rows: Sequence[Served]) -> list[list[Served]]:
    names = {row.title: row.name for row in run.rows}
    by_name: dict[str, list[Served]] = {}
    for row in rows:
        by_name.setdefault(names[row.title], []).append(row)
    return list(by_name.values())


def _cheapest(rows: list[list[Served]]) -> list[list[Served]]:
    """Return the baselines and the rows with the cheapest requests, in the order of the run."""
    if len(rows) <= MOST_SIMULATED:
        return rows
    best = sorted(rows, key=lambda cells: (not cells[0].is_baseline, min(c.request_usd.value for c in cells)))
    kept = {cells[0].title for cells in best[:MOST_SIMULATED]}
    return [cells for cells in rows if cells[0].title in kept]


def _of_loop(name: str, cells: Sequence[Served]) -> Iterator[Option]:
    """Yield one option for all batch sizes of a loop, or one for each cell if these differ in more."""
    mixes = {(round(row.mix.input_tokens, 6), round(row.mix.output_tokens, 6)) for row in cells}
    together = len(mixes) == 1
    for cell in [cells] if together else [[row] for row in cells]:
        best = max(cell, key=lambda row: row.batch)
        title = name if together else best.title
        _must_have_steps(title, best)
        prompt_s = (best.prefill_s or 0.0) / best.batch / best.mix.input_tokens
        steps = measured_steps([(row.batch, row.step_s) for row in cell], prompt_s)
        sizes = [str(size) for size, _ in steps.steps_s]
        words = f"steps of batches of {join_words(sizes)} measured, others interpolated" * (len(sizes) > 1)
        yield _option(title, best, steps, words)


def _of_server(name: str, cells: Sequence[Served]) -> Iterator[Option]:
    """Yield one option for all closed loops of a server that have the same requests."""
    by_mix: dict[tuple[int, int], list[Served]] = {}
    for row in cells:
        by_mix.setdefault((round(row.mix.input_tokens), round(row.mix.output_tokens)), []).append(row)
    for lengths, alike in by_mix.items():
        best = max(alike, key=lambda row: row.users or 0)
        title = name if len(by_mix) == 1 else best.title
        rows = []
        for row in alike:
            _must_have_steps(title, row)
            per_s = 1 / row.own.request_s.value
            rows.append(UsersRow(row.users or 1, row.requests, per_s, row.prefill_s or 0.0, row.step_s))
        found = server_passes(rows, lengths)
        yield _option(title, best, found.steps, found.words)


def _must_have_steps(title: str, row: Served) -> None:
    """Raise UsageError if the answers of a row came as a whole, or have one token."""
    if row.prefill_s is None or not row.step_s:
        raise UsageError(f"{title}: its run has no time of a further token, so no queue can be simulated")


def _option(title: str, best: Served, steps: MeasuredSteps, passes: str) -> Option:
    own = best.own
    return Option(
        title=title,
        hardware="",
        steps=steps,
        machine_usd=own.rented_hour_usd / best.share,
        share=best.share,
        drift=best.drift,
        busy_hour_usd=own.busy_hour_usd,
        rented=best.rented,
        slower=_bounds(own.request_s),
        passes=passes,
    )


def _bounds(time: Interval) -> tuple[float, float] | None:
    """Return the bounds of a time divided by its estimate, or None if it has no bounds."""
    if time.low is None or time.high is None or time.low <= 0:
        return None
    return time.low / time.value, time.high / time.value
