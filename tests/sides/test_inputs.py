"""Files that a config names: each side has those of its own commit, and what differs is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from proof import repositories

from bench import data_paths
from bench.config.inputs import digests, inputs_of
from bench.config.reader import read_config
from bench.config.spec import Optimisation, Place, Spec
from bench.data_paths import data_directories, standing_in
from bench.errors import ConfigError
from bench.gate.change_impact import reasons, same_row
from bench.measure.arm import models_of
from bench.models.fetch import ensure
from bench.models.reference import LocalPath, Named
from bench.report.gate import differences
from bench.sides.side import Asked, Side, Sides, sides_of_commits

MODELS = Path(__file__).parents[2] / "models"
DRAFT = {"optimise.speculate.model": {"files_sha256": "a"}}

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
MORE = "build: {install: [], inherit: tool}\n"


@pytest.fixture
def config(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose config names a text by a relative path; the test stands in it."""
    at = tmp_path / "repo"
    at.mkdir()
    repositories.git(at, "init", "--quiet")
    text = repositories.CONFIG.format(target="serve:answer", more=MORE)
    text = text.replace("drift: {tokens: 0}", "drift: {tokens: 0, text: data/words.txt}")
    text = text.replace("name: chat", "name: file, file: data/prompts.jsonl")
    repositories.commit(at, {
        "ci.yaml": text, "data/words.txt": "the words of the base",
        "data/prompts.jsonl": '{"prompt": "a"}\n' * 4,
        "serve.py": "def answer(prompt): return prompt\n",
    })  # fmt: skip
    repositories.git(at, "tag", "v1.0")
    monkeypatch.chdir(at)
    return at / "ci.yaml"


def sides(config: Path, tmp_path: Path) -> Sides:
    return sides_of_commits(Asked(config, tmp_path / "results"), "v1.0", "worktree", lambda text: None)


def test_each_side_reads_the_files_of_its_own_commit(config: Path, tmp_path: Path) -> None:
    (config.parent / "data" / "words.txt").write_text("the words of the candidate")
    found = sides(config, tmp_path)
    texts = [Path(side.spec.drift.text).read_text() for side in (found.base, found.candidate)]
    assert texts == ["the words of the base", "the words of the candidate"]
    for side in (found.base, found.candidate):
        assert all(one.path.is_relative_to(side.built.source) for one in inputs_of(side.spec))
        assert len(digests(side.spec)) == 2
    assert [(one.row, one.what) for one in found.inputs] == [("", "drift.text")]
    said = "\n".join(differences(found.to_json(), "old", "new"))
    assert "1 file: data/words.txt" in said
    assert "another file: drift.text" in said


def test_a_file_that_a_build_makes_differs_too(config: Path, tmp_path: Path) -> None:
    """Git does not know of it."""
    text = config.read_text().replace("data/prompts", "made/prompts")
    made = "mkdir -p made && for i in 1 2 3 4; do cat template >> made/prompts.jsonl; done"
    text = text.replace("install: []", f"install: [], commands: [{made!r}]")
    repositories.commit(config.parent, {"ci.yaml": text, "template": '{"prompt": "one"}\n', "made/.keep": ""})
    repositories.git(config.parent, "tag", "--force", "v1.0")
    repositories.commit(config.parent, {"template": '{"prompt": "two"}\n'})
    found = sides(config, tmp_path)
    assert [(one.row, one.what) for one in found.inputs] == [("baseline", "workload.file")]


def test_files_and_models_of_schemes_are_below_the_row_of_their_side(config: Path, tmp_path: Path) -> None:
    spec = read_config(config)

    def with_file(content: str) -> Spec:
        home = tmp_path / content
        home.mkdir()
        (home / "packed.gguf").write_text(content)
        (home / "mine.txt").write_text(content)
        (group,) = spec.groups
        steps = (
            Optimisation("quantise", "gguf-file", (("file", "packed.gguf"),)),
            Optimisation("distil", "logits", (("text", "mine.txt"),)),
            Optimisation("distil", "logits", (("text", "docstrings"),)),
        )
        arm = replace(group.baseline, optimise=steps, place=Place(str(home)))
        return replace(spec, groups=(replace(group, baseline=arm),))

    one = {(file.key, file.path.name) for file in inputs_of(with_file("one"))}
    assert one == {
        ("drift.text", "words.txt"), ("workload.file", "prompts.jsonl"),
        ("optimise.quantise.file", "packed.gguf"), ("optimise.distil.text", "mine.txt"),
    }  # fmt: skip
    assert digests(with_file("two")).keys() >= {str(tmp_path / "two" / "packed.gguf")}
    step = Optimisation("speculate", "draft-model", (("model", "weights/small"),))
    assert models_of(step, Place("/side")) == {"model": LocalPath(Path("/side/weights/small"))}
    assert models_of(step) == {"model": LocalPath(Path("weights/small"))}


