"""Define the application of all commands. Its options refuse numbers that are not finite, nothing that a
command calls ends it, and only the command that is called is built."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from bench.cli.output import Verdict
from bench.errors import BenchError, UsageError
from bench.formatting import one_line

MOST_SAID = 300  # letters of what something said when it ended a command
_SIMPLE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses ``nan`` and ``inf``, which click accepts for an option without bounds. Its exit
    code is its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises UsageError, which names the option, for ``nan`` and ``inf``."""
        _spare_pydantic(self.get_params(ctx))
        rest = super().parse_args(ctx, args)
        for option in self.get_params(ctx):
            value = ctx.params.get(option.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{option.opts[0]}: {value} is not a finite number")
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises BenchError if something in it calls ``sys.exit``, as a plug-in may: a gate
        that ends so would be PASS or FAIL and has judged nothing."""
        try:
            return super().invoke(ctx)
        except Verdict:
            raise
        except BrokenPipeError as gone:  # for which click leaves with 1, the verdict of a gate that fails
            raise BenchError("a process that this command wrote to has gone") from gone
        except SystemExit as left:
            said = one_line(repr(left))[:MOST_SAID]
            raise BenchError(f"something that this command calls has ended it: {said}") from left


class Group(TyperGroup):
    """All commands together."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what comes before the name of a command."""
        _spare_pydantic(self.get_params(ctx))
        return super().parse_args(ctx, args)


def _spare_pydantic(options: Sequence[Any]) -> None:
    """Let options and arguments take texts, simple numbers and what is not given without pydantic.

    New versions of typer import it to process any value, which takes as long as all else before a command
    begins. A list of runs needs it for nothing else.
    """
    for option in options:
        option.process_value = partial(_processed, option, option.process_value)


def _processed(option: Any, process: Callable[..., Any], ctx: Any, value: Any) -> Any:
    """Return the value of an option as ``process``, click's own function, does."""
    if value is None and not option.required:
        nothing = () if getattr(option, "multiple", False) or option.nargs == -1 else None
        return option.callback(ctx, option, nothing) if option.callback else nothing
    described = getattr(option, "type_descriptor", None)  # of new versions only
    if described is None or option.required or option.callback:
        return process(ctx, value)
    kind, texts = described.annotation, value if isinstance(value, tuple) else (value,)
    if not all(isinstance(text, str) and text.isascii() for text in texts):
        return process(ctx, value)
    if kind == list[str] and isinstance(value, tuple):
        return list(value)
    if kind is str and isinstance(value, str):
        return value
    if kind is float and isinstance(value, str) and not described.is_ranged and _SIMPLE.fullmatch(value):
        return float(value)
    return process(ctx, value)


class Application(typer.Typer):
    """An application whose commands are all of class ``Command``."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any
    ) -> Callable[[Function], Function]:
        """Register a command, as typer does."""
        return super().command(name, cls=cls or Command, **settings)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command that the command line names. The others are built only if it names none: for help,
        or for a word that is no command."""
        word = sys.argv[1] if len(sys.argv) > 1 else ""
        asked = [one for one in self.registered_commands if word == (one.name or _name_of(one.callback))]
        if arguments or not asked:
            return super().__call__(*arguments, **settings)
        alone = copy(self)
        alone.registered_commands = asked
        return typer.Typer.__call__(alone, *arguments, **settings)


def _name_of(callback: Callable[..., Any] | None) -> str:
    """Return the name that typer gives to a command without one of its own."""
    return callback.__name__.replace("_", "-") if callback else ""
