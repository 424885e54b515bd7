"""Find optimisation schemes by name: ``{quantise: bnb-nf4}`` is the file ``quantise/bnb_nf4.py``.

A scheme is a module with

* a docstring whose first line says what the scheme does,
* ``REQUIRES``: the packages that it needs,
* ``WEIGHTS`` (optional): "dense" if it needs dense weights and leaves them dense, "packs" if it needs dense
  weights and packs them, "any" if it also takes packed weights. The default is the value of its verb,
* ``Params``: a frozen dataclass with its settings in the YAML; they are validated before anything is loaded,
* ``unsupported(device, dtype)`` (optional): returns why the scheme cannot run on this device in this dtype,
  or None. The default is that it runs everywhere,
* ``apply(model, params)``: changes the model and returns it. It imports heavy packages inside,
* ``evidence(before, after, params)``: returns checks of what must now be true of the loaded model. The
  harness takes both censuses itself. If a check fails, the row is ``not_applied``. So it is, whatever the
  checks say, if nothing of a torch model, of the functions that it calls and of torch's switches changed, and
  the scheme names no ``KERNEL`` that an unchanged model does not run,
* ``KERNEL`` (optional): a regular expression that at least one operator of a profiled decode step must match,
* ``EXPERTS`` (optional): how it gets the experts of a mixture, which transformers stacks in tensors of three
  dimensions. "linears": each expert is replaced by linear layers before; "lent": only while the scheme
  works, as views of the stacks, in which it changes weights in place; "stacks": as they are. The default is
  "linears" for a scheme that packs weights and "stacks" for others,
* ``RUNTIMES`` (optional): the engines that it works with. The default is transformers,
* ``ENCODERS`` (optional): the engines in which it also works on a model that writes no text. The default is
  none,
* ``DECODING`` (optional): True if the scheme brings its own KV cache. A short request is then decoded for the
  censuses,
* ``refuse(params, architecture)`` (optional): returns why the settings do not fit a model of this shape, with
  the nearest settings that do. It is called before the model is loaded, if the shape is known,
* ``refuse_model(params, config)`` (optional): returns why the class of a model does not take the scheme, by
  its ``config.json``, or None. It is called before the model is loaded, if the config is known,
* ``unused(params)`` (optional): returns the settings that do nothing beside the others, each with its reason;
  a config that gives one of them another value than the default is refused,
* ``NOTE`` (optional): what a reader should know if the row is not cheaper than the baseline,
* ``BETWEEN_RUNS_SD`` (optional): the standard deviation of the log cost ratio between runs on a CPU, beyond
  what the pairs of a run show. It is measured with repeated runs, and widens the intervals of the scheme.

If ``apply`` has a third parameter ``teacher``, it receives the baseline's model (``bench.engine.Teacher``). A
scheme that changes the KV cache or the decode step returns a ``bench.engine.Changed``. Work that is done once
and then used by every run (calibration, training) goes through ``bench.engine.one_off``.

A *verb* is a package in this folder (``quantise``), or a package that another distribution provides by an
entry point in the group ``inference_cost_bench.optimisations``. Its ``__init__`` has a docstring, ``WEIGHTS``
and ``SPELLINGS`` (other spellings of the verb). It may have ``PLACE``, a number that orders the verbs in
lists, and ``ROUTES = True`` if its schemes change no model and choose between two: a scheme then has ``RULE``
in the place of ``apply`` and ``evidence``. It may have ``CLOSES``, a word for what was done to a model that
no later step can change.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from bench import plugins

SHARED = "shared"
LAST = 100
KEYS = {"optimize": "optimise"}  # other spellings of config keys that are not verbs


@cache
def verbs() -> dict[str, ModuleType]:
    """Return the package of each verb by its name, in the order in which verbs are listed."""
    found = plugins.packages("optimisations")
    known = {verb: package for verb, package in found.items() if verb != SHARED}
    return dict(sorted(known.items(), key=lambda item: (getattr(item[1], "PLACE", LAST), item[0])))


@cache
def spellings() -> dict[str, str]:
    """Map every other spelling of a verb or a key to the spelling that this package uses."""
    return KEYS | {other: verb for verb, package in verbs().items() for other in package.SPELLINGS}


def leaves_weights(verb: str, scheme: ModuleType) -> str:
    """Return ``dense``, ``packs`` or ``any``: the ``WEIGHTS`` of the scheme, or else of its verb."""
    found: str = getattr(scheme, "WEIGHTS", verbs()[verb].WEIGHTS)
    return found


def gets_experts(verb: str, scheme: ModuleType) -> str:
    """Return ``linears``, ``lent`` or ``stacks``: the ``EXPERTS`` of the scheme, or else of its weights."""
    packs = leaves_weights(verb, scheme) == "packs"
    found: str = getattr(scheme, "EXPERTS", "linears" if packs else "stacks")
    return found


def routes(verb: str) -> bool:
    """Return whether a verb chooses between models, and does not change one."""
    return bool(getattr(verbs()[verb], "ROUTES", False))


def unsupported(scheme: ModuleType, device: str, dtype: str) -> str | None:
    """Return why a scheme cannot run on a kind of device (``cpu``, ``cuda``) in a dtype, or None if it can.

    That is what the scheme's own ``unsupported`` returns; a scheme without one runs everywhere.
    """
    if not hasattr(scheme, "unsupported"):
        return None
    reason: str | None = scheme.unsupported(device, dtype)
    return reason
