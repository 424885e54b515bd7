"""One cell of the table: a scheme on the model of a family, in a process of its own with a limit of time."""

from __future__ import annotations

import dataclasses
import importlib
import math
import multiprocessing
import os
import re
import resource
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import plugins
from bench.config.support import missing
from bench.environments import interpreter, missing_environment
from bench.errors import BenchError, Outcome, VariantFailed
from bench.formatting import one_line
from bench.measure.worker_process import WorkerProcess
from bench.optimisations import routes, unsupported, verbs
from schemes_by_family.families import FAMILIES

SECONDS, BYTES = 150, 8 << 30
HOME = "transformers"
APPLIED, ELSEWHERE, NOT_HERE = "applied", "needs a GPU", "not installed"
DTYPES = ("float32", "bfloat16")
TOKENS = 64
NAMES_A_FILE = ("gguf-file",)  # it measures a file as it is, of whatever family
# Enough text to calibrate on and steps to train, and no more.
SHORT = {"samples": 4, "tokens": 64}
A_LITTLE = {"steps": 4, "batch": 1, "tokens": 32, "held_out": 2, "evaluate_every": 1, "precision": "float32"}
BEFORE = {"distil": [("prune", "magnitude", {"sparsity": 0.3})]}  # a student that has something to learn


def schemes() -> list[tuple[str, str]]:
    """Return (verb, scheme) of every scheme that changes one model, in the order of the lists."""
    return [
        (verb, name)
        for verb in verbs()
        for name in plugins.names(f"optimisations.{verb}")
        if not routes(verb) and name not in NAMES_A_FILE
    ]


def cell(verb: str, name: str, family: str, directory: Path, kept: Path) -> dict[str, Any]:
    """Return the row of one cell: how it ended, why, and what was measured in it.

    What a scheme keeps for later runs goes into ``kept``, and not among the files of the user.
    """
    scheme = plugins.load(f"optimisations.{verb}", name)
    engine = getattr(scheme, "RUNTIMES", (HOME,))[0]
    row = {"verb": verb, "scheme": name, "family": family, "engine": engine, "versions": _versions(scheme)}
    if absent := (missing_environment(engine) if engine != HOME else missing(scheme)):
        return row | {"end": NOT_HERE, "reason": absent}
    refused = {dtype: unsupported(scheme, "cpu", dtype) for dtype in DTYPES}
    dtype = next((dtype for dtype, reason in refused.items() if reason is None), None)
    if dtype is None:
        return row | {"end": ELSEWHERE, "reason": str(refused["bfloat16"])}
    began = time.perf_counter()
    asked = message(verb, name, scheme, directory, FAMILIES[family].attention, dtype, engine)
    python = interpreter(engine, None)  # in the user's own cache
    with _own_cache(kept):
        found = _in_child(asked) if engine == HOME else _in_worker(asked, engine, python)
    if "reason" in found:
        found["reason"] = in_words(found["reason"], directory)
    return row | {"dtype": dtype, "took_s": round(time.perf_counter() - began, 2)} | found


def message(
    verb: str, name: str, scheme: ModuleType, directory: Path, attention: str, dtype: str, engine: str = HOME
) -> dict[str, Any]:
    """Return what a worker is told to load, with the usual settings of the scheme."""
    usual = scheme.Params(**dict.fromkeys(getattr(scheme, "MODELS", ()), str(directory)))
    settings = dataclasses.asdict(usual)
    settings |= SHORT if "samples" in settings else {}
    settings |= A_LITTLE if verb == "distil" else {}
    steps = [*BEFORE.get(verb, []), (verb, name, settings)]
    return {
        "directory": str(directory), "runtime": plugins.module_name("runtimes", engine),
        "options": {
            "device": "cpu", "dtype": dtype, "threads": 1, "attention": attention, "random": False,
        },
        "optimise": [
            {"label": f"{v}: {n}", "module": plugins.module_name(f"optimisations.{v}", n), "params": p}
            for v, n, p in steps
        ],
    }  # fmt: skip


def in_words(reason: str, directory: Path) -> str:
    """Return a reason in one line, the same on every machine."""
    return re.sub(r"/\S*/tmp\S*|/tmp/\S*", "DIR", one_line(reason.replace(str(directory), "DIR")))[:400]


