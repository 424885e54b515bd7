"""The least versions of packages in which known holes are closed, and packages that are not depended on."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bench.serving.engines import vllm

ROOT = Path(__file__).resolve().parents[1]
# Package, the first version without the hole, and the hole.
CLOSED = [
    ("jinja2", "3.1.6", "CVE-2024-56326 and CVE-2025-27516: ways out of the sandbox of templates"),
    ("torch", "2.10.0", "CVE-2025-32434 and CVE-2026-24747: weights_only was not enough"),
    ("transformers", "5.3.0", "CVE-2026-4372 and others: code named by a model's config"),
    ("filelock", "3.20.1", "CVE-2025-68146: a lock that follows a link"),
    ("pyyaml", "5.4", "CVE-2020-14343: code in a full load"),
]
NEVER = {"litellm", "dill", "cloudpickle", "joblib", "mlflow", "hydra-core"}


def stated() -> dict[str, Requirement]:
    """Every requirement of the package, those of its extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for some in project["optional-dependencies"].values() for one in some]
    found = [Requirement(text) for text in (*project["dependencies"], *extras)]
    return {canonicalize_name(one.name): one for one in found}


def below(version: str) -> str:
    """A version just below this one."""
    *first, last = Version(version).release
    return (
        ".".join(map(str, (*first, last - 1)))
        if last
        else ".".join(map(str, (*first[:-1], first[-1] - 1, 999)))
    )


@pytest.mark.parametrize(("name", "least", "hole"), CLOSED, ids=[name for name, *_ in CLOSED])
def test_no_version_with_a_known_hole_is_allowed(name: str, least: str, hole: str) -> None:
    assert below(least) not in stated()[name].specifier, hole


@pytest.mark.parametrize(("name", "least", "hole"), CLOSED, ids=[name for name, *_ in CLOSED])
def test_what_is_installed_here_has_it_closed(name: str, least: str, hole: str) -> None:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert Version(version) >= Version(least), hole


def test_the_server_that_is_installed_for_you_has_it_closed() -> None:
    """CVE-2026-22807 and CVE-2026-27893: code of a model in vLLM."""
    assert Version(vllm.VERSION) >= Version("0.18.0")


def test_what_runs_code_from_files_is_no_dependency() -> None:
    """Packages that unpickle caches, or that have carried stolen keys away."""
    assert NEVER & stated().keys() == set()


def test_every_requirement_has_a_least_version() -> None:
    loose = [name for name, one in stated().items() if not str(one.specifier).startswith((">=", "=="))]
    typing_only = {"types-pyyaml", "types-psutil"}
    own = {"inference-cost-bench"}
    assert set(loose) <= typing_only | own
