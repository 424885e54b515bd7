"""Every tutorial of docs/extending: its code becomes a package of somebody else, and the tool uses it."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import transformers
import yaml
from byte_tokenizer import write_tokenizer
from engines import saved, sizes
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "extending"
BLOCK = re.compile(r'```(\w+) title="([^"]+)"\n(.*?)```', re.DOTALL)


def blocks(page: str) -> dict[str, str]:
    """The titled code blocks of a page, by their file names."""
    return {title: body for _language, title, body in BLOCK.findall((PAGES / f"{page}.md").read_text())}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Environment:
    """An interpreter that sees our packages, and the package of the given tutorials."""

    def __init__(self, at: Path, *pages: str) -> None:
        self.at = at
        venv.create(at / "env", with_pip=False, symlinks=True)
        self.python = at / "env" / "bin" / "python"
        hers = at / "hers"
        points = []
        for page in pages:
            for title, body in blocks(page).items():
                if title == "pyproject.toml":
                    points.append(
                        re.sub(r'\[project\.entry-points\."(.*)"\]', r"[\1]", body).replace('"', "")
                    )
                elif title.startswith("her_"):
                    write(hers / title, body)
                    (hers / title).parent.joinpath("__init__.py").touch()
                else:
                    write(at / title, body)
        information = hers / "her_package-1.0.dist-info"
        write(information / "METADATA", "Metadata-Version: 2.1\nName: her-package\nVersion: 1.0\n")
        write(information / "entry_points.txt", "\n".join(points))
        places = [str(ROOT), str(hers), *site.getsitepackages(), sysconfig.get_path("purelib")]
        purelib = (
            at / "env" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        )
        (purelib / "ours.pth").write_text("\n".join(dict.fromkeys(places)) + "\n")

    def bench(self, *arguments: str) -> str:
        """Run a command that must succeed; what it prints."""
        done = self._bench(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refusal(self, config: str) -> str:
        """Check a config that must be refused; what is said about it."""
        done = self._bench("check", config)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    def _bench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), "-m", "bench", *arguments],
            cwd=self.at, capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """``run.json`` of a config, the tutorial's own if none is given."""
        file = self.at / "config.yaml"
        if config is not None:
            file.write_text(yaml.safe_dump(config))
        more = ("--set", "measure.max_disturbance=1")  # tests share the machine
        found: dict[str, Any] = json.loads(self.bench("run", str(file), *more, "--json", "--quiet"))
        assert found["status"] == "ok", found["reasons"]
        return found


def test_each_page_is_tested_here_and_each_kind_has_a_page() -> None:
    tested = {
        "scheme",
        "verb",
        "engine",
        "metric",
        "probe",
        "statistic",
        "suite",
        "workload",
        "text",
        "report",
        "price",
    }
    assert {page.stem for page in PAGES.glob("*.md")} == {*tested, "index"}
    assert set(re.findall(r"\]\((\w+)\.md\)", (PAGES / "index.md").read_text())) == tested


def test_a_scheme_and_a_verb(tmp_path: Path) -> None:
    """The steps of both pages in one row: their baseline is the same, and each has evidence of its own."""
    hers = Environment(tmp_path, "scheme", "verb")
    assert "Three values for each row" in hers.bench("list", "optimisations", "ternary")
    assert "share: neighbours" in hers.bench("list", "optimisations")
    config, other = (yaml.safe_load(blocks(page)["config.yaml"]) for page in ("scheme", "verb"))
    other["variants"][0]["optimise"] = [{"sharing": "neighbours"}]
    assert config | {"variants": other["variants"]} == other
    config["variants"][0]["optimise"][:0] = other["variants"][0]["optimise"]
    base, row = hers.run(config)["variants"]
    assert row["optimisations"] == ["share neighbours", "quantise ternary (threshold=0.5)"]
    steps = row["evidence"]["steps"][1:]
    assert [step["step"] for step in steps] == ["share: neighbours", "quantise: ternary"]
    assert [[check["holds"] for check in step["checks"]] for step in steps] == [[True], [True]]
    assert row["metrics"]["weights_bytes"]["value"] < base["metrics"]["weights_bytes"]["value"]
    config["variants"][0]["optimise"][1]["threshold"] = 3
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(config))
    assert "threshold must be 0 or more and below 2" in hers.refusal("wrong.yaml")


def test_an_engine(tmp_path: Path) -> None:
    hers = Environment(tmp_path, "engine")
    rows = hers.run()["variants"]
    assert [row["facts"]["engine"] for row in rows] == ["counting 1", "counting 1"]


def toy(path: Path, sparsity: float = 0.0) -> Path:
    """A model of two layers with random weights and a tokenizer, in which all is found that is looked for.
    In each matrix this share of the weights is zero, the smallest ones."""
    write_tokenizer(saved(transformers.LlamaConfig(**sizes(96)), path))
    weights = load_file(path / "model.safetensors")
    for one in weights.values():
        if one.dim() == 2:
            one[one.abs() < one.abs().quantile(sparsity)] = 0
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    return path


