"""The table of schemes and families: what it may say, that its page is its journal, and a sample again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers
from loaded_script import loaded_script
from schemes_by_family import cells, families, page
from warm import Warm

from bench import plugins
from bench.errors import Outcome
from bench.models import anatomy
from bench.optimisations import unsupported

ROOT = Path(__file__).resolve().parents[2]
(JOURNAL,) = (ROOT / "results" / "reference" / "schemes-by-family").glob("transformers-*.jsonl")
ROWS: dict[tuple[str, str, str], dict[str, Any]] = {
    (row["verb"], row["scheme"], row["family"]): row
    for row in map(json.loads, JOURNAL.read_text().splitlines())
}
APPLIED = {key: row for key, row in ROWS.items() if row["end"] == cells.APPLIED}
ENDS = {
    cells.APPLIED, cells.ELSEWHERE,
    *map(str, (Outcome.UNSUPPORTED, Outcome.NOT_APPLIED, Outcome.LOAD_ERROR)),
}  # fmt: skip
EXACT = ("compile", "rearrange", "speculate", "split")  # what these change is not what is computed


def test_each_cell_has_one_row_of_a_scheme_and_a_family_that_there_are() -> None:
    assert len(ROWS) == len(JOURNAL.read_text().splitlines())
    assert {(verb, name) for verb, name, _family in ROWS} <= set(cells.schemes())
    assert {family for _verb, _name, family in ROWS} <= set(families.FAMILIES)


def test_a_cell_is_applied_or_has_a_reason_in_our_words() -> None:
    """No crash, no time out, no words of another library's exception."""
    for row in ROWS.values():
        assert row["end"] in ENDS, row
        assert (row["end"] == cells.APPLIED) != bool(row.get("reason")), row
        said = row.get("reason", "")
        assert "\n" not in said
        assert not re.match(r"\w*(Error|Exception)\b", said), row


def test_what_was_applied_did_what_it_says() -> None:
    """Weights that are packed take fewer bytes; what computes the same computes the same, all else not."""
    for (verb, name, _family), row in APPLIED.items():
        assert row["checks"] > 0
        before, after = row["weights_bytes"]
        if verb == "quantise" and not name.startswith("kv-"):
            assert after < before, row
        if row["engine"] != cells.HOME:  # their logits are in another process
            continue
        assert abs(row["kld"]) < 1e-5 if verb in EXACT else row["kld"] > 0, row


def test_the_page_is_the_journal() -> None:
    """Otherwise: ``.venv/bin/python scripts/schemes-by-family --page``."""
    made = page.page(ROWS, JOURNAL.stem.partition("-")[2])
    assert (ROOT / "docs" / "reference" / "schemes-by-family.md").read_text(encoding="utf-8") == made


def test_a_cell_without_a_row_is_a_question() -> None:
    made = page.page({}, "5.0")
    assert f"| `hqq` |{' ? |' * len(families.FAMILIES)}" in made
    assert "Of 0 cells" in made


def test_reasons_are_numbered_and_cannot_be_read_as_markup() -> None:
    rows = {
        ("prune", "depth", "llama"): {"end": "unsupported", "reason": "found <b>"},
        ("prune", "width", "llama"): {"end": "unsupported", "reason": "found <b>"},
        ("prune", "width", "qwen3"): {"end": "not_applied", "reason": "0 of 4"},
    }
    made = page.page(rows, "5.0")
    assert re.search(r"\| `depth` \| \(1\) \|", made)
    assert re.search(r"\| `width` \| \(1\) \| \? \| \(2\) \|", made)
    assert "1. `unsupported`: found &lt;b&gt;\n2. `not_applied`: 0 of 4\n" in made


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_the_class_of_its_card_with_widths_that_groups_fill(name: str) -> None:
    config = families.FAMILIES[name].config()
    sizes = [value for key, value in config.items() if key.endswith("intermediate_size") and value]
    assert all(type(size) is int and size % families.MULTIPLE == 0 for size in sizes)
    total, active = anatomy.parameter_counts(config)
    assert total < 40_000_000
    assert (active < total) == (families.FAMILIES[name].experts is not None)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A line that was cut off is measured again, and what is there already is not."""
    script = loaded_script("schemes-by-family")
    journal = tmp_path / "journal.jsonl"
    first = {"verb": "prune", "scheme": "width", "family": "llama", "end": "applied"}
    later = {**first, "end": "unsupported"}
    journal.write_text(f"{json.dumps(first)}\n{json.dumps(later)}\n{json.dumps(first)[:40]}")
    rows = script.read(journal)
    assert rows == {("prune", "width", "llama"): later}
    asked = type("Asked", (), {"schemes": ["width"], "family": ["llama", "qwen3"], "again": False})
    assert list(script.wanted(asked, rows)) == [("prune", "width", "qwen3")]
    script.write(journal, rows)
    assert list(map(json.loads, journal.read_text().splitlines())) == [later]


SAMPLE = ("torch-int8-dynamic", "kv-float8", "width")


def test_a_sample_is_what_the_table_says(warm: Warm, tmp_path: Path) -> None:
    """One that packs weights, one of the cache, and one that this architecture may not take."""
    journal, script = tmp_path / "journal.jsonl", ROOT / "scripts" / "schemes-by-family"
    done = warm.run(
        script, *SAMPLE, "--family", "gemma3", "--journal", journal, "--page-file", tmp_path / "page.md"
    )
    assert done.returncode == 0, done.stderr
    found = loaded_script("schemes-by-family").read(journal)
    assert {name for _verb, name, _family in found} == set(SAMPLE)
    for key, row in found.items():
        before = ROWS[key]
        for part in ("end", "reason", "checks", "weights_bytes", "dtype", "engine"):
            assert row.get(part) == before.get(part), (key, part)
        if "kld" in before and JOURNAL.stem == f"transformers-{transformers.__version__}":
            assert row["kld"] == pytest.approx(before["kld"], rel=0.2)
    assert "| `width` |" in (tmp_path / "page.md").read_text()


def test_a_scheme_that_needs_a_gpu_starts_no_process(tmp_path: Path) -> None:
    row = cells.cell("quantise", "mxfp4", "llama", tmp_path / "nothing", tmp_path)
    assert (row["end"], row["reason"]) == (cells.ELSEWHERE, "MXFP4 needs a CUDA device")


def test_every_scheme_without_kernels_for_a_cpu_says_so_in_the_table() -> None:
    for (verb, name, _family), row in ROWS.items():
        scheme = plugins.load(f"optimisations.{verb}", name)
        nowhere = all(unsupported(scheme, "cpu", dtype) for dtype in cells.DTYPES)
        assert (row["end"] == cells.ELSEWHERE) == nowhere
