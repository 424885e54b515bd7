"""The house rules, read from the source: who may import whom, who may read a clock, what stays light.

An exception to a rule stands here with its reason, and a test says when it is no longer needed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bench"

# Who may import whom: a room imports rooms on lines below its own, and nothing else, not even inside a
# function.
RANKS = """
__main__
cli
api
scale
plan
runs
sides
measure
workloads
config
worker
optimisations
runtimes
engine
serving
environments
models
machine
report
results
gate
metrics
probes drift pricing
stats
store texts
records plugins yaml_source
bounded link
formatting data_paths
errors
"""
RANK = {room: place for place, line in enumerate(RANKS.split("\n")) for room in line.split()}

# Runs on the machine that is measured: needs a device, an engine, a clock. All below it needs only results
# (D1).
JUDGING = ("report", "results", "gate", "metrics", "probes", "drift", "pricing", "stats", "store", "records")
# Runs in the worker's interpreter, which has the standard library and the engine and nothing else (D2).
WORKER_SIDE = ("worker", "optimisations", "runtimes", "engine")
WORKER_MAY_IMPORT = (
    *("errors", "records", "formatting", "bounded", "plugins", "link"),
    *(f"machine.{name}" for name in ("proc", "nvml", "noise", "cpu_quota")),
    "models.weight_files",
    "models.json_files",
    *WORKER_SIDE,
)
# Inside functions only, for schemes that keep what they made, read a text to calibrate, or files in parts,
# and for a cascade whose large model is a server: an interpreter that runs these has the harness's packages.
WORKER_MAY_CALL = (
    *("models.disk_cache", "models.gguf_parts", "texts"),
    *(f"serving.{name}" for name in ("address", "client", "connection", "reply")),
)
ENGINES = {
    "torch",
    "transformers",
    "bitsandbytes",
    "pynvml",
    "numpy",
    "safetensors",
    "threadpoolctl",
    "tokenizers",
    *("accelerate", "gguf", "llama_cpp", "optimum", "torchao", "hqq", "llmcompressor", "loguru"),
    *("onnx", "onnxruntime", "onnxruntime_genai", "openvino", "nncf"),
}

# Too slow or too large for `bench --help`; only ever imported inside a function.
HEAVY = ENGINES | {
    "scipy", "gguf", "accelerate", "huggingface_hub", "httpx", "pyarrow", "pandas", "matplotlib", "ray",
    "optimum", "torchao", "llmcompressor", "lm_eval",
}  # fmt: skip
CLOCK_HOMES = ("measure", "worker", "engine", "serving", "link")

# (module, what it imports): why. The first four run only as a child process of their own.
ENGINE_OUTSIDE = {
    ("models.convert", "torch"): "turns GGUF into safetensors in a child process, `python -m`",
    ("models.convert", "transformers"): "the same",
    ("models.convert", "gguf"): "the same",
    ("models.gguf_reading", "gguf"): "called by models.convert",
    ("models.gguf_reading", "transformers"): "called by models.convert",
    ("models.off_grid", "torch"): "called by models.convert",
    ("models.lora", "safetensors"): "merges an adapter in a child process, `python -m`",
    ("models.anatomy", "torch"): "counts the parameters of a card on the meta device, for tests and authors",
    ("models.anatomy", "transformers"): "the same",
    (
        "gate.sequential",
        "numpy",
    ): "the evidence after each unit, all at once; no engine, on the same list",
    ("gate.power", "numpy"): "thousands of simulated gates at once; no engine, but on the same list",
    ("machine.nvml", "pynvml"): "asks the driver about neighbours before a worker starts; no engine",
    ("serving.inside.transformers_engine", "torch"): "runs in the process of the engine alone",
    ("serving.inside.transformers_engine", "transformers"): "the same",
    ("serving.inside.vllm_engine", "torch"): "the same",
    ("serving.server_drift", "numpy"): "distributions over a vocabulary; no engine, on the same list",
    ("stats.cascade_curve", "numpy"): "the bootstrap of a curve; no engine, on the same list",
    ("stats.intervals", "numpy"): "the bootstrap; no engine, but on the list of what a worker may have",
}


@dataclass(frozen=True)
class Import:
    """One import statement: the full dotted name, its line, and whether importing the module follows it."""

    name: str
    line: int
    at_once: bool

    @property
    def top(self) -> str:
        """``numpy`` of ``numpy.linalg``."""
        return self.name.partition(".")[0]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name without ``bench.``; the package itself is ''."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Every import of a module, those inside functions too; what only a type checker reads is left out."""
    return tuple(_imports(tree(module), at_once=True))


