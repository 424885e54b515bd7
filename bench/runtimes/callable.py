"""Your own Python function, called once per request: ``target: "package.module:function"``.

The function gets the prompt as text and returns the answer as text. If it takes a second argument, that is
the most tokens that an answer may have. It is imported in the worker, from the environment and the directory
of its side.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.answers import AnsweringEngine
from bench.errors import Outcome, VariantFailed

REQUIRES = ("tokenizers",)
DTYPES = ("float32", "bfloat16", "float16")
WHOLE_ANSWERS = True


@dataclass(frozen=True)
class Params:
    """``target``: the function, such as ``mypkg.serve:answer``."""

    target: str

    def __post_init__(self) -> None:
        module, _, name = self.target.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise ValueError("must be package.module:function")
        if module.partition(".")[0] == "bench":
            raise ValueError("a package called bench is this tool itself: give yours another name")


def load(directory: Path, options: Options) -> CallableEngine:
    """Import the function. Raises VariantFailed (import_error) with the reason if that fails."""
    os.environ.pop("PYTHONSAFEPATH", None)  # what the function starts may import from its directory, too
    return CallableEngine(directory, options, str(options.own["target"]))


class CallableEngine(AnsweringEngine):
    """Hold the function."""

    def __init__(self, directory: Path, options: Options, target: str) -> None:
        super().__init__(directory, options, target)
        self._function = _imported(target)
        self._takes_longest = _takes_two(self._function)

    def answer(self, prompt: str, longest: int) -> str:
        """Call the function."""
        found: str = self._function(prompt, longest) if self._takes_longest else self._function(prompt)
        return found


def _imported(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.append(os.getcwd())  # noqa: PTH109 - the same; last, so that it hides no installed package
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as bad:
        raise VariantFailed(
            Outcome.IMPORT_ERROR, f"runtime.target {target}: {bad}{_where(module, bad)}"
        ) from None
    if not callable(found):
        raise VariantFailed(
            Outcome.IMPORT_ERROR, f"runtime.target {target} is no function but {type(found).__name__}"
        )
    function: Callable[..., Any] = found
    return function


def _where(module: str, bad: Exception) -> str:
    """Say where the user's module was looked for, if it is the one that is missing."""
    if not isinstance(bad, ModuleNotFoundError) or bad.name != module.partition(".")[0]:
        return ""
    return f" (neither installed in this environment nor a file in {os.getcwd()})"  # noqa: PTH109


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether the function can be given a second argument by its place."""
    try:
        inspect.signature(function).bind("prompt", 1)
    except (TypeError, ValueError):
        return False
    return True
