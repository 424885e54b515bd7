"""What the house holds itself to, as numbers: types across borders, lines, and how many tests there are.

``test_layers.py`` has the rest of the numbers: files at the top, imports upwards, broad excepts, lines of a
function and of a file. ``runs/test_frames.py`` counts the frames from a command to the clock.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from test_layers import PACKAGE, modules, tree

TESTS = Path(__file__).resolve().parent
MOST_DICTS = 20
# For each line of the package; only lines of code count. In November 2026 there were 1.02.
LEAST_TEST_LINES = 1.0
LOOSE = re.compile(r"\bdict\[str, Any\]")
DOCUMENT = re.compile(r'^[ \t]*r?""".*?"""', re.DOTALL | re.MULTILINE)


# ---- types across a border -------------------------------------------------------------------------


def annotations(node: ast.AST, where: str) -> Iterator[tuple[str, ast.expr]]:
    """Everything that others see of a module: (its name, its type) of each parameter, result and field."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name == "__init__" or not child.name.startswith("_"):
                yield from _of_function(child, f"{where}.{child.name}")
        elif isinstance(child, ast.ClassDef):
            if not child.name.startswith("_"):
                yield from annotations(child, f"{where}.{child.name}")
        elif isinstance(child, ast.AnnAssign) and not ast.unparse(child.target).startswith("_"):
            yield f"{where}.{ast.unparse(child.target)}", child.annotation
        elif isinstance(child, ast.If):
            yield from annotations(child, where)


def _of_function(
    function: ast.FunctionDef | ast.AsyncFunctionDef, where: str
) -> Iterator[tuple[str, ast.expr]]:
    given = function.args
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if one is not None and one.annotation is not None:
            yield f"{where}({one.arg})", one.annotation
    if function.returns is not None:
        yield f"{where}()", function.returns
    for node in ast.walk(function):  # the fields that a method makes
        if isinstance(node, ast.AnnAssign) and re.match(r"self\.[a-z]", ast.unparse(node.target)):
            yield f"{where}: {ast.unparse(node.target)}", node.annotation


def mentioning(words: re.Pattern[str]) -> list[str]:
    """Modules in which these words stand: to parse all of them takes seconds."""
    return [name for name, path in modules().items() if words.search(path.read_text(encoding="utf-8"))]


@cache
def loose_names() -> frozenset[str]:
    """Names of modules that are another spelling of ``dict[str, Any]``, such as ``Schema``."""
    return frozenset(
        ast.unparse(node.targets[0])
        for module in mentioning(LOOSE)
        for node in tree(module).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)
        if LOOSE.search(ast.unparse(node.value))
    )


def is_loose(annotation: ast.expr) -> bool:
    words = ast.unparse(annotation)
    return bool(LOOSE.search(words)) or bool(set(re.findall(r"\w+", words)) & loose_names())


def loose(source: ast.Module, module: str) -> list[str]:
    return [where for where, annotation in annotations(source, module) if is_loose(annotation)]


def test_few_borders_are_crossed_by_a_dict_of_anything() -> None:
    """It may hold anything, and whoever gets it may change it. Records have fields, and what is JSON and only
    read is called ``Json``."""
    words = re.compile("|".join([LOOSE.pattern, *loose_names()]))
    found = [where for module in mentioning(words) for where in loose(tree(module), module)]
    assert len(found) <= MOST_DICTS, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("def f(a: dict[str, Any], *, b: list[dict[str, Any]]) -> dict[str, Any] | None: ...", 3),
        ("class A:\n    b: dict[str, Any]", 1),
        ("class A:\n    def __init__(self):\n        self.a: dict[str, Any] = {}", 1),
        ("class A:\n    async def f(self) -> Schema: ...", 1),
        ("def _f() -> dict[str, Any]: ...", 0),
        ("class _A:\n    b: dict[str, Any]", 0),
        ("def f() -> None:\n    a: dict[str, Any] = {}", 0),
        ("def f(a: dict[str, int]) -> Mapping[str, Any]: ...", 0),
    ],
)
def test_such_a_border_is_seen(line: str, count: int) -> None:
    assert len(loose(ast.parse(line), "m")) == count


# ---- lines -----------------------------------------------------------------------------------------


def code_lines(source: str) -> int:
    """The lines of a file that hold code: none of its comments, docstrings and empty lines."""
    code = DOCUMENT.sub("", source).splitlines()
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in code)


def test_there_is_a_line_of_tests_for_each_line_of_the_package() -> None:
    ours, tests = (
        sum(code_lines(path.read_text(encoding="utf-8")) for path in home.rglob("*.py"))
        for home in (PACKAGE, TESTS)
    )
    assert tests / ours >= LEAST_TEST_LINES
