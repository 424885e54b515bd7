"""Small real repositories for the proof of a gate on commits, and the changes that are made to them.

Every repository answers requests by ``mypkg.serve:answer`` (or ``serve:answer`` where there is no package).
Its work grows with a constant of the dependency ``helperlib``, with the length of a template file and with
``output_tokens``, so that each kind of change makes it three times slower. No index is needed: dependencies
are wheels made here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVE = """from pathlib import Path

import helperlib

TEMPLATE = (Path(__file__).parent / "template.txt").read_text()
WORK = 2000


def answer(prompt, longest):
    steps = WORK * helperlib.FACTOR * longest * len(TEMPLATE) // 20
    return str(sum(i * i % 7 for i in range(steps)))
"""
TEMPLATE = "Answer in one word.\n"
CONFIG = """name: mine
model: smollm2-135m
runtime: {{name: callable, threads: 1, target: "{target}"}}
workload: {{name: chat, requests: 4, output_tokens: 8, warmup: 1}}
price: {{usd_per_hour: 1.0}}
drift: {{tokens: 0}}
gate:
  cost_per_request_usd: {{max_increase: 5%}}
{more}"""
SETUPTOOLS = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
"""
PROJECT = """[project]
name = "mypkg"
version = "1.0"
dependencies = ["helperlib=={helper}"]
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t",
    "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
}  # fmt: skip
Files = Mapping[str, str]


def git(at: Path, *arguments: str) -> str:
    """Run git in a repository and return what it prints."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | IDENTITY
    command = [
        "git",
        "-C",
        str(at),
        "-c",
        "protocol.file.allow=always",
        "-c",
        "init.defaultBranch=main",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=known).stdout


def commit(at: Path, files: Files) -> None:
    """Write files and commit everything."""
    for name, text in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(at, "add", "--all")
    git(at, "commit", "--quiet", "--allow-empty", "-m", "a change")


