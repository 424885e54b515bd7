"""``bench export``: what is written loads again as an ordinary checkpoint, or nothing is written."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.config.inputs import inputs_of
from bench.config.reader import read_config
from bench.config.settings import DriftBlock
from bench.errors import BenchError, IntegrityError, UsageError
from bench.runs import export as exports
from bench.runs.export import _tokenizer_files, export
from bench.runs.run import begin
from bench.texts import EvaluationText

CONFIG = """
name: small
model: {random: tiny-llama}
runtime: {device: cpu, threads: 1}
workload: {requests: 1, output_tokens: 2}
variants:
  - {name: one-layer, optimise: [{prune: depth, keep_layers: 1, by: last}]}
  - {name: packed, optimise: [{quantise: torch-int8-dynamic}]}
price: {usd_per_hour: 1}
drift: {tokens: 0}
"""


def begun(tmp_path: Path, config: str = CONFIG) -> Path:
    """A run as far as an export looks at it: the config, and the journal that has it too."""
    directory = tmp_path / "run"
    directory.mkdir()
    (tmp_path / "config.yaml").write_text(config)
    text = EvaluationText("english", "a" * 5000)
    begin(directory, read_config(tmp_path / "config.yaml"), text).close()
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return begun(tmp_path)


@pytest.mark.usefixtures("warm_workers")
def test_a_pruned_model_is_an_ordinary_checkpoint(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    to = export(run, "one-layer", tmp_path / "out", said.append)
    model = transformers.AutoModelForCausalLM.from_pretrained(to)
    assert model.config.num_hidden_layers == len(model.model.layers) == 1
    assert model(torch.arange(5)[None]).logits.isfinite().all()
    about = json.loads((to / "bench-export.json").read_text())
    assert about["variant"] == "one-layer"
    assert about["logits_apart"] <= 1e-4
    assert about["parameters"] == sum(one.numel() for one in model.parameters())
    assert said
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.usefixtures("warm_workers")
def test_packed_weights_are_refused_and_nothing_is_left(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"its weights are packed \(qint8\): an export is of dense weights"):
        export(run, "packed", tmp_path / "out", lambda _text: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "run"]


@pytest.mark.parametrize("scheme", ["prompt-lookup", "layer-skip"])
def test_what_drafts_is_no_part_of_a_model_s_files(tmp_path: Path, scheme: str) -> None:
    config = CONFIG.replace("{quantise: torch-int8-dynamic}", f"{{speculate: {scheme}}}")
    with pytest.raises(UsageError, match=rf"packed drafts \({scheme}\), which is no part of a model's files"):
        export(begun(tmp_path, config), "packed", tmp_path / "out", lambda _text: None)
    assert not (tmp_path / "out").exists()


def test_a_cascade_is_no_one_model(tmp_path: Path) -> None:
    step = "{cascade: margin, threshold: 0.5, edge: {model: smollm2-135m, usd_per_hour: 1}}"
    config = CONFIG.replace("{quantise: torch-int8-dynamic}", step)
    with pytest.raises(UsageError, match="packed is a cascade of two models"):
        export(begun(tmp_path, config), "packed", tmp_path / "out", lambda _text: None)


def test_what_is_not_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'one-layer'"):
        export(run, "one-laier", tmp_path / "out", lambda _text: None)
    with pytest.raises(UsageError, match="not the directory of a run"):
        export(tmp_path, "one-layer", tmp_path / "out", lambda _text: None)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export(run, "one-layer", tmp_path / "out", lambda _text: None)


def test_a_row_of_a_sweep_is_named_with_its_cell_if_the_cells_have_other_models(tmp_path: Path) -> None:
    def rows(sweep: str) -> Any:
        (tmp_path / "config.yaml").write_text(f"{CONFIG}sweep: {sweep}\n")
        return read_config(tmp_path / "config.yaml")

    alike, others = rows("{output_tokens: [2, 3], threads: [1, 2]}"), rows("{dtype: [float32, bfloat16]}")
    assert exports._rows(alike, "one-layer")[0].name == "one-layer"
    for dtype in ("float32", "bfloat16"):
        arm, baseline = exports._rows(others, f"dtype={dtype} one-layer")
        assert arm.runtime.dtype == baseline.runtime.dtype == dtype
    with pytest.raises(UsageError, match="name one of them, dtype=float32 one-layer, dtype=bfloat16 one-"):
        exports._rows(others, "one-layer")


def test_an_export_reads_nothing_of_drift(run: Path) -> None:
    """Its files and lm-eval's data may be gone, and the exported model has nothing to do with them."""
    spec = read_config(run / "spec.yaml")
    drift = DriftBlock(text="/elsewhere/text", items="/elsewhere/items", suites=("own",))
    spec = replace(spec, drift=drift)
    assert len(list(inputs_of(spec))) == 2
    alone = exports._alone(spec, *exports._rows(spec, "one-layer"))
    assert (list(inputs_of(alone)), alone.drift.suites) == ([], ())


