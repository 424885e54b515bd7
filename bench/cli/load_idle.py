"""Refuse options of `bench load` that would have no effect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from bench.cli.idle_options import refuse_idle
from bench.cli.load_options import Asking
from bench.config.pasted_keys import looks_like_a_key
from bench.errors import UsageError
from bench.runtimes._server import OURS, dashed
from bench.serving.address import address
from bench.store.files import is_unicode

OF_AN_EARLIER_LOAD = ("target", "slo", "hardware", "utilisation", "as_json", "quiet")
OF_AN_ENGINE = ("python", "port", "engine_argument", "wait", "pin")
OTHER_NAMES = {"target": "URL", "as_json": "--json", "pin": "--no-pin"}


def all_in_use(asking: Asking, *, earlier: bool) -> None:
    """Raise UsageError for an option that would have no effect.

    ``earlier`` says that the target is the directory of an earlier load, which is only computed again.
    """
    _refuse_keys(asking)
    if asking.hardware is None and asking.utilisation != 1:
        raise UsageError("--utilisation goes with --hardware")
    if earlier:
        others = [field.name for field in fields(Asking) if field.name not in OF_AN_EARLIER_LOAD]
        refuse_idle(_given(asking, others), "an earlier load is computed again, and nothing is sent")
        return
    _must_be_unicode(asking)
    if "://" in asking.target:
        refuse_idle(_given(asking, OF_AN_ENGINE), "the server at an address is started by somebody else")
    if asking.search is not None:
        refuse_idle(_given(asking, ("burstiness", "arrivals")), "a search has Poisson arrivals")
    if asking.trace is not None:
        refuse_idle(_given(asking, ("input_tokens", "output_tokens")), "a trace has its own lengths")
    if asking.drift is None:
        refuse_idle(_given(asking, ("drift_text",)), "it goes with --drift")


def _must_be_unicode(asking: Asking) -> None:
    """Raise UsageError for an option that no journal could hold: bytes that are no UTF-8."""
    for field in fields(Asking):
        value = getattr(asking, field.name)
        texts = map(str, value if isinstance(value, list) else [value])
        if field.name != "out" and not all(map(is_unicode, texts)):
            raise UsageError(f"{_option(field.name)}: this is not UTF-8")


def _refuse_keys(asking: Asking) -> None:
    """Raise UsageError for an API key on the command line, and for an engine argument that would take one.

    The files of a load store its address and the command of its engine, so a key would be stored as well.
    """
    if "://" in asking.target:
        address(asking.target)  # raises a more exact error for a key in an address
    for field in fields(Asking):
        value = getattr(asking, field.name)
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        if field.name != "key_env" and any(map(looks_like_a_key, texts)):
            raise UsageError(f"{_option(field.name)}: this looks like a key (what was given is not shown)")
    for argument in asking.engine_argument or ():
        name = dashed(argument.partition("=")[0].lstrip("-"))
        if argument.startswith("-") and name in OURS:
            raise UsageError(f"--engine-argument: --{name} is chosen by this tool")


def _option(name: str) -> str:
    return OTHER_NAMES.get(name, f"--{name.replace('_', '-')}")


def _given(asking: Asking, names: Iterable[str]) -> dict[str, bool]:
    """Return whether each of these options differs from its default, by its name on the command line."""
    defaults = {field.name: field.default for field in fields(Asking)}
    return {_option(name): getattr(asking, name) != defaults[name] for name in names}
