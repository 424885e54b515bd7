"""The application of all commands, whose options take no number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from bench.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses ``nan`` and ``inf``, which an option without bounds would take."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line. Raises UsageError with the option's name."""
        rest = super().parse_args(ctx, args)
        for one in self.get_params(ctx):
            value = ctx.params.get(one.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{one.opts[0]}: {value} is not a finite number")
        return rest


class Application(typer.Typer):
    """The application: each of its commands is a ``Command``."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any
    ) -> Callable[[Function], Function]:
        """Register a command, as typer does."""
        return super().command(name, cls=cls or Command, **settings)
