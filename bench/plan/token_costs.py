"""Estimate the cost of an input token and of an output token, from cells of a run with other workloads."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import UsageError
from bench.plan.served import served_rows
from bench.pricing.token_costs import LEAST_CELLS, Cell, TokenPrices, split_by_workloads
from bench.results.run_summary import RunSummary


def splits(run: RunSummary) -> Iterator[tuple[str, TokenPrices | str]]:
    """Yield (name of a row, its prices per token) or (name of a row, the reason why it has none).

    Raises UsageError if no row was measured in three cells or more.
    """
    served = served_rows(run)
    names = {row.title: row.name for row in run.rows}
    by_name: dict[str, list[Cell]] = {}
    for row in served:
        cell = Cell(row.request_usd.value, row.mix.input_tokens, row.mix.output_tokens)
        by_name.setdefault(names[row.title], []).append(cell)
    if all(len(cells) < LEAST_CELLS for cells in by_name.values()):
        raise UsageError(
            f"a price for each token in and out needs {LEAST_CELLS} workloads with other mixes of both: a "
            "sweep over workload.input_tokens or workload.output_tokens"
        )
    for name, cells in by_name.items():
        try:
            yield name, split_by_workloads(cells)
        except UsageError as why:
            yield name, str(why)
