"""Options that several commands share, and commands that take theirs as one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from bench.cli.options import taking


@dataclass(frozen=True)
class Asked:
    """An argument and two options."""

    town: Annotated[str, typer.Argument(help="where")]
    days: Annotated[int, typer.Option(min=1, help="how long")] = 3
    rain: Annotated[list[str] | None, typer.Option("--rain-on", help="when")] = None


def ran(*words: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @taking(Asked)
    def forecast(asked: Asked) -> None:
        """Say what the weather will be."""
        print(asked)

    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def test_a_record_is_filled_from_the_command_line() -> None:
    said = ran("Oslo", "--days", "2", "--rain-on", "Mon", "--rain-on", "Sun")
    assert said == (0, f"{Asked('Oslo', 2, ['Mon', 'Sun'])}\n")
    assert ran("Oslo") == (0, f"{Asked('Oslo')}\n")


def test_its_fields_are_the_help_and_the_checks_of_the_command() -> None:
    code, page = ran("--help")
    assert code == 0
    assert [
        words
        for words in ("Say what the weather will be.", "where", "how long", "--rain-on")
        if words not in page
    ] == []
    assert ran("Oslo", "--days", "0")[0] == 2
