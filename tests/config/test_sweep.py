"""The cells of a sweep, and the sweeps that are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from config_files import BASE, Write, refusal

from bench.config.reader import read_config
from bench.config.sweep import MAX_CELLS, cells
from bench.config.variants import MAX_ROWS

pytestmark = pytest.mark.usefixtures("cpu_machine")


def test_a_sweep_is_the_product_of_its_lists_each_cell_with_a_baseline(write: Write) -> None:
    groups = read_config(write(BASE + "sweep: {batch_size: [1, 3], dtype: [float32, float16]}\n")).groups
    assert [group.label for group in groups] == [
        "batch_size=1 dtype=float32", "batch_size=1 dtype=float16",
        "batch_size=3 dtype=float32", "batch_size=3 dtype=float16",
    ]  # fmt: skip
    last = groups[-1]
    assert (last.baseline.workload.batch_size, last.baseline.runtime.dtype) == (3, "float16")
    assert last.variants[0].runtime.dtype == "bfloat16"  # its own word counts more than the sweep's
    assert last.variants[0].workload.batch_size == 3


@pytest.mark.parametrize(
    ("sweep", "key", "words"),
    [
        ("[1, 2]", "sweep", "must be a block of lists"),
        ("{batch_size: 4}", "sweep.batch_size", "must be a list"),
        ("{batch_size: []}", "sweep.batch_size", "at least one"),
        ("{batch_size: [1, 2, 1]}", "sweep.batch_size", "given twice"),
        (
            "{workload: [{name: chat, requests: 6}, {requests: 6, name: chat}]}",
            "sweep.workload",
            "given twice",
        ),
        ("{batchsize: [1, 2]}", "sweep.batchsize", "did you mean 'batch_size'?"),
        ("{model: [a, b]}", "sweep.model", "unknown key"),
        ("{batch_size: [1, 0]}", "sweep.batch_size", "greater than or equal to 1, not 0"),
        ("{dtype: [float32, int8]}", "sweep.dtype", "'bfloat16'"),
        ("{batch_size: [[1]]}", "sweep.batch_size", "integer"),
        (f"{{file: [{'long/' * 60}]}}", "sweep", "a name of at most 300 characters"),
    ],
)
def test_a_sweep_is_refused(write: Write, sweep: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}sweep: {sweep}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)


@pytest.mark.parametrize("key", ["bits", "four.bits", "variants.four.optimise.bits"])
def test_a_setting_of_a_scheme_is_no_key_of_a_sweep_and_the_message_says_what_to_do(
    write: Write, key: str
) -> None:
    rows = "variants:\n  - {name: four, optimise: [{quantise: hqq, bits: 4}]}\n"
    error = refusal(write(f"model: smollm2-135m\nsweep: {{{key}: [2, 3]}}\n{rows}"))
    assert error.key == f"sweep.{key}"
    assert "a setting of a scheme" in str(error)
    assert "a variant may have a sweep of its own" in str(error)


@pytest.mark.bad_input(21)
def test_a_billion_cells_are_refused_before_they_are_made(write: Write) -> None:
    values = list(range(1, 1001))
    keys = ("batch_size", "requests", "output_tokens")
    error = refusal(write(BASE + "".join(["sweep:\n", *(f"  {key}: {values}\n" for key in keys)])))
    assert "1000000000 combinations are over the limit" in str(error)


def test_too_many_rows_are_refused(write: Write) -> None:
    names = "".join(f"  - name: v{index}\n" for index in range(10))
    text = BASE.replace("variants:\n", f"variants:\n{names}", 1)
    error = refusal(write(f"{text}sweep: {{requests: {list(range(1, 901))}}}\n"))
    assert f"more than {MAX_ROWS} rows" in str(error)


def test_a_cell_is_named_by_its_values_and_changes_their_blocks() -> None:
    loads = [{"name": "offline"}, {"name": "closed-loop", "users": 4}]
    swept = {"workload": loads, "dtype": ["float32", "float16"], "requests": [3]}
    homes = {"workload": "workload", "dtype": "runtime", "requests": "workload"}
    source: Any = None
    found = cells(source, swept, homes)
    assert [label for label, _overlay in found] == [
        "offline dtype=float32 requests=3", "offline dtype=float16 requests=3",
        "closed-loop users=4 dtype=float32 requests=3", "closed-loop users=4 dtype=float16 requests=3",
    ]  # fmt: skip
    assert found[-1][1] == {
        "workload": {"name": "closed-loop", "users": 4, "requests": 3}, "runtime": {"dtype": "float16"},
    }  # fmt: skip


def test_a_text_that_could_be_read_as_two_is_quoted_in_the_name_of_its_cell() -> None:
    source: Any = None
    values = ["p", "p q", "p requests=3", "a\nb", ""]
    found = cells(source, {"file": values, "requests": [3]}, {"file": "workload", "requests": "workload"})
    assert [label for label, _overlay in found] == [
        "file=p requests=3", 'file="p q" requests=3', 'file="p requests=3" requests=3',
        'file="a\\nb" requests=3', 'file="" requests=3',
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "fits"), [(MAX_CELLS // 2, True), (MAX_CELLS // 2 + 1, False)])
def test_the_most_cells(count: int, fits: bool) -> None:
    source: Any = SimpleNamespace(error=lambda path, problem, *hint: ValueError(problem))
    swept = {"requests": list(range(count)), "batch_size": [1, 2]}
    if fits:
        assert len(cells(source, swept, dict.fromkeys(swept, "workload"))) == MAX_CELLS
    else:
        with pytest.raises(ValueError, match=f"{2 * count} combinations are over the limit of {MAX_CELLS}"):
            cells(source, swept, dict.fromkeys(swept, "workload"))
