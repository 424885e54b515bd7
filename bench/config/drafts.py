"""Check a drafting model before it is loaded: are its tokens those of the model that verifies them?"""

from __future__ import annotations

from collections.abc import Sequence

from bench import plugins
from bench.config.spec import Optimisation
from bench.models.places import directory_here
from bench.models.reference import ModelRef, named_or_path


def why_other_tokens(model: ModelRef, steps: Sequence[Optimisation]) -> str | None:
    """Return why a step's own model cannot draft for a row's model; None if it can, or if the files of one of
    them are not on this machine yet.

    Raises UsageError for a name that no model has.
    """
    for step in steps:
        scheme = plugins.load(f"optimisations.{step.verb}", step.scheme)
        if not hasattr(scheme, "why_other_tokenizer"):
            continue
        params = dict(step.params)
        named = [named_or_path(str(params[key])) for key in scheme.MODELS]
        verifying, *drafting = (directory_here(one) for one in (model, *named))
        for place in filter(None, drafting if verifying is not None else ()):
            if (why := scheme.why_other_tokenizer(verifying, place)) is not None:
                return str(why)
    return None
