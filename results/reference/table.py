"""The README's tables of reference runs, from their run.json.

python table.py quickstart          every row as `bench report --format markdown` has it, with one interval
python table.py quantisation        rows of quantisation-cpu, by cost
python table.py pruning             every row of pruning-distillation, in its order
python table.py speculative         and cascade, students, split, serving, users: some columns
                                    of `bench report --format markdown`
"""

import math
import sys
from pathlib import Path

from bench.report.formats import markdown
from bench.report.table_columns import COLUMNS
from bench.results.summary import load_run
from bench.stats.figure import value_of

HERE = Path(__file__).parent
ENGINES = {
    "transformers": "torch",
    "llama-cpp": "llama.cpp",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
SHOWN = (
    "gguf-q4_0", "gguf-q6_K", "gguf-q8_0", "onnx-int8", "onnx-f32", "openvino-int8", "openvino-int4",
    "torch-int8", "bnb-nf4", "bnb-int8", "ao-int8-compiled", "awq", "gptq", "int4-rtn", "hqq-4", "nvfp4",
)  # fmt: skip


def value(row, figure):
    return value_of(row.figure(figure))


def number(amount, digits=3):
    """Three significant digits, never in powers of ten."""
    if amount is None:
        return "-"
    if amount >= 100:
        return f"{amount:,.0f}"
    return f"{amount:#.{digits}g}" if amount >= 0.001 else f"{amount:.8f}".rstrip("0")


def share(amount):
    """Rounded down, as the harness does: 99.96 % is not 100.0 %."""
    return "-" if amount is None else f"{math.floor(1000 * amount) / 10:.1f}%"


def measured(run):
    """Rows that have a cost ratio and drift, each with its ratio."""
    pairs = ((row, run.comparison(row, "cost_per_request_usd")) for row in run.rows)
    return [(row, ratio) for row, ratio in pairs if ratio and value(row, "kld_mean") is not None]


def interval(ratio):
    digits = 2 if ratio.ratio >= 10 else 3
    return f"{ratio.ratio:.{digits}f} \\[{ratio.ci_low:.{digits}f}, {ratio.ci_high:.{digits}f}\\]"


def named(row, stars):
    return row.name.replace("_", "\\_") + (" \\*" if row.name in stars else "")


def quantisation(run):
    rows = measured(run)
    stars = run.fronts[""]
    yield "| variant | engine | cost ratio \\[95 %\\] | KL nat | top-1 | weights MiB |"
    yield "| :--- | :--- | ---: | ---: | ---: | ---: |"
    for row, ratio in sorted(rows, key=lambda pair: pair[1].ratio):
        if row.name in SHOWN:
            cells = (
                named(row, stars), ENGINES[row.runtime["name"]], interval(ratio),
                number(value(row, "kld_mean")), share(value(row, "top1_agreement")),
                f"{value(row, 'weights_bytes') / 2**20:.0f}",
            )  # fmt: skip
            yield "| " + " | ".join(cells) + " |"


def pruning(run):
    rows = measured(run)
    stars = run.fronts[""]
    yield (
        "| variant | cost ratio \\[95 %\\] | verdict | KL nat | top-1 | weights MiB | once min "
        "| pays back after requests |"
    )
    yield "| :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: |"
    for row, ratio in rows:
        cells = (
            named(row, stars), interval(ratio), ratio.verdict, number(value(row, "kld_mean")),
            share(value(row, "top1_agreement")), f"{value(row, 'weights_bytes') / 2**20:.0f}",
            f"{row.one_off_s / 60:.1f}" if row.one_off_s else "-",
            number(value(row, "break_even_requests")),
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def quickstart(run):
    yield "| " + " | ".join(markdown.escape(column.title) for column in COLUMNS) + " |"
    yield "| " + " | ".join("---:" if column.right else ":---" for column in COLUMNS) + " |"
    for row in run.rows:
        yield "| " + " | ".join(markdown.escape(column.cell(run, row)) for column in COLUMNS) + " |"
    yield ""
    yield from (line for line in markdown.render([run]).split("\n") if line.startswith("- **"))


def columns(*titles):
    """Return the maker of a table with these columns of the report, and its sentences below."""

    def make(run):
        lines = markdown.render([run]).split("\n")
        table = [line[2:-2].split(" | ") for line in lines if line.startswith("| ")]
        places = [table[0].index(markdown.escape(title)) for title in ("variant", *titles)]
        yield from ("| " + " | ".join(row[place] for place in places) + " |" for row in table)
        yield ""
        yield from (line for line in lines if line.startswith("- **"))

    return make


TABLES = {
    "quickstart": (quickstart, "quickstart"),
    "quantisation": (quantisation, "quantisation-cpu/2026-11-28-third"),
    "pruning": (pruning, "pruning-distillation"),
    "speculative": (
        columns("TPOT ms", "out tok/s", "$/1k tok", "cost ratio [95 %]", "verdict"),
        "edge-cloud/speculative",
    ),
    "cascade": (
        columns("TPOT ms", "sent on", "edge $/req", "cloud $/req", "cost ratio [95 %]", "verdict", "KL nat"),
        "edge-cloud/cascade",
    ),
    "students": (
        columns("TPOT ms", "sent on", "edge $/req", "cloud $/req", "cost ratio [95 %]", "verdict", "KL nat"),
        "edge-cloud/students",
    ),
    "split": (
        columns("TTFT ms", "TPOT ms", "cost ratio [95 %]", "verdict", "KL nat", "top-1"),
        "edge-cloud/split",
    ),
    "serving": (
        columns(
            "TTFT ms", "TPOT ms", "out tok/s", "errors", "good", "$/good req", "cost ratio [95 %]", "verdict"
        ),
        "serving",
    ),
    "users": (
        columns("TTFT ms", "TPOT ms", "good", "$/good req", "cost ratio [95 %]", "verdict"),
        "serving/users",
    ),
}


if __name__ == "__main__":
    make, directory = TABLES[sys.argv[1]]
    print("\n".join(make(load_run(HERE / directory))))
