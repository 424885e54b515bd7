"""Weights in several files: which of them are the model, and what is refused because nobody could know."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from ggufs import gguf
from small_model import SIZED, refused, shard

from bench.errors import UsageError
from bench.models.checks import check_directory
from bench.models.fetch import ensure
from bench.models.gguf_header import check_gguf
from bench.models.reference import LocalPath
from bench.models.safetensors_header import safetensors_header
from bench.models.weight_files import INDEX, WHOLE, weight_files

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write(file: Path, *names: str) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    file.write_bytes(shard(dict.fromkeys(names, empty)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}')
    write(tmp_path / ONE, "a", "b")
    write(tmp_path / TWO, "c")
    index(tmp_path, {"a": ONE, "b": ONE, "c": TWO})
    check_directory(tmp_path)
    return tmp_path


def index(model: Path, weight_map: Any, **more: Any) -> None:
    (model / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map, **more}))


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a": ONE, "b": ONE, "c": TWO, "d": TWO}, "d is in none of the files that it names"),
        ({"a": ONE, "b": ONE, "x": TWO, "y": TWO}, "x and 1 more are in none of the files that it names"),
        ({"a": f"../{ONE}"}, f"the index names ../{ONE}, which is not there"),
        ({"a": "/etc/passwd"}, "the index names /etc/passwd, which is not there"),
        ({"a": "two\n::error::lines"}, "which is not there"),
        ({}, "weight_map does not give a file for each tensor"),
    ],
)
def test_an_index_that_does_not_fit_the_files(model: Path, weight_map: dict[str, str], said: str) -> None:
    index(model, weight_map)
    assert said in refused(model)


@pytest.mark.parametrize("metadata", [None, [], 5, "x"])
def test_an_index_without_its_metadata(model: Path, metadata: Any) -> None:
    """A loader asks for it, and said KeyError."""
    index(model, {"a": ONE, "b": ONE, "c": TWO}, metadata=metadata)
    assert f"{INDEX}: metadata is not a block" in refused(model)


def test_a_tensor_that_two_files_hold(model: Path) -> None:
    write(model / TWO, "c", "a")
    assert f"a is in {ONE} and in {TWO}: remove one of these files" in refused(model)
    (model / INDEX).unlink()
    assert f"a is in {ONE} and in {TWO}" in refused(model)


def test_files_that_belong_to_no_model_may_hold_what_they_like(model: Path) -> None:
    """A checkpoint in another format often lies beside the one that is loaded."""
    write(model / "consolidated.safetensors", "a", "c")
    check_directory(model)
    assert [file.name for file in weight_files(model)] == [ONE, TWO]
    write(model / WHOLE, "a", "b", "c")
    check_directory(model)
    assert [file.name for file in weight_files(model)] == [WHOLE]


@pytest.mark.parametrize("content", ["lost", "none"])
def test_nobody_reads_an_index_beside_a_whole_file(model: Path, content: str) -> None:
    """transformers loads the whole file, and so do the engines here; the digest is that of what is loaded."""
    write(model / WHOLE, "a", "b", "c")
    index(model, {"a": "lost.safetensors"})
    if content == "none":
        (model / INDEX).write_text("no JSON")
    found = ensure(LocalPath(model))
    assert found.source.weights_sha256 == dict(found.files)[WHOLE]
    (model / WHOLE).unlink()
    assert "which is not there" in refused(model) or "JSON" in refused(model)


def test_files_that_no_loader_reads_are_in_no_digest_and_no_check(model: Path) -> None:
    digest = ensure(LocalPath(model)).source.weights_sha256
    packed = {"q.weight": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}
    (model / "other.safetensors").write_bytes(shard(packed))
    assert ensure(LocalPath(model)).source.weights_sha256 == digest


def test_without_an_index_all_files_are_the_model(model: Path) -> None:
    (model / INDEX).unlink()
    check_directory(model)
    assert [file.name for file in weight_files(model)] == [ONE, TWO]


def test_many_long_headers_are_not_read(model: Path) -> None:
    """Six files of 20 MiB, one after the other, took ten seconds and a gigabyte."""
    for number in range(6):
        with (model / f"more-{number}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", 20 << 20))
            file.truncate((20 << 20) + 8)
    began = time.monotonic()
    assert "the headers of 8 safetensors files have more than 32 MiB together" in refused(model)
    assert time.monotonic() - began < 1


def test_an_index_that_works_although_it_is_old(model: Path) -> None:
    """Loaders take the files that it names, whole; who packs weights may leave the index as it was."""
    index(model, {"a": TWO, "b": ONE, "c": TWO})
    check_directory(model)
    index(model, {"a": ONE, "b.weight": ONE, "c": TWO})
    assert "b.weight is in none of the files" in refused(model)
    (model / "config.json").write_text(
        json.dumps({**SIZED, "quantization_config": {"quant_method": "quanto"}})
    )
    check_directory(model)


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_weights_that_are_not_on_the_disk(tmp_path: Path, name: str) -> None:
    entry = {"w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    header = json.dumps(entry).encode()
    start = struct.pack("<Q", len(header)) + header if "safe" in name else gguf(size=2**38, data=0)
    (tmp_path / name).write_bytes(start)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(len(start) + 2**40)
    with pytest.raises(UsageError, match=rf"{name}: is 1048576 MiB long, and 0 of them are on the disk"):
        (safetensors_header if "safe" in name else check_gguf)(tmp_path / name)
