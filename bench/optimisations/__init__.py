"""One file for each scheme, found by its name: ``{quantise: bnb-nf4}`` is ``quantise/bnb_nf4.py``.

A scheme is a module with

* a docstring whose first line says what it does,
* ``REQUIRES``: the packages it needs,
* ``WEIGHTS`` (optional): "dense" where it needs dense weights and leaves them dense, "packs" where it leaves
  them packed, "any" where it takes them as they are; if absent what its verb says,
* ``Params``: a frozen dataclass, its settings in YAML (validated before anything is loaded),
* ``unsupported(device, dtype)``: the reason it cannot run there, or None,
* ``apply(model, params)``: returns the changed model; heavy imports inside,
* ``evidence(before, after, params)``: what must now be true of the loaded model. The harness takes both
  censuses itself and fails the variant (``not_applied``) where a check does not hold,
* ``KERNEL`` (optional): a pattern that one operator of a profiled decode step must match,
* ``RUNTIMES`` (optional): the engines it is for, transformers if absent,
* ``DECODING`` (optional): True where it brings a KV cache of its own; the censuses then have a
  short request decoded,
* ``refuse(params, architecture)`` (optional): why the settings do not fit a model whose shape is known before
  it is loaded, with the nearest that do,
* ``NOTE`` (optional): what a reader of the row should know where it is not cheaper.

An ``apply`` with a third parameter ``teacher`` is given the baseline's model (``bench.engine.Teacher``). A
scheme that changes the KV cache or the step returns a ``bench.engine.Changed``. Work that is done once and
serves every run (calibration, training) goes through ``bench.engine.one_off``.

A *verb* is a package here (``quantise``), or one that another package brings by an entry point in the group
``inference_cost_bench.optimisations``. Its ``__init__`` has a docstring, ``WEIGHTS`` and ``SPELLINGS``
(others of the verb), and may have ``PLACE``, a number by which verbs are listed.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from bench import plugins

SHARED = "shared"
LAST = 100
KEYS = {"optimize": "optimise"}  # other spellings of keys that are no verbs


@cache
def verbs() -> dict[str, ModuleType]:
    """The package of every verb, by the verb, in the order in which they are listed."""
    found = plugins.packages("optimisations")
    known = {verb: package for verb, package in found.items() if verb != SHARED}
    return dict(sorted(known.items(), key=lambda item: (getattr(item[1], "PLACE", LAST), item[0])))


@cache
def spellings() -> dict[str, str]:
    """Our spelling of every other spelling of a verb or a key."""
    return KEYS | {other: verb for verb, package in verbs().items() for other in package.SPELLINGS}


def leaves_weights(verb: str, scheme: ModuleType) -> str:
    """What a scheme needs and leaves: ``dense``, ``packs`` or ``any``; what it says itself, or its verb."""
    found: str = getattr(scheme, "WEIGHTS", verbs()[verb].WEIGHTS)
    return found
