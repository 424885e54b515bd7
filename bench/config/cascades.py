"""Check a cascade: the edge model with what is done to it, and what does not go together with a cascade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench import plugins
from bench.config.cascade_questions import check_questions
from bench.config.model_shapes import check_classes, check_order, check_shapes
from bench.config.settings import RuntimeBlock
from bench.config.spec import Arm, Group, Optimisation
from bench.config.support import why_unsupported
from bench.models.reference import named_or_path
from bench.models.registry import FindModel
from bench.optimisations import routes, verbs
from bench.pricing.apis import must_be_known
from bench.serving.address import address, key_of
from bench.yaml_source import KeyPath, YamlSource, blaming

NO_ROW = "no row of this config is one"


def edge_of(steps: Sequence[Optimisation]) -> Any | None:
    """Return the block ``edge`` of the step that is a cascade; None if none is."""
    return next((dict(step.params)["edge"] for step in steps if routes(step.verb)), None)


def edge_runtime(runtime: RuntimeBlock, edge: Any) -> RuntimeBlock:
    """Return the runtime of the edge model: the row's, with the dtype and threads of the block ``edge``."""
    own = {key: getattr(edge, key) for key in ("dtype", "threads") if getattr(edge, key) is not None}
    return runtime.model_copy(update=own)


def check_edge(
    source: YamlSource,
    runtime: RuntimeBlock,
    steps: Sequence[Optimisation],
    path: KeyPath,
    find: FindModel,
    *,
    is_baseline: bool,
) -> str | None:
    """Return why the edge model of a cascade cannot run here; None if it can, or if there is none.

    ``path`` is that of the steps. Raises ConfigError for what cannot work anywhere.
    """
    edge = edge_of(steps)
    if edge is None:
        return None
    if is_baseline:
        hint = "put the cascade into a variant; the baseline is the large model alone"
        raise source.error(path, "the baseline cannot be a cascade", hint)
    last = next(place for place, step in enumerate(steps) if routes(step.verb))
    if steps[last + 1 :]:
        after = steps[last + 1]
        problem = f"{after.verb} {after.scheme} comes after a cascade"
        hint = "a cascade is the last step, and the only one of its kind"
        raise source.error((*path, last + 1), problem, hint)
    inner = (*path, last, "edge", "optimise")
    for place, step in enumerate(edge.optimise):
        if step.verb == "speculate":
            problem = "the tokens of an edge model that speculates have no scores"
            raise source.error((*inner, place), problem, "leave this step out")
        if routes(step.verb):
            raise source.error((*inner, place), "an edge model cannot be a cascade itself")
    check_questions(source, dict(steps[last].params), (*path, last))
    _check_cloud(source, dict(steps[last].params).get("cloud"), (*path, last, "cloud"))
    _check_steps(source, runtime, edge, inner, find)
    device = edge_runtime(runtime, edge)
    why = why_unsupported(source, device, edge.optimise, ("runtime", "device"), inner, is_baseline=False)
    return f"the edge model: {why}" if why else None


def _check_steps(
    source: YamlSource, runtime: RuntimeBlock, edge: Any, path: KeyPath, find: FindModel
) -> None:
    """Check what is done to the edge model, as for any row."""
    model = named_or_path(edge.model)
    check_order(source, model, edge.optimise, path, find)
    check_shapes(source, model, edge.optimise, path, find)
    if runtime.python is None:
        check_classes(source, model, edge.optimise, path, find)


def _check_cloud(source: YamlSource, cloud: Any, path: KeyPath) -> None:
    """Check the address of a server in the place of the large model, that its key is there, and that its
    price is in the list."""
    if cloud is None:
        return
    with blaming(source, (*path, "url")):
        server = address(cloud.url)
    with blaming(source, (*path, "key_env")):
        key_of(cloud.key_env, server)
    if cloud.price is not None:
        with blaming(source, (*path, "price")):
            must_be_known(cloud.price)


def check_limits_of_cascades(
    source: YamlSource, limits: Iterable[str], groups: Sequence[Group], suites: Iterable[object]
) -> None:
    """Refuse a limit on a figure that a cascade does not have where a row is one, on a figure that only rows
    of one kind have (cascades, splits, rows that speculate) where no row is of it, and on the curve of a
    cascade if none of the ``suites`` has right and wrong answers."""
    from bench.drift.behaviour import suites_of
    from bench.gate.cascade_metrics import not_of_cascades, of_cascades, of_curves, of_verbs

    arms = [arm for group in groups for arm in group.arms]
    rows = [arm for group in groups for arm in group.variants if edge_of(arm.optimise) is not None]
    for key in limits:
        verb = of_verbs().get(key)
        if rows and key in not_of_cascades():
            problem = f"{rows[0].name} is a cascade: it answers as a whole, with one of two models"
            hint = "limit cost_per_request_usd, e2el_ms, escalation_rate or a suite, or leave the cascade out"
            raise source.error(("gate", key), f"{problem}, and has no such figure", hint)
        if not rows and key in of_cascades():
            raise source.error(("gate", key), "only a cascade has it", NO_ROW)
        if key in of_curves() and not suites_of(suites):
            hint = "drift.suites has no suite with right and wrong answers, such as factuality"
            raise source.error(("gate", key), "this run does not measure it", hint)
        if verb and not any(_may_do(arm, verb) for arm in arms):
            raise source.error(("gate", key), f"only a row with {verb} has it", NO_ROW)


def _may_do(arm: Arm, verb: str) -> bool:
    """Return whether a row has a step of this verb. What another package provides may do the same."""
    ours = [step.verb for step in arm.optimise if verbs()[step.verb].__name__.startswith("bench.")]
    engine = plugins.load("runtimes", arm.runtime.name).__name__
    return verb in ours or len(ours) < len(arm.optimise) or not engine.startswith("bench.")
