"""What loaders open by its name beside the weights: tokenizers of all kinds, and further chat templates."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from small_model import refused, well

from bench.config.reader import read_config
from bench.errors import ConfigError, UsageError
from bench.models import files
from bench.models.fetch import ensure
from bench.models.reference import LocalPath

VOCABULARIES = ("spiece.model", "sentencepiece.bpe.model", "tiktoken.model", "bpe.codes", "source.spm")
TEMPLATE = f"{files.TEMPLATES}/tool.jinja"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / files.TEMPLATES).mkdir()
    return well(tmp_path)


def bound_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(os.path.relpath(place))  # a name of a socket has at most 107 letters


@pytest.mark.parametrize("name", [*VOCABULARIES, TEMPLATE])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a FIFO"),
        (lambda place: place.mkdir(), "is a directory"),
        (lambda place: place.symlink_to("/dev/zero"), "is a device"),
        (lambda place: place.symlink_to(place.name), "cannot be read"),
        (lambda place: place.symlink_to("nowhere"), "cannot be read"),
        (bound_socket, "is a socket"),
        (lambda place: place.symlink_to("/proc/self/pagemap"), "is a file of the kernel"),
    ],
    ids=["fifo", "directory", "device", "loop", "nothing", "socket", "kernel"],
)  # fmt: skip
def test_a_loader_would_wait_for_it(
    model: Path, name: str, make: Callable[[Path], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model)
    make(model / name)
    assert refused(model).startswith(f"{model / name}: {said}")


@pytest.mark.parametrize(("name", "most"), [("spiece.model", "64 MiB"), (TEMPLATE, "4 MiB")])
def test_how_large_it_may_be(model: Path, name: str, most: str) -> None:
    with (model / name).open("wb") as file:
        file.truncate(100 << 20)
    assert refused(model) == f"{model / name}: is larger than {most}"


def test_all_of_it_is_part_of_the_model(model: Path) -> None:
    """If it changes while a run goes on, the run must not be believed, so it has a digest, too."""
    for name in (*VOCABULARIES, TEMPLATE, "README.md"):
        (model / name).write_text("x")
    found = dict(ensure(LocalPath(model)).files)
    assert set(found) == {*VOCABULARIES, TEMPLATE, "config.json", "model.safetensors"}
    assert dict(ensure(LocalPath(model)).paths)[model / TEMPLATE] == found[TEMPLATE]


def test_more_files_than_a_model_has(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 5)
    for number in range(5):
        (model / f"{number}.json").touch()
    assert refused(model).endswith(": 7 files with the names of a model's: no model has so many")
    monkeypatch.setattr(files, "MOST_ENTRIES", 6)
    assert refused(model).endswith(": holds more than 6 files, so it is none of a model")


def test_many_large_files_are_not_all_read(model: Path) -> None:
    """Holes cost nothing, and 5,000 such files took hours to be noted."""
    for number in range(17):
        with (model / f"{number}.txt").open("wb") as file:
            file.truncate(63 << 20)
    said = "the files beside the weights have 1071 MiB together, more than 1024 MiB, which no model has"
    assert refused(model) == f"{model}: {said}"


def test_a_directory_that_nobody_may_list(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_directory: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "scandir", forbidden)
    assert refused(model) == f"{model}: cannot be read (Permission denied)"


@pytest.mark.parametrize("name", [b"a\n::error::b.json", b"\xff.safetensors", b"\x1b[31m.txt"])
def test_a_name_that_cannot_be_printed(model: Path, name: bytes) -> None:
    """The digest of the files could not be made of half a letter, and a message would have had two lines."""
    (model / os.fsdecode(name)).touch()
    assert refused(model) == f"{model}: the name {os.fsdecode(name)!a} cannot be printed"


def test_what_is_refused_is_said_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f'model: {{path: "{tmp_path}/a\\nb.gguf"}}\nprice: {{usd_per_hour: 1}}\n')
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_config(config)
    assert "\n" not in str(caught.value)


def test_a_file_that_has_gone_since_it_was_looked_at(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.fetch.check_directory", lambda place: (place / "config.json").unlink())
    monkeypatch.setattr("bench.models.fetch.model_files", lambda place: [place / "config.json"])
    with pytest.raises(UsageError, match=r"config\.json: cannot be read \(No such file or directory\)"):
        ensure(LocalPath(model))
