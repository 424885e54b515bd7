"""GGUF models in several files: read whole by llama.cpp, or refused with the name of the part."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.config.models import _sound_path
from bench.errors import Unsupported, UsageError
from bench.models import disk_cache
from bench.models.fetch import ensure
from bench.models.gguf_format import is_gguf
from bench.models.gguf_header import check_gguf, read_header
from bench.models.gguf_parts import check_model, check_parts, parts_of
from bench.models.reference import LocalPath
from bench.optimisations.quantise import gguf_file
from bench.runtimes._gguf import census
from bench.yaml_source import YamlSource

gguf = pytest.importorskip("gguf")


def write_part(path: Path, number: int, count: int, names: tuple[str, ...]) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    if count > 1:
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
    for name in names:
        writer.add_tensor(name, np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def split(to: Path, count: int = 3) -> list[Path]:
    """The first part holds no layer, as some are written."""
    parts = [to / f"m-{number + 1:05}-of-{count:05}.gguf" for number in range(count)]
    for number, part in enumerate(parts):
        write_part(part, number, count, (f"blk.{number}.a.weight",) if number else ("token_embd.weight",))
    return parts


def written(path: Path) -> Path:
    path.write_bytes(b"GGML")
    return path


def test_parts_are_named_by_each_of_them(tmp_path: Path) -> None:
    parts = split(tmp_path)
    assert [parts_of(part) for part in parts] == [tuple(parts)] * 3
    assert parts_of(tmp_path / "whole.gguf") == (tmp_path / "whole.gguf",)
    check_parts(parts[0])
    assert read_header(parts[2]).part == 3


def test_a_name_of_no_parts_is_that_of_a_whole_model(tmp_path: Path) -> None:
    """There was an IndexError for it, which `check` called a bug."""
    names = ("token_embd.weight", "blk.0.a.weight", "blk.1.a.weight")
    whole = write_part(tmp_path / "m-00000-of-00000.gguf", 0, 1, names)
    assert parts_of(whole) == (whole,)
    check_parts(whole)


def test_a_name_in_capitals_is_that_of_a_gguf_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    parts = [part.rename(part.with_suffix(".GGUF")) for part in split(tmp_path)]
    assert parts_of(parts[1]) == tuple(parts)
    check_parts(parts[0])
    assert is_gguf(parts[0])
    assert not is_gguf(tmp_path / "gguf")
    with pytest.raises(UsageError, match="is part 1 of 3 of a model"):
        _sound_path(YamlSource("x.yaml", {}, {}), parts[0], ("model",))
    with pytest.raises(UsageError, match=r"a\.GgUf: .*GGUF"):
        ensure(LocalPath(written(tmp_path / "a.GgUf")))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_part_is_no_model(tmp_path: Path, number: int) -> None:
    part = split(tmp_path)[number]
    with pytest.raises(UsageError, match=f"is part {number + 1} of 3 of a model, .* merge the parts"):
        check_model(part)


@pytest.mark.parametrize("check", [check_model, check_parts])
@pytest.mark.parametrize("gone", [1, 2])
def test_a_missing_part_is_named(tmp_path: Path, check: object, gone: int) -> None:
    parts = split(tmp_path)
    parts[gone].unlink()
    with pytest.raises(UsageError, match=f"one of 3 parts, and {parts[gone].name} is not beside it"):
        check(parts[0])  # type: ignore[operator]


def test_a_renamed_part_is_seen_by_its_header(tmp_path: Path) -> None:
    renamed = split(tmp_path)[0].rename(tmp_path / "model.gguf")
    with pytest.raises(UsageError, match="is part 1 of 3 of a model"):
        check_gguf(renamed)


def test_a_part_in_the_place_of_another(tmp_path: Path) -> None:
    parts = split(tmp_path)
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(UsageError, match=r"m-00002-of-00003\.gguf: says that it is part 3 of 3"):
        check_parts(parts[0])


def test_a_later_part_does_not_stand_for_the_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name the first of the 3 parts, m-00001-of-00003\.gguf"):
        gguf_file.check_settings(gguf_file.Params(str(split(tmp_path)[1])))


def test_the_census_is_of_all_parts(tmp_path: Path) -> None:
    found = census(split(tmp_path)[0], 3 * 64)
    assert {matrix.name for matrix in found.matrices} == {
        "token_embd.weight", "blk.1.a.weight", "blk.2.a.weight",
    }  # fmt: skip


def test_a_whole_file_without_tensors_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tensors"):
        check_gguf(write_part(tmp_path / "m.gguf", 0, 1, ()))


def test_a_file_beside_somebodys_own_weights_is_not_taken_for_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header was not checked, and no run noted which file it was."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))

    def build(to: Path) -> None:
        write_part(to / "m.gguf", 0, 1, ("blk.0.a.weight",))

    ours = disk_cache.fill("converted", build)
    assert gguf_file._own_file(ours) == ours / "m.gguf"
    theirs = shutil.copytree(ours, tmp_path / "theirs")
    with pytest.raises(Unsupported, match="did not come in one GGUF file: name it with file"):
        gguf_file._own_file(theirs)
