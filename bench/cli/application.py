"""Define the application of all commands. Its options refuse numbers that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from bench.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses ``nan`` and ``inf``, which click accepts for an option without bounds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises UsageError, which names the option, for ``nan`` and ``inf``."""
        rest = super().parse_args(ctx, args)
        for option in self.get_params(ctx):
            value = ctx.params.get(option.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{option.opts[0]}: {value} is not a finite number")
        return rest


class Application(typer.Typer):
    """An application whose commands are all of class ``Command``."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any
    ) -> Callable[[Function], Function]:
        """Register a command, as typer does."""
        return super().command(name, cls=cls or Command, **settings)
