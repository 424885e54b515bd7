"""Move a config into its side: rows run in the side's environment, and paths are below its checkout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench import plugins
from bench.config.inputs import below
from bench.config.spec import Arm, Group, Place, Spec
from bench.config.support import missing
from bench.environments import interpreter
from bench.models.registry import model_directories
from bench.serving.engines import ADAPTERS
from bench.serving.environments import interpreter_of_side
from bench.sides.build import Built
from bench.store.tree import MANIFEST


def placed(spec: Spec, built: Built, directory: Path) -> Spec:
    """Return the config with its rows in the side's environment and its paths below the side's directory.

    The environment has two names among the roots: its packages, and all else that an installation may put
    into it, such as data files and checkouts of other repositories.
    """
    place = Place(
        str(directory),
        (
            ("source", str(built.source)),
            ("packages", str(built.packages)),
            ("environment", str(built.home / "venv")),
        ),
        str(built.home / MANIFEST),
        model_directories(),
    )
    groups = tuple(
        Group(
            group.label,
            _arm(group.baseline, built, place),
            tuple(_arm(one, built, place) for one in group.variants),
        )
        for group in spec.groups
    )
    return replace(spec, groups=groups, drift=below(spec.drift, directory))


def _arm(arm: Arm, built: Built, place: Place) -> Arm:
    runtime, workload, directory = arm.runtime, arm.workload, Path(place.directory or "")
    if runtime.python is not None:
        runtime = runtime.model_copy(update={"python": str(directory / runtime.python)})
    elif runtime.name in ADAPTERS:
        python = interpreter_of_side(ADAPTERS[runtime.name], built.python)
        runtime = runtime.model_copy(update={"python": python})
        if python:  # then only a package that the harness itself lacks is in the way
            arm = replace(arm, unsupported=missing(plugins.load("runtimes", runtime.name)))
    elif interpreter(runtime.name, None) is None:  # an engine with an environment of its own keeps it
        runtime = runtime.model_copy(update={"python": str(built.python)})
    if workload.file is not None:
        workload = workload.model_copy(update={"file": str(directory / workload.file)})
    return replace(arm, runtime=runtime, workload=workload, model=place.model(arm.model), place=place)
