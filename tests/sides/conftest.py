"""A small repository and the environment of its first commit, which every gate on its commits needs."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest
from byte_tokenizer import write_tokenizer
from fakes import fake_model
from proof import repositories

from bench.models.disk_cache import cache_root
from bench.sides import layer


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tool's packages are linked, once for the caches of all tests."""
    return tmp_path_factory.mktemp("layers")


@pytest.fixture
def cache(layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, in which no side is built yet."""
    place = tmp_path / "cache"
    place.mkdir()
    (place / "models").symlink_to(cache_root() / "models")
    (place / "layers").symlink_to(layers)
    monkeypatch.setenv("BENCH_CACHE", str(place))
    return place


@pytest.fixture(scope="session")
def config_of_toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The config of the repositories with a model that is read in no time: only its tokenizer counts."""
    toy = fake_model(tmp_path_factory.mktemp("toy"))
    write_tokenizer(toy)
    return repositories.CONFIG.replace("smollm2-135m", f"{{{{path: {toy}}}}}")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, layers: Path, config_of_toy: str) -> Path:
    """Wheels, a repository with requirements.txt, and a cache that keeps the side of its tag v1.0 once it is
    built. A candidate is built by the test that makes it: it is another commit."""
    place = tmp_path_factory.mktemp("prepared")
    repositories.wheelhouse(place / "wheels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repositories, "CONFIG", config_of_toy)
        repositories.make("requirements", place / "repo")
    (place / "cache").mkdir()
    (place / "cache" / "models").symlink_to(cache_root() / "models")
    (place / "cache" / "layers").symlink_to(layers)
    return place


@pytest.fixture
def one_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a side is the one package that its worker needs, not the two hundred through which pip would look
    for each side. ``test_build.py`` tests all of them."""
    monkeypatch.setattr(layer, "_closure", lambda: {"tokenizers": distribution("tokenizers")})


@pytest.fixture
def repository(
    prepared: Path, config_of_toy: str, one_package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The config of a copy of that repository; the test stands in it."""
    monkeypatch.setattr(repositories, "CONFIG", config_of_toy)
    monkeypatch.setenv("BENCH_CACHE", str(prepared / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(prepared / "wheels"))
    at = shutil.copytree(prepared / "repo", tmp_path / "repo")
    monkeypatch.chdir(at)
    return at / "ci.yaml"
