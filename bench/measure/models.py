"""List the models of a row, its own and those that its steps name, and write them to the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from bench.config.served import address_of
from bench.config.spec import Arm
from bench.measure.arm import ArmUnderTest, Fetch, models_of
from bench.models.disk_cache import directory_digest
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
    """Yield (key, model) of every model that the steps name, and that the steps of a cascade's edge model
    name."""
    for step in arm.optimise:
        for key, model in models_of(step, arm.place).items():
            yield f"optimise.{step.verb}.{key}", model
        if routes(step.verb):
            edge: Any = dict(step.params)["edge"]
            for key, model in further_models(replace(arm, optimise=edge.optimise)):
                yield f"optimise.{step.verb}.edge.{key}", model


def record_models(row: ArmUnderTest, model: LocalModel, fetch: Fetch) -> None:
    """Write which model a row loads, and which others its steps name, unless the row is recorded already."""
    if row.reopened:
        return
    others = {key: model_record(fetch(other)) for key, other in further_models(row.arm)}
    row.record(model=model_record(model), **({"models": others} if others else {}))


def model_record(model: LocalModel) -> Json:
    """Return what a journal says of a model; ``files_sha256`` is the digest of everything that is loaded."""
    return {
        **asdict(model.source),
        "random": model.random,
        "files_sha256": directory_digest(model.files),
    }


def changed_digest(before: Json, now: Json) -> str | None:
    """Say which part of a model differs from its record in a journal: ``before`` is that record, ``now`` the
    record of the model on this disk. None if nothing differs, or if the journal has no digest."""
    for key, words in DIGESTS.items():
        if before.get(key) is not None and before[key] != now[key]:
            return words
    return None
