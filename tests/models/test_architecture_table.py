"""The table of all classes of transformers: what it may say, what the docs say of it, and a sample again."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from warm import Warm

from bench.engine.stepping import MOST_BELOW
from bench.models import sizes

ROOT = Path(__file__).resolve().parents[2]
(TABLE,) = (ROOT / "results" / "reference" / "architectures").glob("transformers-*.jsonl")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in TABLE.read_text().splitlines()]
MEASURED = [row for row in ROWS if row["end"] == "measured"]
(CONTROLS,) = TABLE.parent.glob("controls-*.jsonl")
SAMPLE = ("falcon_mamba", "openai-gpt")  # one that is measured and one that is refused
STABLE = ("class", "attention", "end", "parameters", "weights_bytes", "matrices", "kv_formula", "kv_added")


def test_every_class_has_a_row() -> None:
    if TABLE.stem != f"transformers-{transformers.__version__}":
        pytest.skip(f"the table is of another version than {transformers.__version__}")
    assert [row["model_type"] for row in ROWS] == list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def test_every_class_saves_how_wide_and_how_deep_it_is() -> None:
    """Else its checkpoints would be refused. Two make no config without the configs of their parts."""
    unnamed: dict[str, str] = {}
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if kind in ("musicgen", "musicgen_melody"):
            continue
        if missing := sizes.unnamed(transformers.AutoConfig.for_model(kind).to_diff_dict()):
            unnamed[kind] = missing
    drafts = ("gemma4_assistant", "gemma4_unified_assistant")  # their depth is in a config of a part
    assert unnamed == dict.fromkeys(drafts, "num_hidden_layers")


def test_every_class_is_measured_or_has_a_reason() -> None:
    """No traceback: neither a crash nor a reason of more than one line."""
    for row in ROWS:
        assert row["end"] in ("measured", "refused", "no default", "not shrunk"), row
        assert (row["end"] == "measured") != bool(row.get("reason")), row
        assert "\n" not in row.get("reason", ""), row


def test_what_is_measured_was_checked_where_the_context_matters() -> None:
    """A check that a model without context would pass as well says nothing."""
    for row in MEASURED:
        assert row["steps_sd"] <= MOST_BELOW, row
        assert row["later_tokens_sd"] <= MOST_BELOW, row
        assert row["without_context_sd"] > 10 * MOST_BELOW, row


def test_the_docs_have_the_counts() -> None:
    ends = Counter(row["end"] for row in ROWS)
    formula = Counter(
        "none" if row["kv_formula"] is None else "right" if row["kv_formula"] == row["kv_added"] else "wrong"
        for row in MEASURED
    )
    padded = sum(row["padded_batch"] != "as alone" for row in MEASURED)
    text = " ".join((ROOT / "docs" / "models.md").read_text().split())
    said = re.search(
        r"Of its (\d+) classes, (\d+) are measured, (\d+) are refused with a reason, (\d+) have a default "
        r"config that transformers cannot build, and (\d+) cannot be made small", text,
    )  # fmt: skip
    assert said, "docs/models.md does not say the counts"
    kinds = (ends[end] for end in ("measured", "refused", "no default", "not shrunk"))
    assert tuple(map(int, said.groups())) == (len(ROWS), *kinds)
    cache = re.search(
        r"right for (\d+), absent for (\d+) and wrong for (\d+)\. (\d+) of the measured classes read the "
        r"padding", text,
    )  # fmt: skip
    assert cache, "docs/models.md does not say how often the formula holds"
    expected = (formula["right"], formula["none"], formula["wrong"], padded)
    assert tuple(map(int, cache.groups())) == expected


def test_a_sample_is_what_the_table_says(warm: Warm) -> None:
    done = warm.run(ROOT / "scripts" / "architecture-table", *SAMPLE)
    assert done.returncode == 0, done.stderr
    found = {row["model_type"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(found) == set(SAMPLE)
    for row in (row for row in ROWS if row["model_type"] in SAMPLE):
        again = found[row["model_type"]]
        assert {key: again.get(key) for key in STABLE} == {key: row.get(key) for key in STABLE}
    assert found["falcon_mamba"]["padded_batch"] != "as alone"


def test_no_engine_computes_another_model_than_transformers() -> None:
    """A cell is refused in words, or its distributions are those of transformers up to rounding."""
    for cell in map(json.loads, CONTROLS.read_text().splitlines()):
        assert cell["end"] != "crash"
        assert cell["reason"] if cell["end"] != "compared" else cell["kld"] < 1e-6, cell