def wheel(to: Path, name: str, version: str, text: str) -> None:
    """Write a wheel of one module."""
    about = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": text,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: proof\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(body)},{len(body.encode())}\n" for path, body in content.items())
    with zipfile.ZipFile(to / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, body in {**content, f"{about}/RECORD": f"{record}{about}/RECORD,,\n"}.items():
            file.writestr(path, body)


def _digest(text: str) -> str:
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def wheelhouse(to: Path) -> Path:
    """Make the wheels that the repositories depend on."""
    to.mkdir(parents=True, exist_ok=True)
    wheel(to, "helperlib", "1.0", "FACTOR = 1\n")
    wheel(to, "helperlib", "2.0", "FACTOR = 3\n")
    wheel(to, "addedlib", "1.0", "FACTOR = 3\n")
    return to


@dataclass(frozen=True)
class Kind:
    """A kind of repository. ``home``: where the config is. ``code``: where the served module is."""

    files: Callable[[str, str], Files]  # of the version of helperlib and of further requirements
    home: str = ""
    code: str = "mypkg/"
    target: str = "mypkg.serve:answer"
    more: str = ""
    finish: Callable[[Path], None] = lambda at: None
    changes: tuple[str, ...] = ("config", "dependency", "added", "source", "template", "docs", "nothing")
    extra: Files = field(default_factory=dict)

    def content(self, helper: str = "1.0", added: str = "", output: int = 8) -> dict[str, str]:
        """Return every file of the repository."""
        config = CONFIG.format(target=self.target, more=self.more).replace(
            "output_tokens: 8", f"output_tokens: {output}"
        )
        return {
            f"{self.home}ci.yaml": config,
            f"{self.home}{self.code}serve.py": SERVE.replace(
                "import helperlib", f"import helperlib{added and ', addedlib'}"
            ),
            f"{self.home}{self.code}template.txt": TEMPLATE,
            "README.md": "words\n",
            **self.files(helper, added),
            **self.extra,
        }


def _plain(helper: str, added: str) -> Files:
    return {"helperlib.py": "FACTOR = 1\n"}


def _listed(helper: str, added: str) -> Files:
    return {"requirements.txt": f"helperlib=={helper}\n{added}\n"}


def _package(where: str, backend: str = SETUPTOOLS, more: str = "") -> Callable[[str, str], Files]:
    def files(helper: str, added: str) -> Files:
        project = PROJECT.format(helper=helper)
        if added:
            project = project.replace('"]', f'", "{added}"]')
        return {"pyproject.toml": backend + project + more, f"{where}mypkg/__init__.py": ""}

    return files


DATA = '[tool.setuptools.package-data]\nmypkg = ["*.txt"]\n'
FLAT = '[tool.setuptools]\npackages = ["mypkg"]\n' + DATA
SRC = '[tool.setuptools]\npackages = ["mypkg"]\npackage-dir = {"" = "src"}\n' + DATA
HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
SCM = '[build-system]\nrequires = ["setuptools", "setuptools-scm"]\nbuild-backend = "setuptools.build_meta"\n'
ALL = "build: {inherit: all}\n"


def _scm(helper: str, added: str) -> Files:
    found = dict(
        _package("src/", SCM, SRC + '[tool.setuptools_scm]\nversion_file = "src/mypkg/_version.py"\n')(
            helper, added
        )
    )
    found["pyproject.toml"] = found["pyproject.toml"].replace('version = "1.0"', 'dynamic = ["version"]')
    return {**found, ".gitignore": "src/mypkg/_version.py\n"}


def _monorepo(helper: str, added: str) -> Files:
    ours = {
        f"services/a/{name}": text for name, text in _package("", SETUPTOOLS, FLAT)(helper, added).items()
    }
    return {
        **ours,
        "services/b/pyproject.toml": SETUPTOOLS + PROJECT.format(helper="1.0").replace("mypkg", "other"),
    }


def _locked(helper: str, added: str) -> Files:
    loose = _package("", SETUPTOOLS, FLAT)("1.0", "")["pyproject.toml"].replace(
        '["helperlib==1.0"]', '["helperlib"]'
    )
    return {
        "pyproject.toml": loose,
        "mypkg/__init__.py": "",
        "requirements.lock": f"helperlib=={helper}\n{added}\n",
    }


def _local(helper: str, added: str) -> Files:
    """helperlib is a package in the repository itself."""
    about = (
        SETUPTOOLS
        + f'[project]\nname = "helperlib"\nversion = "{helper}"\n'
        + '[tool.setuptools]\npy-modules = ["helperlib"]\n'
    )
    factor = 1 if helper == "1.0" else 3
    loose = _package("", SETUPTOOLS, FLAT)("1.0", "")["pyproject.toml"].replace(
        '["helperlib==1.0"]', '["helperlib"]'
    )
    return {
        "pyproject.toml": loose, "mypkg/__init__.py": "", "requirements.txt": f"./lib\n{added}\n",
        "lib/pyproject.toml": about, "lib/helperlib.py": f"FACTOR = {factor}\n",
    }  # fmt: skip


def _editable(helper: str, added: str) -> Files:
    return {**_package("src/", SETUPTOOLS, SRC)(helper, ""), "requirements.txt": f"-e .\n{added}\n"}


def _uv(helper: str, added: str) -> Files:
    project = PROJECT.format(helper=helper).replace("[project]", '[project]\nrequires-python = ">=3.11"')
    if added:
        project = project.replace('"]', f'", "{added}"]')
    return {"pyproject.toml": project + "[tool.uv]\npackage = false\n"}


def _lock(at: Path) -> None:
    """Write uv.lock, from the wheels alone."""
    subprocess.run(
        [shutil.which("uv") or "uv", "lock", "--quiet", "--offline"], cwd=at, check=True, capture_output=True,
    )  # fmt: skip


def _submodule(at: Path) -> None:
    """helperlib is a submodule at vendor/."""
    theirs = at.parent / f"{at.name}-vendor"
    if not theirs.exists():
        theirs.mkdir()
        git(theirs, "init", "--quiet")
        commit(theirs, {"helperlib.py": "FACTOR = 1\n"})
        git(at, "submodule", "--quiet", "add", str(theirs), "vendor")


BESIDE = {"code": "", "target": "serve:answer"}
VENDORED = SERVE.replace(
    "import helperlib",
    'import sys\nsys.path.insert(0, str(Path(__file__).parent / "vendor"))\nimport helperlib',
)
KINDS = {
    "no-package": Kind(_plain, **BESIDE, changes=("config", "source", "template", "docs", "nothing")),
    "requirements": Kind(_listed, **BESIDE),
    "setuptools": Kind(_package("", SETUPTOOLS, FLAT)),
    "src-layout": Kind(_package("src/", SETUPTOOLS, SRC), code="src/mypkg/"),
    "hatch": Kind(_package("src/", HATCH), code="src/mypkg/", more=ALL),
    "setuptools-scm": Kind(_scm, code="src/mypkg/", more=ALL),
    "monorepo": Kind(_monorepo, home="services/a/"),
    "submodule": Kind(
        lambda helper, added: {}, **BESIDE, finish=_submodule, extra={"serve.py": VENDORED},
        changes=("config", "dependency", "source", "template", "docs", "nothing"),
    ),
    "lock-file": Kind(_locked),
    "local-path": Kind(_local),
    "editable": Kind(_editable, code="src/mypkg/"),
    "uv": Kind(_uv, **BESIDE, finish=_lock),
}  # fmt: skip
EXPECTED = {"docs": "UNREACHED", "nothing": "UNREACHED", "comment": "PASS"}  # and FAIL for every other change
HEAVY = 200_000  # work of a request of some 40 ms, for changes of 3 %


def make(kind: str, at: Path, heavy: bool = False) -> Path:
    """Make a repository of this kind with the tag v1.0; return the path of its config. With ``heavy`` a
    request takes some 40 ms, and the limit is 3 %."""
    at.mkdir(parents=True)
    git(at, "init", "--quiet")
    one = KINDS[kind]
    commit(at, one.content())
    one.finish(at)
    commit(at, {})
    if heavy:
        served, config = at / one.home / one.code / "serve.py", at / one.home / "ci.yaml"
        work, limit = served.read_text(), config.read_text()
        commit(at, {
            str(served.relative_to(at)): work.replace("WORK = 2000", f"WORK = {HEAVY}"),
            str(config.relative_to(at)): limit.replace("max_increase: 5%", "max_increase: 3%").replace(
                "requests: 4", "requests: 8"
            ),
        })  # fmt: skip
    git(at, "tag", "v1.0")
    return at / one.home / "ci.yaml"


def change(kind: str, what: str, at: Path) -> None:
    """Commit a change of this kind."""
    one = KINDS[kind]
    served = f"{one.home}{one.code}"
    if what == "config":
        commit(at, {f"{one.home}ci.yaml": one.content(output=24)[f"{one.home}ci.yaml"]})
    elif what == "dependency" and kind == "submodule":
        commit(at / "vendor", {"helperlib.py": "FACTOR = 3\n"})
        commit(at, {})
    elif what == "dependency":
        commit(at, one.content(helper="2.0"))
        one.finish(at)
        commit(at, {})
    elif what == "added":
        commit(at, {**one.content(added="addedlib==1.0"), f"{served}serve.py": _with_added(one, served)})
        one.finish(at)
        commit(at, {})
    elif what == "source":
        text = (at / served / "serve.py").read_text()
        commit(at, {f"{served}serve.py": text.replace("WORK = 2000", "WORK = 6000")})
    elif what == "comment":
        commit(at, {f"{served}serve.py": (at / served / "serve.py").read_text() + "# nothing else\n"})
    elif what == "three-percent":
        text = (at / served / "serve.py").read_text()
        commit(at, {f"{served}serve.py": text.replace(f"WORK = {HEAVY}", f"WORK = {round(1.03 * HEAVY)}")})
    elif what == "template":
        commit(at, {f"{served}template.txt": 3 * TEMPLATE})
    elif what == "docs":
        commit(at, {"README.md": "other words\n"})
    else:
        commit(at, {})


def _with_added(one: Kind, served: str) -> str:
    text = one.content(added="addedlib==1.0")[f"{served}serve.py"]
    return text.replace("helperlib.FACTOR", "helperlib.FACTOR * addedlib.FACTOR")
