"""Define the options of `bench gate` and `bench calibrate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.gate import LEAST_CAP


class LimitsFrom(StrEnum):
    """The side of a gate on commits whose limits are used."""

    BASE = "base"
    CANDIDATE = "candidate"


ConfigOrRun = Annotated[Path, typer.Argument(metavar="CONFIG|RUN", help="a YAML config, or a finished run")]
Base = Annotated[
    str | None,
    typer.Option(metavar="REF|PYTHON|RUN", help="compare with a commit, an interpreter or a run"),
]
Candidate = Annotated[
    str | None,
    typer.Option(metavar="REF", help="with --base REF: the other commit; if absent, the working tree"),
]
LimitsOf = Annotated[LimitsFrom, typer.Option(help="with --base REF: the side whose limits are used")]
AllowIdentical = Annotated[
    bool, typer.Option("--allow-identical", help="exit with 0 if a change does not reach what is measured")
]
Bisect = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="GOOD BAD", help="find the commit between them that made it more expensive"),
]
Cap = Annotated[
    int,
    typer.Option(
        min=LEAST_CAP,
        max=1000,
        help=f"largest number of units; FAIL needs {LEAST_CAP}, more with several limits",
    ),
]
Batches = Annotated[
    int | None, typer.Option(min=1, max=1000, help="batches in a unit; if absent, as the calibration chose")
]
IfDue = Annotated[
    bool, typer.Option("--if-due", help="only if no calibration of the last 7 days is valid here")
]
OtherPython = Annotated[
    str | None, typer.Option(metavar="PYTHON", help="another installation, for one of the sides")
]
InCommit = Annotated[
    str | None,
    typer.Option(metavar="REF", help="run both sides in the environment of this commit, or of worktree"),
]