# ---- a run of somebody else ----------------------------------------------------------------------


def silent(_text: str) -> None: ...


def a_program(tmp_path: Path) -> tuple[Path, Path]:
    """(an "interpreter" that leaves a mark when it is started, the mark)."""
    program, mark = tmp_path / "python", tmp_path / "mark"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    return program, mark


def test_a_run_does_not_choose_what_is_started(tmp_path: Path) -> None:
    program, mark = a_program(tmp_path)
    run = begun(tmp_path, CONFIG.replace("threads: 1", f"threads: 1, python: {program}"))
    with pytest.raises(UsageError, match=f"give it yourself, --python {program}"):
        export(run, "one-layer", tmp_path / "out", silent)
    assert not mark.exists()
    with pytest.raises(BenchError):
        export(run, "one-layer", tmp_path / "out", silent, program)
    assert mark.exists(), "who names it starts it"


def test_a_config_beside_the_journal_is_held_against_it(run: Path, tmp_path: Path) -> None:
    program, mark = a_program(tmp_path)
    spec = run / "spec.yaml"
    spec.write_text(spec.read_text().replace("python: null", f"python: {program}"))
    with pytest.raises(IntegrityError, match=r"spec\.yaml: runtime\.python: .*, the journal gives null"):
        export(run, "one-layer", tmp_path / "out", silent, program)
    assert not mark.exists()


def test_a_run_of_a_program_is_not_exported(tmp_path: Path) -> None:
    program, mark = a_program(tmp_path)
    config = CONFIG.replace("model: {random: tiny-llama}", "model: smollm2-135m")
    config = config.replace("{device: cpu, threads: 1}", f"{{name: command, command: [{program}]}}")
    config = config.replace(
        "  - {name: one-layer, optimise: [{prune: depth, keep_layers: 1, by: last}]}\n", ""
    )
    run = begun(tmp_path, config.replace(", optimise: [{quantise: torch-int8-dynamic}]", ""))
    with pytest.raises(UsageError, match="only models of transformers can be exported"):
        export(run, "packed", tmp_path / "out", silent)
    assert not mark.exists()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("model", ["{hub: evil/model, revision: " + COMMIT + "}", "smollm2-135m"])
def test_a_run_does_not_choose_what_is_fetched(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def ensure(reference: object, *_more: object) -> None:
        asked.append(reference)
        raise BenchError("stop here")

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.runs.fetching.ensure", ensure)
    run = begun(tmp_path, CONFIG.replace("{random: tiny-llama}", model))
    with pytest.raises(UsageError, match=r"is not on this disk; .* give --fetch if you want it"):
        export(run, "one-layer", tmp_path / "out", silent)
    assert not asked
    with pytest.raises(BenchError, match="stop here"):
        export(run, "one-layer", tmp_path / "out", silent, may_fetch=True)
    assert len(asked) == 1


def test_a_ring_of_links_is_no_file_and_a_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "vocab.ring").symlink_to("vocab.ring")
    os.mkfifo(tmp_path / "tokenizer.fifo")
    assert [file.name for file in _tokenizer_files(tmp_path)] == ["tokenizer.json"]
    with (tmp_path / "vocab.bin").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(BenchError, match=r"vocab\.bin is larger than 64 MiB, so it is not copied"):
        _tokenizer_files(tmp_path)


def test_a_directory_of_further_templates_is_copied(tmp_path: Path) -> None:
    file = tmp_path / "additional_chat_templates" / "tool.jinja"
    file.parent.mkdir()
    file.write_text("{{ messages }}")
    assert _tokenizer_files(tmp_path) == [file]


def test_links_out_of_the_model_are_not_copied(tmp_path: Path) -> None:
    model, secret = tmp_path / "model", tmp_path / "secret"
    model.mkdir()
    secret.write_text("mine")
    (model / "tokenizer.json").write_text("{}")
    (model / "vocab.json").symlink_to("tokenizer.json")
    assert [file.name for file in _tokenizer_files(model)] == ["tokenizer.json", "vocab.json"]
    (model / "tokenizer_config.json").symlink_to(secret)
    with pytest.raises(BenchError, match=r"tokenizer_config\.json is a link out of the model's directory"):
        _tokenizer_files(model)


def test_links_of_the_hubs_own_cache_are_its_files(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123"
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/abc")
    assert [file.name for file in _tokenizer_files(snapshot)] == ["tokenizer.json"]


def test_nothing_is_written_through_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists already"):
        export(run, "one-layer", tmp_path / "out", silent)