def _imports(node: ast.AST, *, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _imports(other, at_once=at_once)
        elif isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute here"
            base = str(child.module)
            for alias in child.names:
                full = f"{base}.{alias.name}"
                known = base == "bench" or full.removeprefix("bench.") in modules()
                yield Import(full if known else base, child.lineno, at_once)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_once=at_once and not inside)


def ours(one: Import) -> str | None:
    """The module of this package that is imported, or None."""
    if one.top != "bench":
        return None
    name = one.name.removeprefix("bench").lstrip(".")
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def within(module: str, homes: tuple[str, ...]) -> bool:
    return module.partition(".")[0] in homes


def broken(found: list[tuple[str, Import]]) -> list[str]:
    return [f"bench/{module}:{one.line} imports {one.name}" for module, one in found]


def every_import() -> Iterator[tuple[str, Import]]:
    return ((module, one) for module in modules() for one in imports(module))


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_has_a_rank_and_every_rank_a_room() -> None:
    assert {room(module) for module in modules()} - {""} == set(RANK)


def test_the_table_of_ranks_fits_a_screen() -> None:
    assert len(RANKS.splitlines()) <= MOST_LINES_OF_A_FUNCTION


def test_contributing_lists_the_folders_in_the_order_of_their_ranks() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`(\w+)/`", row) for row in re.findall(r"^\| (`\w+/`.*?) \|", text, re.MULTILINE)]
    ranks = [RANK[name] for row in rows for name in row]
    assert len(ranks) > 20
    assert ranks == sorted(ranks)


def test_imports_go_downwards() -> None:
    """The package itself only names its API, which is looked up when it is first used."""
    wrong = [
        (module, one)
        for module, one in every_import()
        if module and (target := ours(one)) and room(target) != room(module)
        if RANK[room(target)] <= RANK[room(module)]
    ]
    assert broken(wrong) == []


def test_few_files_stand_at_the_top() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10


def test_the_judging_half_imports_no_engine() -> None:
    wrong = [
        (module, one)
        for module, one in every_import()
        if within(module, JUDGING) and one.top in ENGINES and (module, one.top) not in ENGINE_OUTSIDE
    ]
    assert broken(wrong) == []


def test_a_worker_needs_the_standard_library_and_its_engine_only() -> None:
    wrong = []
    for module, one in every_import():
        if not within(module, WORKER_SIDE):
            continue
        target = ours(one)
        if target is None:
            fine = one.top in sys.stdlib_module_names or (one.top in ENGINES and not one.at_once)
        else:
            fine = target == "" or target in WORKER_MAY_IMPORT or within(target, WORKER_MAY_IMPORT)
            fine = fine or (
                not one.at_once and (target in WORKER_MAY_CALL or within(target, WORKER_MAY_CALL))
            )
        if not fine:
            wrong.append((module, one))
    assert broken(wrong) == []


SHARED = (
    *("", "errors", "formatting", "link", "link.settings", "link.waiting", "records"),
    *("machine.proc", "machine.noise", "machine.cpu_quota"),
    *(f"records.{name}" for name in ("cascades", "drift", "encodings", "json_form", "loaded_model", "loads")),
    *(f"records.{name}" for name in ("replies", "run", "samples", "splits", "thinking")),
)


@pytest.mark.parametrize("module", SHARED)
def test_what_a_worker_shares_with_the_harness_is_standard_library(module: str) -> None:
    for one in imports(module):
        if one.at_once:
            assert one.top in sys.stdlib_module_names or ours(one) in SHARED, one.name


def test_nothing_heavy_is_imported_with_a_module() -> None:
    assert broken([(m, one) for m, one in every_import() if one.at_once and one.top in HEAVY]) == []


def test_engines_are_imported_where_a_worker_runs() -> None:
    wrong = [
        (module, one)
        for module, one in every_import()
        if one.top in ENGINES and not within(module, WORKER_SIDE) and (module, one.top) not in ENGINE_OUTSIDE
    ]
    assert broken(wrong) == []


def test_each_exception_for_an_engine_is_still_needed() -> None:
    used = {(module, one.top) for module, one in every_import()}
    assert set(ENGINE_OUTSIDE) <= used


# ---- the clock -----------------------------------------------------------------------------------

NOW = {"now", "utcnow", "today", "monotonic", "perf_counter", "perf_counter_ns", "time_ns", "process_time"}


