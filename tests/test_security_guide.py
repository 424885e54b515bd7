"""``docs/security.md`` names a test for each of its promises, and its bounds are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import bounded, yaml_source
from bench.cli import load_workload
from bench.config import task_file
from bench.formatting import MIB
from bench.machine import process_tree
from bench.models import convert, files, gguf_format, json_files, safetensors_header, shards
from bench.report import kernel_names, label_places
from bench.results import schema as summary_schema
from bench.results import summary
from bench.serving import datasets, stream_events
from bench.sides import packages, pins
from bench.store import chain, journal_limits, parquet_numbers, replay, row_blocks, schema, values
from bench.store.json_lines import MOST_LINES_BYTES
from bench.texts import MAX_BYTES as TEXT_BYTES
from bench.workloads.file import MAX_LINE_BYTES as PROMPT_BYTES

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "security.md").read_text()
PROMISES = ("What is never done", "A results directory of somebody else", "What is kept where")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("title", PROMISES)
def test_each_promise_has_a_test(title: str) -> None:
    found = rows(title)
    assert found
    for sentence, *tests in found:
        assert "`tests/" in tests[-1] or tests[-1] == "the same", sentence


def test_each_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+?)`", GUIDE))
    assert named
    for one in sorted(named):
        file, _, name = one.partition("::")
        assert (ROOT / file).is_file(), one
        assert not name or f"def {name}(" in (ROOT / file).read_text(), one


def with_commas(number: int) -> str:
    return f"{number:,}"


BOUNDS = {
    "a config {} MiB": yaml_source.MAX_BYTES // MIB,
    "a model's config {} MiB": json_files.CONFIG_MAX_BYTES // MIB,
    "its tokenizer {} MiB": files.TEXT_MAX_BYTES // MIB,
    "a safetensors header {} MiB": safetensors_header.SAFETENSORS_HEADER_MAX_BYTES // MIB,
    "and {} tensors": safetensors_header.MAX_TENSORS,
    "has at most {} such files": files.MOST_FILES,
    "such files among {}": files.MOST_ENTRIES,
    "with {} MiB beside the weights": files.MOST_BESIDE // MIB,
    "their headers have at most {} MiB together": shards.MOST_HEADERS // MIB,
    "{} MiB of text and": gguf_format.MAX_TEXTS_BYTES // MIB,
    "and {} MiB of names": gguf_format.MAX_NAMES_BYTES // MIB,
    "`run.json` {} MiB": summary.MAX_BYTES // MIB,
    "a text {} MiB": TEXT_BYTES // MIB,
    "a line of prompts {} MiB": PROMPT_BYTES // MIB,
    "a data set and the documents of a task {} MiB": datasets.MOST_BYTES // MIB,
    "a file of prompts, a data set and the documents of a task {} MiB": MOST_LINES_BYTES // MIB,
    "and the documents of a task {} MiB": task_file.MOST_DATA // MIB,
    "in one array has at most {} lists and objects": datasets.MOST_IN_AN_ARRAY.containers,
    "lists and objects and {} values, and no other": datasets.MOST_IN_AN_ARRAY.values,
    "a commit declares packages {} MiB are read": pins.MOST_DECLARED // MIB,
    "installers have left of them {} MiB": packages.MOST_BYTES // MIB,
    "a requirement has at most {} letters": pins.MOST_LETTERS,
    "letters, a project {} of them": pins.MOST_REQUIREMENTS,
    "a line of `pyproject.toml` {} dots": pins.MOST_DOTS,
    "lists or shows of a commit {} MiB": process_tree.MOST_BYTES // MIB,
    "more than {} requests or": load_workload.MOST_SERVED,
    "requests or {} output tokens": load_workload.MOST_ANSWERED,
    "{} for why a reply ended": stream_events.MOST_FINISH,
    "more than {} lists and objects": bounded.MOST.containers,
    "or {} lists and objects in each other": bounded.MOST_DEPTH,
    "at most {} values and as many keys": summary.MOST.values,
    "A journal has at most {} MiB": chain.MAX_BYTES // MIB,
    "unpacked, {} records": chain.MAX_RECORDS,
    "beside it. It has at most {} MiB": chain.MAX_BYTES // MIB,
    "a child that gets {} MiB of memory": parquet_numbers.MEMORY_BYTES // MIB,
    "MiB of memory and {} s of": parquet_numbers.CPU_S,
    "{} lists and objects, 600,000 keys": chain.MOST_IN_ALL.containers,
    "200,000 lists and objects, {} keys": chain.MOST_IN_ALL.keys,
    "{} rows, ": replay.MOST_ROWS,
    "{} units of a row": replay.MOST_OF_A_ROW,
    "{} units and": replay.MOST_UNITS,
    "{} windows of text": replay.MOST_WINDOWS,
    "a line has {} MiB": chain.MAX_LINE_BYTES // MIB,
    "a reply has at most {} letters": values.MOST_REPLY,
    "letters or {} tokens": schema.MOST_TOKENS,
    "all requests to servers have {} tokens": journal_limits.MOST_TOKENS,
    "a row has {} kernels": row_blocks.MOST_KERNELS,
    "a run has {} metrics": summary_schema.MOST_METRICS,
    "name {} marks at most": label_places.MOST_NAMES,
    "sees {} letters of a kernel": kernel_names.MOST_LETTERS,
}


@pytest.mark.parametrize("words", BOUNDS)
def test_the_bounds_are_those_of_the_code(words: str) -> None:
    said = re.sub(r"\s+", " ", section("What is never done"))
    assert words.format(with_commas(BOUNDS[words])) in said


def test_the_limits_of_a_conversion() -> None:
    limits = convert.conversion_limits(1_000_000)
    assert (limits.seconds, limits.memory_bytes) == (301.0, (4 << 30) + 16_000_000)
    assert "300 s and a microsecond for each weight, 4 GiB and 16 bytes for each weight" in GUIDE
