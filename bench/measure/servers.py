"""Find the server of a row at its address, or start it on its processors and stop it at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench import plugins
from bench.config.served import address_of
from bench.config.spec import Arm
from bench.errors import Outcome
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Noted
from bench.measure.load_blocks import Serving, failing_as
from bench.models.reference import LocalModel
from bench.runtimes._server import arguments
from bench.serving.address import key_of
from bench.serving.connection import must_be_installed
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Launch
from bench.serving.environments import interpreter_for
from bench.serving.load import run
from bench.serving.pinning import SHARED, Apart, split, threads_in
from bench.serving.prompts import tokenizer_of
from bench.serving.server import free_port
from bench.serving.target import Manner, Target, begun, there, weights_of
from bench.store.files import slug


@contextmanager
def serving(row: ArmUnderTest, fetch: Callable[..., LocalModel], cores: Apart = SHARED) -> Iterator[Serving]:
    """Find the server of a row, or start it on its ``cores`` and stop it at the end. Raises VariantFailed."""
    arm, own = row.arm, dict(row.arm.runtime.own)
    with ExitStack() as stack:
        with failing_as(Outcome.LOAD_ERROR):
            if needs_client(arm):
                must_be_installed()
            target = _there(arm) if address_of(arm.runtime) else None
            if target is None:
                log = row.context.directory / "logs" / f"{slug(row.title)}.log"
                adapter = ADAPTERS[arm.runtime.name]
                more = adapter.for_drift if row.context.compares_outputs else ()
                launch = _launch(arm, fetch(arm.model), (*_threads(arm, cores), *more))
                manner = _manner(own, _in_each_body(arm))
                with cores.starting():
                    target = stack.enter_context(
                        begun(adapter, launch, log, float(str(own["wait_s"])), manner)
                    )
            how = target.settings
            count = run(tokenizer_of(how.server, how.model, how.key))
        yield Serving(row, target, count, cores=cores)
    if target.server is not None and target.server.parting:
        row.context.tell(Noted(f"{row.title}: {target.server.parting}"))


def needs_client(arm: Arm) -> bool:
    """Return whether the engine is asked over HTTP."""
    adapter = ADAPTERS.get(arm.runtime.name)
    return adapter is None or not adapter.in_process


def cores_for(*sides: ArmUnderTest) -> Apart:
    """Return how the client and the servers of these rows, measured together, share the processors.

    Both sides of a pair get the same processors. A server on this machine that somebody else has started
    cannot be moved. If no server runs on this machine, there is nothing to keep apart.
    """
    addresses = [address_of(row.arm.runtime) for row in sides]
    if any(address is not None and address.local for address in addresses):
        return Apart(why_not="a server here was started by somebody else")
    if all(addresses):
        return SHARED
    wanted = sides[0].context.measure.pin_client
    threads = max(_threads_of(row.arm) for row in sides)
    return split(wanted, threads, "measure.pin_client is false")


def _threads_of(arm: Arm) -> int:
    """Return how many threads a config tells a server to use; 0 if it does not say."""
    args: Any = dict(arm.runtime.own).get("args") or {}
    return max(arm.runtime.threads or 0, threads_in(arguments(args)))


def _threads(arm: Arm, cores: Apart) -> tuple[str, ...]:
    """Return the argument that tells an engine how many processors it has, if it knows such an argument and
    the config does not give it: llama.cpp counts those of the whole machine."""
    flag = plugins.load("runtimes", arm.runtime.name).FLAGS.get("threads")
    args: Any = dict(arm.runtime.own).get("args") or {}
    return () if arm.runtime.threads else cores.told(flag, arguments(args))


def _there(arm: Arm) -> Target:
    """Return a server that runs already, at the address that the config gives."""
    own = dict(arm.runtime.own)
    server = address_of(arm.runtime)
    assert server is not None, "asked only of a server that has an address"
    name = None if own["key_env"] is None else str(own["key_env"])
    model = None if own["model"] is None else str(own["model"])
    extra: dict[str, object] = {"ignore_eos": True} if own["ignore_eos"] else {}
    return there(server, key_of(name, server), model, _manner(own, extra))


def _manner(own: dict[str, Any], extra: dict[str, object]) -> Manner:
    return Manner(own["api"], float(own["timeout_s"]), int(own.get("retries", 0)), extra)


def _in_each_body(arm: Arm) -> dict[str, object]:
    """Return what an engine's own keys of the config put into each request."""
    own, kind = dict(arm.runtime.own), plugins.load("runtimes", arm.runtime.name)
    return {name: own[key] for key, name in getattr(kind, "BODY", {}).items()}


def _launch(arm: Arm, model: LocalModel, more: tuple[str, ...] = ()) -> Launch:
    """Return how to start the server. The row's own arguments come last, because the last one wins."""
    runtime, own = arm.runtime, dict(arm.runtime.own)
    kind = plugins.load("runtimes", runtime.name)
    values = ((flag, getattr(runtime, key)) for key, flag in kind.FLAGS.items())
    common = [word for flag, value in values if value is not None for word in (flag, str(value))]
    args: Any = own["args"]
    port: Any = own.get("port")
    python = interpreter_for(ADAPTERS[runtime.name], runtime.python)
    weights = weights_of(model, gguf=kind.GGUF)
    return Launch(str(weights), port or free_port(), python, (*common, *more, *arguments(args)))
