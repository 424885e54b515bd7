"""Do what `bench load` asks for: find or start the server, make prompts, send them, and write the results."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.load_options import Asking, must_be_one_schedule
from bench.cli.load_signals import Ending
from bench.cli.load_target import target_of, tell
from bench.cli.load_workload import PEOPLE, drawn, most_searched, plan_at, plan_of, title, workload_of
from bench.config.settings import WorkloadBlock
from bench.errors import BenchError, InterruptedRun, OnFailure, UsageError
from bench.formatting import one_line
from bench.machine.devices import cpu_count
from bench.measure.clock import utc_now
from bench.metrics.requests import Limits
from bench.pricing.reprice import price_block
from bench.records.json_form import Json
from bench.records.samples import Sample
from bench.runs.directory import new_directory
from bench.serving import record
from bench.serving.address import address, key_of
from bench.serving.arrivals import Planned
from bench.serving.cache_hits import Hits, hits_of
from bench.serving.connection import must_be_installed
from bench.serving.drift import REASON_LETTERS, Wanted, drift_of
from bench.serving.drift_failed import DriftFailed
from bench.serving.engines import ADAPTERS, adapter_called
from bench.serving.load import INTERRUPTED, Load, load, run
from bench.serving.load_verification import is_load
from bench.serving.prompts import Prompts, tokenizer_of
from bench.serving.search_run import Searched, searched
from bench.serving.target import Target, weights
from bench.texts import check_text

if TYPE_CHECKING:
    from bench.serving.record import Result

FIRST_RATE = 1.0  # requests per second at which a search starts


def measured(asking: Asking, ending: Ending) -> tuple[Result, Path]:
    """Measure a load, and return (its result, its directory).

    All options are checked before anything is started. If a signal ends the load, the result has the requests
    that had ended by then.
    """
    must_be_one_schedule(asking)
    must_be_installed()
    seed = secrets.randbits(32) if asking.seed is None else asking.seed
    workload = workload_of(asking, seed)
    words = title(asking, workload, seed)
    price = _price(asking)
    by_address = "://" in asking.target
    server = address(asking.target) if by_address else None
    key = key_of(asking.key_env, server) if server else None
    if not by_address:
        adapter_called(asking.target)
    wanted = _wanted(asking)
    directory = new_directory(
        asking.out, f"load-{asking.target.partition('://')[0] if by_address else asking.target}"
    )
    limits, begun = Limits(asking.limits_ms), utc_now()
    with OnFailure(lambda: _remove_empty(directory)), target_of(asking, key, directory) as target:
        done, search, hits, again = run(ending.heeding(_measured(asking, target, workload, seed, limits)))
        ending.must_have(done)
        drift = _drift(asking, target, directory, wanted) if wanted and not done.stopped else None
        ending.settle()
        head = {**target.head, **_head_of(asking, workload, seed, begun), "finished_utc": utc_now()}
    if hits is not None:
        head["prefix_cache"] = hits.to_json()
    if target.server is not None and target.server.parting:
        head["left_behind"] = target.server.parting
    if search is not None:
        head["search"] = search.to_json()
    if again:
        head["prompts_again"] = again
    result = record.result({"schedule": words, **head}, done, limits, price, drift)
    record.write(directory, result, utc_now, key)
    return result, directory


def _remove_empty(directory: Path) -> None:
    """Remove the directory again if nothing was written into it."""
    for place in (directory / "logs", directory):
        with suppress(OSError):
            place.rmdir()


def is_earlier(target: str) -> bool:
    """Return whether a target is the directory of an earlier load.

    A directory may also have the name of an engine, for example one with the engine's source code. It counts
    only if it really contains a load.
    """
    place = Path(target)
    return place.is_dir() and (target not in ADAPTERS or is_load(place))


def again(asking: Asking) -> Result:
    """Compute an earlier load again from its journal, with other limits or another price if given."""
    return record.again(Path(asking.target), asking.limits_ms, _price(asking))


def _price(asking: Asking) -> Json | None:
    if asking.hardware is None:
        return None
    return price_block(asking.hardware, None, asking.utilisation, utc_now()[:10])


async def _measured(
    asking: Asking, target: Target, workload: WorkloadBlock, seed: int, limits: Limits
) -> tuple[Load, Searched | None, Hits | None, int]:
    """Return the load, how it was found if it is a search, what a prefix cache answered, and how many
    prompts of a data set came again."""
    how = target.settings
    prompts = Prompts(seed, await tokenizer_of(how.server, how.model, how.key))
    await target.warm_up(await prompts.of(drawn(asking, 1, seed) * asking.warm_up))
    if asking.search is None:
        planned = plan_of(asking, workload, seed)
        seen = _ProgressLines(planned.schedule.requests, asking.quiet)
        asked = await prompts.of(planned.lengths, planned.sharing, planned.spoken)
        before = await hits_of(how.server, how.key)
        done = await load(how, planned.schedule, asked, seen, target.gone)
        try:
            after = await hits_of(how.server, how.key) if before and not done.stopped else None
        except asyncio.CancelledError:
            done, after = replace(done, stopped=INTERRUPTED), None
        again = len(asked) - len({one.prompt for one in asked}) if planned.spoken else 0
        return done, None, after.since(before) if before and after else None, again

    def plan(rate: float, requests: int, attempt: int) -> Planned:
        return plan_at(asking, workload, rate, requests, seed + attempt)

    def seen_at(rate: float, requests: int) -> _ProgressLines:
        return _ProgressLines(requests, asking.quiet, f"{rate:.3g} requests/s: ")

    start = asking.rate or FIRST_RATE
    most = most_searched(asking, seed)
    search = await searched(target, plan, limits, asking.search, start, prompts, seen_at, most)
    return search.load, search, None, 0


def _wanted(asking: Asking) -> Wanted | None:
    """Return what the server will be compared with after the load, or None without ``--drift``.

    Raises UsageError if the text or the model does not exist, or the model is a file, which the baseline
    cannot read. A missing ``--model`` is reported where the engine is started.
    """
    name = asking.baseline or asking.model
    if asking.drift is None or name is None:
        return None
    check_text(asking.drift_text)
    if Path(name).is_file():
        raise UsageError(f"--drift compares with a model in float32, and {name} is a file: give --baseline")
    return Wanted(weights(name, gguf=False), name, asking.drift_text, asking.drift, cpu_count())


def _drift(asking: Asking, target: Target, directory: Path, wanted: Wanted) -> record.AnyDrift:
    """Compare the server with its model in float32, after the load.

    A failure here does not invalidate the load: its reason is recorded in place of the drift figures.
    """
    log = directory / "logs" / "baseline.log"
    try:
        log.parent.mkdir(exist_ok=True)
        return run(drift_of(target.settings, wanted, log, lambda line: tell(asking.quiet, line)))
    except (KeyboardInterrupt, InterruptedRun):
        return DriftFailed(INTERRUPTED)
    except (BenchError, OSError, ValueError, LookupError) as bad:
        key, said = target.settings.key, one_line(target.gone() or str(bad))[:REASON_LETTERS]
        return DriftFailed(key.hidden_in(said) if key else said)


def _head_of(asking: Asking, workload: WorkloadBlock, seed: int, begun: str) -> dict[str, Any]:
    own = {"workload": {"name": workload.name, **dict(workload.own)}} if workload.name in PEOPLE else {}
    return {
        "bench_version": __version__, "api": "chat" if asking.chat else "completions", "seed": seed,
        "input_tokens": asking.input_tokens, "output_tokens": asking.output_tokens,
        "timeout_s": asking.timeout, "retries": asking.retries, "warm_up": asking.warm_up,
        "processors": os.cpu_count(), **own, "started_utc": begun,
    }  # fmt: skip


class _ProgressLines:
    """Reports the progress of a load on standard error, after each tenth of the requests."""

    def __init__(self, requests: int, quiet: bool, before: str = "") -> None:
        self._requests, self._quiet, self._before = requests, quiet, before
        self._done = self._failed = 0

    def __call__(self, sample: Sample) -> None:
        self._done += 1
        self._failed += not sample.ok
        tenth = max(self._requests // 10, 1)
        if self._done % tenth == 0:
            failed = f", {self._failed} failed" if self._failed else ""
            tell(self._quiet, f"{self._before}{self._done} of {self._requests} requests{failed}")