@contextmanager
def _own_cache(place: Path) -> Iterator[None]:
    before = os.environ.get("BENCH_CACHE")
    os.environ["BENCH_CACHE"] = str(place)
    try:
        yield
    finally:
        os.environ.pop("BENCH_CACHE")
        if before is not None:
            os.environ["BENCH_CACHE"] = before


def _versions(scheme: ModuleType) -> dict[str, str]:
    """Return the versions of the packages that a scheme needs, where they are installed here."""
    wanted = (one.partition(".")[0] for one in getattr(scheme, "REQUIRES", ()))
    found = {name for one in wanted for name in _distributions().get(one, ())[:1]}
    return {name: metadata.version(name) for name in sorted(found)}


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


# ---- with transformers: forked from this process, which has imported it ----------------------------------


def _in_child(asked: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")  # a new interpreter would import torch each time
    child = context.Process(target=_send, args=(asked, theirs))
    child.start()
    theirs.close()
    try:
        if ours.poll(SECONDS):
            return ours.recv()  # type: ignore[no-any-return]
        return {"end": str(Outcome.TIMEOUT), "reason": f"no end in {SECONDS} s"}
    except EOFError:
        child.join()
        return {"end": "died", "reason": f"the process died ({child.exitcode})"}
    finally:
        child.kill()
        child.join()


def _send(asked: dict[str, Any], pipe: Any) -> None:
    import torch

    if not os.environ.get("DEBUG"):
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{os.environ['BENCH_CACHE']}/compiled"
    torch.set_num_threads(1)
    try:
        row = measured(asked)
    except VariantFailed as bad:
        row = {"end": str(bad.outcome), "reason": bad.reason}
    except Exception as bad:  # noqa: BLE001 - whatever a library raises is a row
        traceback.print_exc()
        row = {"end": "crash", "reason": f"{type(bad).__name__}: {bad}"}
    pipe.send(row)


def measured(asked: dict[str, Any]) -> dict[str, Any]:
    """Load the model as it is and with the scheme; return the bytes of both and how far their logits are
    apart, as a mean KL in nats over a window of 64 tokens."""
    from bench.engine.stepping import probe
    from bench.worker import session, steps

    plain, before = session.load({**asked, "optimise": [], "step_by_step": True})
    ids = probe(TOKENS, before.facts.vocabulary)
    exact = plain.logits(ids)
    engine, after = session.load(asked)
    steps.decode_a_little(engine)
    return {**_applied(after.evidence), "kld": _divergence(exact, engine.logits(ids))}


def _applied(evidence: Any) -> dict[str, Any]:
    """Return what the evidence says: how many checks hold, and the bytes of the weights before and after."""
    steps = evidence[1:]  # behind what was found in the model as it was loaded
    sizes = [steps[0]["weights_bytes_before"], steps[-1]["weights_bytes_after"]]
    return {"end": APPLIED, "checks": sum(len(step["checks"]) for step in steps), "weights_bytes": sizes}


def _divergence(exact: Any, other: Any) -> float | None:
    import torch

    p, q = (torch.log_softmax(one.double(), -1) for one in (exact, other))
    found = float((p.exp() * (p - q)).sum(-1).mean())
    return float(f"{found:.4g}") if math.isfinite(found) else None


def prepare(verb: str, name: str) -> None:
    """Import what a scheme needs, once for all the processes that are forked later."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    scheme = plugins.load(f"optimisations.{verb}", name)
    if getattr(scheme, "RUNTIMES", (HOME,))[0] == HOME and not plugins.missing_packages(scheme):
        for package in getattr(scheme, "REQUIRES", ()):
            importlib.import_module(package)


# ---- with another engine: a worker in the interpreter of the engine --------------------------------------


def _in_worker(asked: dict[str, Any], engine: str, python: Path | None) -> dict[str, Any]:
    log = Path(asked["directory"]).with_suffix(".log")
    try:
        with WorkerProcess(engine, log, python, 1) as worker:
            loaded = worker.ask("load", SECONDS, **asked, step_by_step=True)
    except VariantFailed as bad:
        return {"end": str(bad.outcome), "reason": bad.reason}
    except BenchError as bad:
        return {"end": "crash", "reason": str(bad)}
    return _applied(loaded["evidence"])
