"""The models of a row, and what a journal says of them: its own, and those that its steps name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from bench.config.served import address_of
from bench.config.spec import Arm
from bench.measure.arm import ArmUnderTest, Fetch, models_of
from bench.models.cache import directory_digest
from bench.models.reference import LocalModel, ModelRef
from bench.optimisations import routes
from bench.records import Json

OWN = "model"  # the key of the model that a row runs
DIGESTS = {"weights_sha256": "the weights", "files_sha256": "the files of the model"}


def models_by_key(arm: Arm) -> Iterator[tuple[str, ModelRef]]:
    """Yield (key, model) of every model that a row loads: ``model``, and ``optimise.VERB.KEY`` for those of
    its steps, such as one that drafts. A server that is there already has none."""
    if address_of(arm.runtime) is None:
        yield OWN, arm.model
    yield from further_models(arm)


def further_models(arm: Arm) -> Iterator[tuple[str, ModelRef]]:
    """Yield the same of the models that the steps name, those of a cascade's edge model too."""
    for step in arm.optimise:
        yield from ((f"optimise.{step.verb}.{key}", one) for key, one in models_of(step, arm.place).items())
        if routes(step.verb):
            edge: Any = dict(step.params)["edge"]
            for key, one in further_models(replace(arm, optimise=edge.optimise)):
                yield f"optimise.{step.verb}.edge.{key}", one


def record_models(row: ArmUnderTest, model: LocalModel, fetch: Fetch) -> None:
    """Write which model a row loads, and which others its steps name; once, as everything else of a row."""
    if row.reopened:
        return
    others = {key: model_record(fetch(one)) for key, one in further_models(row.arm)}
    row.record(model=model_record(model), **({"models": others} if others else {}))


def model_record(model: LocalModel) -> Json:
    """Return what a journal says of a model; ``files_sha256`` is the digest of everything that is loaded."""
    return {
        **asdict(model.source),
        "random": model.random,
        "files_sha256": directory_digest(model.files),
    }


def changed_digest(before: Json, now: Json) -> str | None:
    """Say what of a model is not as a journal says; None for nothing, or if the journal does not say it."""
    for key, words in DIGESTS.items():
        if before.get(key) is not None and before[key] != now[key]:
            return words
    return None