def test_another_file_of_a_scheme_reaches_what_is_measured() -> None:
    from fakes import arm_record

    arms = [arm_record(name, group="r", prompts_digest="p") for name in ("base", "candidate")]
    nothing: dict[str, list[object]] = {"config": [], "packages": [], "files": []}
    changed = {"row": "r", "what": "optimise.quantise.file"}
    assert list(reasons({**nothing, "inputs": [changed]}, arms[0], arms[1])) == ["optimise.quantise.file"]
    for other in ({**changed, "row": "s"}, {"row": "", "what": "drift.text"}):
        assert list(reasons({**nothing, "inputs": [other]}, arms[0], arms[1])) == []


def test_pointers_of_git_lfs_are_named(config: Path, tmp_path: Path) -> None:
    at = config.parent
    repositories.git(at, "config", "filter.lfs.smudge", "cat")
    repositories.git(at, "config", "filter.lfs.clean", "cat")
    repositories.commit(
        at, {".gitattributes": "*.bin filter=lfs\n", "weights.bin": POINTER, "other.bin": "x"}
    )
    found = sides(config, tmp_path)
    assert found.pointers == ("weights.bin",)
    assert "not fetched by Git LFS: weights.bin; `git lfs pull` fetches them" in "\n".join(
        differences(found.to_json(), "old", "new")
    )


CARD = (MODELS / "tiny-llama.yaml").read_text()


@pytest.fixture
def carded(config: Path) -> Path:
    """The same repository with a model file of its own, which the config takes a shape of."""
    text = config.read_text().replace("model: smollm2-135m", "model: {random: tiny-llama}")
    text = text.replace('{name: callable, threads: 1, target: "serve:answer"}', "{name: numpy, threads: 1}")
    repositories.commit(config.parent, {"ci.yaml": text, "models/tiny-llama.yaml": CARD})
    repositories.git(config.parent, "tag", "--force", "v1.0")
    return config


def shape_of(side: Side) -> object:
    """The number of layers of the model that a side would load, wherever the harness stands then."""
    local = ensure(side.spec.groups[0].baseline.model)
    return json.loads((local.directory / "config.json").read_text())["num_hidden_layers"]


def test_each_side_has_the_model_files_of_its_own_commit(carded: Path, tmp_path: Path) -> None:
    """Both were read from the working tree, so a change of a model file was judged as no change."""
    card = carded.parent / "models" / "tiny-llama.yaml"
    layers = yaml.safe_load(CARD)["config"]["num_hidden_layers"]
    card.write_text(
        CARD.replace(f"num_hidden_layers: {layers}", f"num_hidden_layers: {layers + 1}")
        .replace(f"  layers: {layers}", f"  layers: {layers + 1}")
    )  # fmt: skip
    found = sides(carded, tmp_path)
    card.unlink()
    assert [shape_of(side) for side in (found.base, found.candidate)] == [layers, layers + 1]
    assert ("baseline", "model") in [(one.row, one.what) for one in found.inputs]
    assert "another file: model" in "\n".join(differences(found.to_json(), "old", "new"))


def test_a_tool_of_the_gated_repository_has_the_files_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a model file that only the working tree has would be the base's, too."""
    for top in ("repo", "checkout"):
        (tmp_path / top / "models").mkdir(parents=True)
        (tmp_path / top / "pyproject.toml").write_text("")
    monkeypatch.setattr(data_paths, "__file__", str(tmp_path / "repo" / "bench" / "data_paths.py"))
    monkeypatch.chdir(tmp_path)
    assert data_directories("models") == (tmp_path / "repo" / "models",)
    with standing_in(tmp_path / "checkout", tmp_path / "repo", tmp_path / "checkout"):
        assert data_directories("models") == (tmp_path / "checkout" / "models",)
    assert data_directories("models") == (tmp_path / "repo" / "models",)


def test_a_broken_model_file_is_named_as_the_commit_has_it(carded: Path, tmp_path: Path) -> None:
    place = carded.parent / "models" / "tiny-llama.yaml"
    place.write_text(place.read_text() + "nonsense: 1\n")
    said = r"ci\.yaml in the working tree .*: models/tiny-llama\.yaml:\d+: nonsense: unknown key"
    with pytest.raises(ConfigError, match=said):
        sides(carded, tmp_path)


def test_a_model_that_drafts_is_of_its_own_commit_too() -> None:
    place = Place("/side", models=(Path("/side/models"),))
    step = Optimisation("speculate", "draft-model", (("model", "smollm2-135m"),))
    assert models_of(step, place) == {"model": Named("smollm2-135m", (Path("/side/models"),))}


def test_another_model_reaches_what_is_measured() -> None:
    from fakes import arm_record

    nothing: dict[str, list[object]] = {"config": [], "packages": [], "files": []}

    def said(**more: object) -> list[str]:
        base = arm_record("base", group="r", prompts_digest="p", model={"files_sha256": "a"}, models=DRAFT)
        return list(reasons(nothing, base, replace(base, name="candidate", **more)))

    assert said() == []
    assert said(model={"files_sha256": "b"}) == ["the model's files"]
    assert said(models={"optimise.speculate.model": {"files_sha256": "b"}}) == [
        "the weights of optimise.speculate.model"
    ]
    base = arm_record("base", group="r", models=DRAFT)
    assert same_row(base, base)
    assert not same_row(base, replace(base, models={}))