def test_what_a_run_finds_and_how_it_is_shown(tmp_path: Path) -> None:
    """A metric, a probe, a statistic, a suite, a workload, a text, a report and a price in one run. None of
    them asks which engine it is, so it is one whose workers start in no time."""
    hers = Environment(
        tmp_path, "metric", "probe", "statistic", "suite", "workload", "text", "report", "price"
    )
    kinds = hers.bench("list", "metrics,probes,drift,workloads,texts,prices")
    for name in (
        "jitter_ms",
        "threads-alive",
        "statistics: top5",
        "suites: first-word",
        "suites: geography",
        "sums",
        "zen",
        "her-box",
    ):
        assert name in kinds
    found = hers.run(
        {
            "name": "everything",
            "model": {"path": str(toy(tmp_path / "toy"))},
            "runtime": {"name": "numpy", "threads": 1},
            "workload": {"name": "sums", "largest": 50, "requests": 2, "output_tokens": 4, "warmup": 1},
            "variants": [{"name": "half", "model": {"path": str(toy(tmp_path / "half", 0.5))}}],
            "price": {"hardware": "her-box"},
            "drift": {
                "text": "zen",
                "tokens": 512,
                "window": 64,
                "statistics": ["top5"],
                "suites": ["first-word", "geography"],
            },
            "measure": {"processes": 1, "max_rounds": 1, "probes": ["threads-alive"]},
        }
    )
    base, row = found["variants"]
    assert base["workload"]["largest"] == 50
    assert base["metrics"]["jitter_ms"]["value"] > 0
    assert base["metrics"]["threads_alive"]["value"] >= 1
    assert 0 < row["drift"]["top5_overlap"]["value"] < 1
    assert base["drift"]["top5_overlap"] is None
    assert row["metrics"]["same_first_token"]["value"] in (0.0, 0.5, 1.0)
    assert base["metrics"]["geography_accuracy"]["n"] == row["metrics"]["geography_change"]["n"] == 1
    assert found["text"]["name"] == "zen"
    assert found["price"]["usd_per_hour"] == 0.08
    (directory,) = (tmp_path / "results").iterdir()
    said = hers.bench("report", str(directory), "--format", "one-line").splitlines()
    assert said[0] == "baseline: the baseline"
    assert said[1].startswith("half: ")
    assert "figure by figure" in hers.bench("verify", str(directory))


def test_a_name_of_ours_stays_ours(tmp_path: Path) -> None:
    hers = Environment(tmp_path, "scheme")
    points = tmp_path / "hers" / "her_package-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("ternary =", "hqq ="))
    assert "Three values" not in hers.bench("list", "optimisations", "hqq")


def test_a_plug_in_that_cannot_be_imported_is_said(tmp_path: Path) -> None:
    hers = Environment(tmp_path, "scheme")
    (tmp_path / "hers" / "her_package" / "ternary.py").write_text("import a_package_that_nobody_has\n")
    said = hers.refusal("config.yaml")
    assert "ternary cannot be imported from her_package.ternary: No module named" in said


def test_a_plug_in_that_exits_does_not_end_the_command(tmp_path: Path) -> None:
    """A gate would be green: exit code 0 is PASS."""
    hers = Environment(tmp_path, "scheme")
    (tmp_path / "hers" / "her_package" / "ternary.py").write_text("import sys\nsys.exit(0)\n")
    said = hers.refusal("config.yaml")
    assert "ternary cannot be imported from her_package.ternary: it ends the program (SystemExit(0))" in said


def test_a_verb_that_exits_does_not_end_the_command(tmp_path: Path) -> None:
    hers = Environment(tmp_path, "verb")
    for file in (tmp_path / "hers").rglob("__init__.py"):
        file.write_text("import sys\nsys.exit(0)\n")
    assert "cannot be imported" in hers.refusal("config.yaml")


def test_the_code_of_the_pages_is_formatted_and_typed_like_ours(tmp_path: Path) -> None:
    packages: set[str] = set()
    for page in PAGES.glob("*.md"):
        for title, body in blocks(page.stem).items():
            if title.endswith(".py"):
                write(tmp_path / title, body)
                (tmp_path / title).parent.joinpath("__init__.py").touch()
                packages.add(title.partition("/")[0])
    ours = str(ROOT / "pyproject.toml")
    for command in (
        ["ruff", "format", "--check", "--config", ours, "."],
        ["ruff", "check", "--config", ours, "."],
        ["mypy", "--config-file", ours, *(f"--package={name}" for name in sorted(packages))],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "MYPYPATH": f"{ROOT}:{tmp_path}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
