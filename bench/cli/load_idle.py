"""Options of `bench load` that do nothing for what was asked: they are refused."""

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
    """Raise UsageError for an option that would do nothing. ``earlier``: the target is an earlier load."""
    _must_hold_no_key(asking)
    if asking.hardware is None and asking.utilisation != 1:
        raise UsageError("--utilisation goes with --hardware")
    if earlier:
        others = [one.name for one in fields(Asking) if one.name not in OF_AN_EARLIER_LOAD]
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
    for one in fields(Asking):
        value = getattr(asking, one.name)
        texts = map(str, value if isinstance(value, list) else [value])
        if one.name != "out" and not all(map(is_unicode, texts)):
            raise UsageError(f"{_option(one.name)}: this is not UTF-8")


def _must_hold_no_key(asking: Asking) -> None:
    """Raise UsageError for the key of an account, and for an argument of an engine that takes one: the files
    of a load keep its address and the command of its engine."""
    if "://" in asking.target:
        address(asking.target)  # which says more exactly where in an address a key is
    for one in fields(Asking):
        value = getattr(asking, one.name)
        texts = value if isinstance(value, list) else [value]
        if one.name != "key_env" and any(isinstance(text, str) and looks_like_a_key(text) for text in texts):
            raise UsageError(f"{_option(one.name)}: this looks like a key (what was given is not shown)")
    for argument in asking.engine_argument or ():
        name = dashed(argument.partition("=")[0].lstrip("-"))
        if argument.startswith("-") and name in OURS:
            raise UsageError(f"--engine-argument: --{name} is chosen by this tool")


def _option(name: str) -> str:
    return OTHER_NAMES.get(name, f"--{name.replace('_', '-')}")


def _given(asking: Asking, names: Iterable[str]) -> dict[str, bool]:
    """Return which of these options differ from their defaults, by the name on the command line."""
    defaults = {one.name: one.default for one in fields(Asking)}
    return {_option(name): getattr(asking, name) != defaults[name] for name in names}