def clocks(module: str) -> list[str]:
    """Where a module imports ``time``, or asks ``datetime`` for the present."""
    found = [
        f"bench/{module}:{one.line} imports time" for one in imports(module) if one.top in ("time", "timeit")
    ]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and node.attr in NOW:
            found.append(f"bench/{module}:{node.lineno} reads {ast.unparse(node)}")
    return found


def test_only_measuring_code_reads_a_clock() -> None:
    assert [line for module in modules() if not within(module, CLOCK_HOMES) for line in clocks(module)] == []


def test_the_clock_test_would_see_one() -> None:
    assert [module for module in modules() if clocks(module)], "measure and worker do read clocks"


# ---- rings ---------------------------------------------------------------------------------------


def rings(*, lazy: bool) -> set[frozenset[str]]:
    """Groups of modules that import each other in a circle (Tarjan's strongly connected components)."""
    graph = {
        module: {
            target
            for one in imports(module)
            if (lazy or one.at_once) and (target := ours(one)) is not None and target not in ("", module)
        }
        for module in modules()
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            ring = set()
            while node not in ring:
                ring.add(stack.pop())
            if len(ring) > 1:
                found.add(frozenset(ring))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def test_no_ring_of_imports() -> None:
    assert rings(lazy=False) == set()


def test_no_ring_of_imports_inside_functions_either() -> None:
    assert rings(lazy=True) == set()


# ---- habits --------------------------------------------------------------------------------------


ALL = {"Exception", "BaseException"}


def broad_excepts(source: ast.Module) -> int:
    """How often every exception is caught, also where it is raised again: ``OnFailure`` is for that."""
    handlers = (node.type for node in ast.walk(source) if isinstance(node, ast.ExceptHandler))
    suppressed = (
        argument
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")
        for argument in node.args
    )
    return sum(kind is None or bool(ALL & set(_names(kind))) for kind in (*handlers, *suppressed))


def _names(kind: ast.expr) -> list[str]:
    return [ast.unparse(one) for one in (kind.elts if isinstance(kind, ast.Tuple) else [kind])]


def test_one_broad_except_in_the_house() -> None:
    """At its door: a broken package may raise anything while it is imported, a fault of ours too, and exit
    code 1 would be the verdict of a gate that fails."""
    found = {module: count for module in modules() if (count := broad_excepts(tree(module)))}
    assert found == {"__main__": 1}


@pytest.mark.parametrize(
    ("handler", "count"),
    [
        ("try: f()\nexcept: pass", 1),
        ("try: f()\nexcept Exception: raise", 1),
        ("try: f()\nexcept (OSError, BaseException) as bad: raise bad", 1),
        ("with suppress(OSError, Exception): f()", 1),
        ("try: f()\nexcept (OSError, BenchError): pass", 0),
        ("with contextlib.suppress(OSError): f()", 0),
    ],
)
def test_a_broad_except_is_seen(handler: str, count: int) -> None:
    assert broad_excepts(ast.parse(handler)) == count


def test_no_pickle_and_no_eval() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    assert broken([(m, one) for m, one in every_import() if one.top in forbidden]) == []
    calls = {
        f"bench/{module}:{node.lineno}"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
    }
    assert calls == set()


def test_one_rule_for_the_files_of_commands() -> None:
    """A file of ``cli/`` that declares commands says so at the end of its name, and no other one does."""
    cli = {name.removeprefix("cli.") for name in modules() if name.startswith("cli.")}
    declare = {
        name
        for name in cli
        for node in ast.walk(tree(f"cli.{name}"))
        if isinstance(node, ast.FunctionDef)
        and any("app.command" in ast.unparse(one) for one in node.decorator_list)
    }
    assert declare == {name for name in cli if name.endswith(("_command", "_commands"))}


def test_a_hint_at_a_misspelt_name_is_written_once() -> None:
    """Others say ``did_you_mean``; these two show the name with more words around it."""
    shown_otherwise = {"cli.scheme_pages", "cli.check_notes"}
    found = {name for name, path in modules().items() if "did you mean {" in path.read_text(encoding="utf-8")}
    assert found - shown_otherwise == {"formatting"}


# ---- sizes ---------------------------------------------------------------------------------------

MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 250, 40


def test_a_file_can_be_read_at_once() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name for name, count in lines.items() if count > MOST_LINES_OF_A_FILE} == set()


def test_a_function_fits_a_screen() -> None:
    long = {
        f"{module}.{node.name}"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    }
    assert long == set()
