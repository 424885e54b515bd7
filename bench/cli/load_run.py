"""What `bench load` does: find or start the server, make prompts, send them, write the directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.load_options import Asking, must_be_one_schedule
from bench.cli.load_target import Target, target_of, tell, weights
from bench.errors import BenchError
from bench.machine.devices import cpu_count
from bench.measure.clock import utc_now
from bench.pricing.reprice import price_block
from bench.runs.run import new_directory
from bench.serving import record
from bench.serving.address import address, key_of
from bench.serving.arrivals import ClosedLoop, Schedule, at_once, constant, gamma, poisson
from bench.serving.cache_hits import Hits, hits_of
from bench.serving.client import Client
from bench.serving.connection import must_be_installed
from bench.serving.distributions import Asker
from bench.serving.drift import Drift, Wanted, drift_of
from bench.serving.engines import adapter_called
from bench.serving.figures import Limits
from bench.serving.lengths import lengths
from bench.serving.load import Load, load, run
from bench.serving.prompts import by_tokens, by_words, tokenizer_of
from bench.serving.reply import Asked
from bench.serving.samples import Sample
from bench.serving.search import Capacity, highest_rate
from bench.serving.traces import read_trace

if TYPE_CHECKING:
    from bench.serving.record import Result

Lengths = tuple[tuple[int, int], ...]
USUAL_REQUESTS = 64
FIRST_RATE = 1.0


def measured(asking: Asking) -> tuple[Result, Path]:
    """Measure, and return the result with its directory. Whatever can be refused is refused before that."""
    must_be_one_schedule(asking)
    must_be_installed()
    seed = secrets.randbits(32) if asking.seed is None else asking.seed
    schedule, wanted = _schedule(asking, seed)
    price = (
        price_block(asking.hardware, None, asking.utilisation, utc_now()[:10]) if asking.hardware else None
    )
    by_address = "://" in asking.target
    server = address(asking.target) if by_address else None
    key = key_of(asking.key_env, server) if server else None
    if not by_address:
        adapter_called(asking.target)
    directory = new_directory(
        asking.out, f"load-{asking.target.partition('://')[0] if by_address else asking.target}"
    )
    limits, begun = Limits(asking.slo), utc_now()
    with _none_left_empty(directory), target_of(asking, key, directory) as target:
        done, found, hits = run(_measured(asking, target, schedule, wanted, seed, limits))
        drift = run(_drift(asking, target, directory)) if asking.drift and not done.stopped else None
        head = {**target.head, **_what(asking, seed), "started_utc": begun, "finished_utc": utc_now()}
    if hits is not None:
        head["prefix_cache"] = hits.to_json()
    if target.server is not None and target.server.parting:
        head["left_behind"] = target.server.parting
    if found is not None:
        head["search"] = _plain(found)
    head = {"schedule": _title(asking, schedule, found), **head}
    result = record.result(head, done, limits, price, drift)
    record.write(directory, result, utc_now, key)
    return result, directory


@contextmanager
def _none_left_empty(directory: Path) -> Iterator[None]:
    """Remove the directory again if nothing was written into it: no server was started, none answered."""
    try:
        yield
    except BaseException:
        for one in (directory / "logs", directory):
            with suppress(OSError):
                one.rmdir()
        raise


def again(asking: Asking) -> Result:
    """Compute an earlier load again from its journal, with other limits or another price if given."""
    head, done, limits, price, drift = record.read(Path(asking.target))
    if asking.hardware:
        price = price_block(asking.hardware, None, asking.utilisation, utc_now()[:10])
    return record.result(head, done, Limits(asking.slo or limits), price, drift)


async def _measured(
    asking: Asking, target: Target, schedule: Schedule, each: Lengths, seed: int, limits: Limits
) -> tuple[Load, Capacity | None, Hits | None]:
    count = await tokenizer_of(target.settings.server, target.settings.model, target.settings.key)
    number = 0

    async def prompts(wanted: Lengths) -> list[Asked]:
        nonlocal number
        number += 1
        mixed = (seed << 16) + number  # the prompts of a second load are new ones too
        return by_words(wanted, mixed) if count is None else await by_tokens(wanted, mixed, count)

    await _warm_up(target, await prompts(each[:1] * asking.warm_up))
    if asking.search is None:
        seen, asked = _Seen(schedule.requests, asking.quiet), await prompts(each)
        server, key = target.settings.server, target.settings.key
        before = await hits_of(server, key)
        one_load = await load(target.settings, schedule, asked, seen, target.gone)
        after = await hits_of(server, key) if before and not one_load.stopped else None
        return one_load, None, after.since(before) if before and after else None
    last: list[Load] = []

    async def attempt(rate: float, requests: int) -> Load:
        now = replace(asking, rate=rate, requests=requests)
        one, wanted = _schedule(now, seed + len(last))
        seen = _Seen(requests, asking.quiet, f"{rate:.3g} requests/s: ")
        last.append(await load(target.settings, one, await prompts(wanted), seen, target.gone))
        return last[-1]

    found = await highest_rate(attempt, limits, asking.search, asking.rate or FIRST_RATE)
    best = [at for at, step in enumerate(found.steps) if step.found == "holds" and step.rate == found.holds]
    return last[best[-1] if best else -1], found, None


async def _drift(asking: Asking, target: Target, directory: Path) -> Drift:
    """Compare the server, when the load is over, with its model in float32."""
    name = asking.baseline or asking.model
    assert name is not None
    assert asking.drift is not None
    wanted = Wanted(weights(name, gguf=False), name, asking.drift_text, asking.drift, cpu_count())
    how = target.settings
    log = directory / "logs" / "baseline.log"
    log.parent.mkdir(exist_ok=True)
    asker = Asker(how.server, how.model, how.key)
    return await drift_of(asker, wanted, log, lambda line: tell(asking.quiet, line))


async def _warm_up(target: Target, prompts: list[Asked]) -> None:
    """Send requests that do not count. Raises BenchError if the first of them fails: the others would too."""
    client = Client(target.settings)
    try:
        for number, asked in enumerate(prompts):
            one = await client.send(number, asked)
            if not one.ok:
                raise BenchError(
                    f"{target.settings.server.url}: the warm-up failed: {target.gone() or one.reason}"
                )
    finally:
        client.close()


def _schedule(asking: Asking, seed: int) -> tuple[Schedule, Lengths]:
    """Return when requests come, and the input and output tokens of each."""
    n = USUAL_REQUESTS if asking.requests is None else asking.requests
    if asking.trace is not None:
        found = read_trace(asking.trace, asking.requests, asking.speed)
        return found.schedule, found.lengths
    drawn = lengths(asking.input_tokens, n, seed), lengths(asking.output_tokens, n, seed + 1)
    each = tuple(zip(*drawn, strict=True))
    if asking.users is not None:
        return ClosedLoop(asking.users, n), each
    if asking.at_once:
        return at_once(n), each
    rate = FIRST_RATE if asking.rate is None else asking.rate
    if asking.arrivals == "constant":
        return constant(rate, n), each
    one = poisson(rate, n, seed) if asking.burstiness == 1 else gamma(rate, asking.burstiness, n, seed)
    return one, each


def _what(asking: Asking, seed: int) -> dict[str, Any]:
    return {
        "bench_version": __version__, "api": "chat" if asking.chat else "completions", "seed": seed,
        "input_tokens": asking.input_tokens, "output_tokens": asking.output_tokens,
        "timeout_s": asking.timeout_s, "retries": asking.retries, "warm_up": asking.warm_up,
        "processors": os.cpu_count(),
    }  # fmt: skip


def _title(asking: Asking, schedule: Schedule, found: Capacity | None) -> str:
    if found is None:
        return schedule.title
    return f"search for the highest rate at which {found.share:.1%} of the requests are good"


def _plain(found: Capacity) -> dict[str, Any]:
    return {**vars(found), "steps": [vars(step) for step in found.steps]}


class _Seen:
    """Say on standard error how far a load is, in tenths."""

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
