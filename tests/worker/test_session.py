"""What a worker hides from its engine while it loads: packages that no step and no checkpoint needs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from engines import told

from bench.engine import Options, Teacher
from bench.engine.evidence import check
from bench.errors import NotApplied
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.quantise import hqq, kv_hqq
from bench.runtimes import transformers as runtime
from bench.worker import session, steps

ABSENT = "a_package_that_nobody_has"


def test_what_is_hidden_cannot_be_imported_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lies_here.py").write_text("found = True")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    with session._hidden({"lies_here", ABSENT}):
        with pytest.raises(ModuleNotFoundError, match="lies_here"):
            importlib.import_module("lies_here")
        assert sys.modules[ABSENT] is None
    assert sys.modules == before
    assert importlib.import_module("lies_here").found
    del sys.modules["lies_here"]


def test_what_is_imported_already_is_left_alone() -> None:
    with session._hidden({"json"}):
        assert sys.modules["json"] is json
    assert sys.modules["json"] is json


def test_it_comes_back_after_a_load_that_fails() -> None:
    with pytest.raises(ValueError, match="planted"), session._hidden({ABSENT}):
        raise ValueError("planted")
    assert ABSENT not in sys.modules


def checkpoint(directory: Path, **config: Any) -> Path:
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return directory


def test_a_plain_checkpoint_needs_no_packer(tmp_path: Path) -> None:
    assert runtime.not_needed(checkpoint(tmp_path)) == {"hqq", "torchao", "scipy", "sklearn"}


@pytest.mark.parametrize("method", ["hqq", "gptq", "torchao"])
def test_a_packed_checkpoint_may_need_them(tmp_path: Path, method: str) -> None:
    assert runtime.not_needed(checkpoint(tmp_path, quantization_config={"quant_method": method})) == set()


def hidden_while_loading(
    monkeypatch: pytest.MonkeyPatch, directory: Path, *steps: tuple[str, str]
) -> set[str]:
    """What the engine does not see."""
    seen: list[set[str]] = []

    class Stop(Exception):
        """Nothing further is of interest."""

    def load(_directory: Path, _options: Any) -> None:
        seen.append({name for name in ("hqq", "torch") if sys.modules.get(name, "") is None})
        raise Stop

    engine = ModuleType("bench.runtimes.watched")
    vars(engine).update(load=load, not_needed=runtime.not_needed)
    monkeypatch.setitem(sys.modules, "bench.runtimes.watched", engine)
    monkeypatch.delitem(sys.modules, "hqq", raising=False)
    message = {
        "runtime": "bench.runtimes.watched", "directory": str(directory), "options": {},
        "optimise": [told(verb, scheme, {}) for verb, scheme in steps],
    }  # fmt: skip
    with pytest.raises(Stop):
        session.load(message)
    assert sys.modules.get("hqq", "") is not None
    return seen[0]


@pytest.mark.parametrize(
    ("steps", "hidden"),
    [
        ([], {"hqq"}),
        ([("prune", "magnitude")], {"hqq"}),
        ([("quantise", "hqq")], set()),
        ([("quantise", "kv-hqq")], set()),
        ([("prune", "magnitude"), ("quantise", "kv-hqq")], set()),
    ],
)
def test_a_step_that_needs_hqq_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps: list[tuple[str, str]], hidden: set[str]
) -> None:
    assert hidden_while_loading(monkeypatch, checkpoint(tmp_path), *steps) == hidden


def test_an_hqq_checkpoint_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = checkpoint(tmp_path, quantization_config={"quant_method": "hqq"})
    assert hidden_while_loading(monkeypatch, packed) == set()


def test_the_schemes_of_hqq_say_that_they_need_it() -> None:
    assert "hqq" in hqq.REQUIRES
    assert "hqq" in kv_hqq.REQUIRES


def test_a_runtime_that_says_nothing_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hidden: list[set[str]] = []
    monkeypatch.setattr(session, "_hidden", lambda names: hidden.append(set(names)))
    monkeypatch.setitem(sys.modules, "bench.runtimes.plain", SimpleNamespace(load=None))
    with pytest.raises(TypeError):
        session.load(
            {
                "runtime": "bench.runtimes.plain",
                "directory": str(tmp_path),
                "options": {},
                "optimise": [],
            }
        )
    assert hidden == [set()]


@pytest.mark.skipif(importlib.util.find_spec("hqq") is None, reason="needs hqq")
def test_a_fresh_process_that_has_no_use_for_hqq_does_not_import_it() -> None:
    """The import of transformers' hqq support, and of torch._inductor by it, is what is saved."""
    program = """
        import sys
        from pathlib import Path
        from bench.engine import Options
        from bench.models.fetch import ensure
        from bench.models.reference import Random
        from bench.worker import session
        from dataclasses import asdict
        message = {
            "runtime": "bench.runtimes.transformers",
            "directory": str(ensure(Random("tiny-llama")).directory),
            "options": asdict(Options(random=True, device="cpu")), "optimise": [],
        }
        session.load(message)
        print("hqq" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("False"), done.stderr


@pytest.mark.parametrize(
    ("scheme", "device", "sd"),
    [("hqq", "cpu", hqq.BETWEEN_RUNS_SD), ("hqq", "cuda:0", None), ("bnb-nf4", "cpu", None)],
)
def test_a_step_says_how_far_runs_of_its_scheme_differ_on_a_cpu(
    scheme: str, device: str, sd: float | None
) -> None:
    directory = ensure(Random("tiny-llama")).directory
    engine = runtime.load(directory, Options(random=True, device="cpu"))
    facts = replace(engine.facts(), device=device)
    (step,) = steps.apply(engine, told("quantise", scheme, {}), facts, Teacher(directory, lambda: None))
    assert step["between_runs_sd"] == sd


def lying(apply: Any, **more: Any) -> ModuleType:
    """Return a scheme whose evidence holds whatever it did."""
    scheme = ModuleType("a_scheme_that_lies")
    vars(scheme).update(
        Params=hqq.Params, apply=apply, evidence=lambda *_: [check("was applied", "yes", True, "yes")], **more
    )
    return scheme


def taken(monkeypatch: pytest.MonkeyPatch, scheme: ModuleType) -> Any:
    directory = ensure(Random("tiny-llama")).directory
    engine = runtime.load(directory, Options(random=True, device="cpu"))
    monkeypatch.setattr(steps, "scheme_of", lambda _step: scheme)
    step = told("quantise", "hqq", {})
    return steps.apply(engine, step, engine.facts(), Teacher(directory, lambda: None))


def test_a_scheme_that_did_nothing_is_caught_whatever_its_evidence_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NotApplied, match="quantise: hqq: nothing of the model changed"):
        taken(monkeypatch, lying(lambda model, params: model))


def test_a_hook_is_something_and_so_is_a_kernel_that_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme that changes torch itself leaves nothing in the model; its kernel proves it in the profile."""

    def hooked(model: Any, params: Any) -> Any:
        model.lm_head.register_forward_pre_hook(lambda _layer, given: given)
        return model

    assert taken(monkeypatch, lying(hooked))
    assert taken(monkeypatch, lying(lambda model, params: model, KERNEL="aten::round"))
