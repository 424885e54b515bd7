"""Put a server under load by a schedule, and keep what happened to each request."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.errors import InterruptedRun, UsageError
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.serving.alarm import LEAD_NS, Alarm, asleep_until
from bench.serving.arrivals import ClosedLoop, OpenLoop, Schedule
from bench.serving.client import Client, Settings
from bench.serving.client_overhead import Watch
from bench.serving.reply import Asked

MOST_IN_FLIGHT = 8192
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # signals that end a run
INTERRUPTED = "it was interrupted"
TO_DIE_S = 0.1  # a server that dies resets its connections first
Progress = Callable[[Sample], None]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Load:
    """What a load was: its requests in the order of their numbers, the client itself, and why it stopped
    before its end ('' if it did not)."""

    samples: tuple[Sample, ...]
    client: ClientOverhead
    stopped: str = ""

    @property
    def invalid(self) -> tuple[str, ...]:
        """Say why nothing may be concluded from it."""
        return (*self.client.reasons(), *([self.stopped] if self.stopped else []))


def run(work: Coroutine[object, object, Answer]) -> Answer:
    """Run the client's work in the fastest event loop there is (uvloop if it is installed).

    A signal that ends the run may be noticed in the middle of the loop, which reports what its callbacks
    raise and goes on. So the work is cancelled here, and InterruptedRun is raised when it has ended.
    """
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        from uvloop import new_event_loop
    signals: list[InterruptedRun] = []

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        bad = context.get("exception")
        if not isinstance(bad, InterruptedRun):
            return loop.default_exception_handler(context)
        signals.append(bad)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        return None

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.get_loop().set_exception_handler(heard)
        try:
            answer = runner.run(work)
        except asyncio.CancelledError:
            if not signals:
                raise
    if signals:
        raise signals[0]
    return answer


async def load(
    settings: Settings, schedule: Schedule, asked: Sequence[Asked], seen: Progress | None = None,
    gone: Callable[[], str] = lambda: "",
) -> Load:  # fmt: skip
    """Send ``asked`` by ``schedule``. ``seen`` is called after each request.

    ``gone`` is asked after each failed request: if it says why no server is there any more, no further
    request is sent, and the load says so.
    Ctrl-C ends it in the same way. Raises UsageError if there are not as many prompts as requests.
    """
    if len(asked) != schedule.requests:
        raise UsageError(f"{len(asked)} prompts for {schedule.requests} requests")
    driver = _Driver(Client(settings), asked, seen, gone)
    watch = Watch()
    with _no_collection():
        watch.start()
        try:
            if isinstance(schedule, ClosedLoop):
                await driver.closed(schedule)
            else:
                await driver.open(schedule)
        except asyncio.CancelledError:  # Ctrl-C: what has ended until now is kept
            driver.stopped = INTERRUPTED
        finally:
            driver.client.close()
            client = watch.stop(driver.samples)
    samples = sorted(driver.samples, key=lambda one: one.number)
    return Load(tuple(samples), client, driver.stopped)


class _Driver:
    def __init__(
        self, client: Client, asked: Sequence[Asked], seen: Progress | None, gone: Callable[[], str]
    ) -> None:
        self.client, self.asked, self.seen, self.gone = client, asked, seen, gone
        self.samples: list[Sample] = []
        self.stopped = ""

    async def one(self, number: int, scheduled_ns: int | None) -> None:
        sample = await self.client.send(number, self.asked[number], scheduled_ns)
        self.samples.append(sample)
        if self.seen is not None:
            self.seen(sample)
        if not sample.ok and not self.stopped:
            if sample.http_status is None:
                await asyncio.sleep(TO_DIE_S)
            self.stopped = self.stopped or self.gone()

    async def closed(self, schedule: ClosedLoop) -> None:
        """Let each user send the next request as soon as the last answer is complete: s = a.

        The turns of a conversation are sent by one user, after a pause if one was asked for.
        """
        conversations = iter(range(0, schedule.requests, schedule.turns))

        async def user() -> None:
            for first in conversations:
                for number in range(first, min(first + schedule.turns, schedule.requests)):
                    if number > first and schedule.pause_s:
                        await asleep_until(time.monotonic_ns() + round(schedule.pause_s * 1e9))
                    await self.one(number, None)
                    if self.stopped:
                        return

        async with asyncio.TaskGroup() as users:
            for _ in range(min(schedule.users, schedule.requests)):
                users.create_task(user())

    async def open(self, schedule: OpenLoop) -> None:
        """Send each request at its time, whatever became of those before it."""
        alarm, begun_ns = Alarm(), time.monotonic_ns() + LEAD_NS
        running: set[asyncio.Task[None]] = set()
        try:
            for number, at_s in enumerate(schedule.times_s):
                due_ns = begun_ns + round(at_s * 1e9)
                await alarm.until(due_ns - LEAD_NS)  # the request is made meanwhile
                if len(running) >= MOST_IN_FLIGHT and not self.stopped:
                    self.stopped = f"{MOST_IN_FLIGHT} requests were without an answer: nothing more was sent"
                if self.stopped:
                    break
                task = asyncio.ensure_future(self.one(number, due_ns))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)
        finally:
            alarm.close()
            for task in running:
                task.cancel()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage now and not within the measurement: a collection holds every stream up.

    A signal waits for that, which takes less than a second: Python drops what is raised in a finaliser.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        gc.collect()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
