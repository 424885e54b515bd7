"""What a project declares, which commands install it, and which lock files nothing reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.settings import BuildBlock
from bench.errors import UsageError
from bench.sides.declared import pip_arguments, project_of, unread_locks, uses_uv

TOML = "[project]\nname = 'x'\nversion = '1'\n"
WORKSPACE = TOML + "[tool.uv.workspace]\nmembers = ['services/*']\n"
Files = dict[str, str]


def project(tmp_path: Path, files: Files) -> Path:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def block(**given: object) -> BuildBlock:
    return BuildBlock(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "given", "asked"),
    [
        ({}, {}, []),
        ({"pyproject.toml": "[tool.ruff]\n"}, {}, []),
        ({"pyproject.toml": TOML}, {}, [["."]]),
        ({"setup.py": ""}, {}, [["."]]),
        ({"requirements.txt": "a\n"}, {}, [["-r", "requirements.txt"]]),
        ({"requirements.txt": "a\n", "pyproject.toml": TOML}, {}, [["-r", "requirements.txt"], ["."]]),
        ({"requirements.txt": "a\n-e .\n", "pyproject.toml": TOML}, {}, [["-r", "requirements.txt"]]),
        ({"requirements.txt": ".[x]  # ours\n", "pyproject.toml": TOML}, {}, [["-r", "requirements.txt"]]),
        ({"requirements.txt": "./lib\n", "pyproject.toml": TOML}, {}, [["-r", "requirements.txt"], ["."]]),
        (
            {"requirements.txt": "a\n", "requirements.lock": "a==1\n", "pyproject.toml": TOML},
            {},
            [["-r", "requirements.lock"], ["."]],
        ),
        ({"uv.lock": "", "pyproject.toml": TOML}, {}, []),
        ({"uv.lock": "", "pyproject.toml": TOML}, {"tool": "pip"}, [["."]]),
        ({"uv.lock": "", "pyproject.toml": TOML}, {"install": ("-e", ".[x]")}, [["-e", ".[x]"]]),
        ({"pyproject.toml": TOML}, {"install": ()}, []),
    ],
)  # fmt: skip
def test_what_pip_installs(
    files: Files, given: dict[str, object], asked: list[list[str]], tmp_path: Path
) -> None:
    assert pip_arguments(project(tmp_path, files), tmp_path, block(**given)) == asked


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"uv.lock": "", "pyproject.toml": WORKSPACE, "services/a/pyproject.toml": TOML}, True),
        ({"uv.lock": "", "pyproject.toml": TOML, "services/a/pyproject.toml": TOML}, False),
        ({"uv.lock": "", "pyproject.toml": "[[", "services/a/pyproject.toml": TOML}, False),
        ({"uv.lock": "", "pyproject.toml": "tool = 3", "services/a/pyproject.toml": TOML}, False),
        ({"uv.lock": "", "pyproject.toml": "a = " + "9" * 5000, "services/a/pyproject.toml": TOML}, False),
        ({"uv.lock": "", "pyproject.toml": "a = " + "[" * 9000, "services/a/pyproject.toml": TOML}, False),
        ({"pyproject.toml": WORKSPACE, "services/a/pyproject.toml": TOML}, False),
        (
            {
                "uv.lock": "", "pyproject.toml": WORKSPACE, "services/a/pyproject.toml": TOML,
                "services/a/requirements.txt": "a\n",
            },
            False,
        ),
    ],
)  # fmt: skip
def test_a_member_of_a_workspace_is_installed_from_its_lock_file(
    files: Files, found: bool, tmp_path: Path
) -> None:
    """Its versions stand there; pip would install any that its own file allows."""
    member = project(tmp_path, files) / "services" / "a"
    assert uses_uv(member, tmp_path, block()) is found
    assert (pip_arguments(member, tmp_path, block()) == []) is found
    assert not uses_uv(member, tmp_path, block(tool="pip"))
    assert not uses_uv(member, member, block()), "what lies above the checkout is not the commit's"


def test_the_project_is_the_nearest_that_declares_something() -> None:
    files = {"requirements.txt", "a/pyproject.toml", "a/configs/ci.yaml", "b/ci.yaml"}
    assert project_of(files, Path("a/configs"), block()) == Path("a")
    assert project_of(files, Path("b"), block()) == Path()
    assert project_of(files, Path("b"), block(directory="a")) == Path("a")
    assert project_of({"b/ci.yaml"}, Path("b"), block()) == Path("b")


@pytest.mark.parametrize(
    ("more", "given", "unread"),
    [
        ({}, {}, True),
        ({"sub/requirements.txt": "a\n"}, {}, False),
        ({"sub/uv.lock": ""}, {}, False),
        ({}, {"commands": ("poetry export -o requirements.txt",)}, False),
        ({}, {"install": (".[serve]",)}, False),
    ],
)
@pytest.mark.parametrize("name", ["poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "environment.yml"])
def test_lock_files_of_other_tools_are_not_read(
    more: Files, given: dict[str, object], unread: bool, name: str, tmp_path: Path
) -> None:
    sub = project(tmp_path, {"sub/pyproject.toml": TOML, f"sub/{name}": "", **more}) / "sub"
    found = unread_locks(sub, [f"sub/{name}", name, "sub/serve.py"], tmp_path, block(**given))
    assert found == ([f"sub/{name}"] if unread else [])
    assert unread_locks(sub, ["sub/serve.py"], tmp_path, block(**given)) == [], "it is the same in both"


def test_uv_without_a_lock_file_is_not_pip(tmp_path: Path) -> None:
    """A user who asks for uv wants locked versions."""
    with pytest.raises(UsageError, match=r"build\.tool: uv .* this project has none"):
        uses_uv(project(tmp_path, {"pyproject.toml": TOML}), tmp_path, block(tool="uv"))
