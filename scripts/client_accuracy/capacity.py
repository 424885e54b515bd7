"""Find the highest rate at which a client sends on time, on one core: of this tool's and of its peers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from peer_serving.block import Job

from bench.bounded import tail as end_of
from bench.serving.client_overhead import tail
from bench.serving.prompts import by_words

LATE_MS, SLOWEST, FASTEST, BISECTIONS = 5.0, 2.0, 6400.0, 3
LOAD_S, LEAST, TOKENS = 3.0, 50, 128
OFFLINE = dict.fromkeys(
    ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "DO_NOT_TRACK"), "1"
)
Probe = dict[str, Any]


def requests_at(rate: float) -> int:
    """Return how many requests are sent at a rate: three seconds of them, at least 50."""
    return max(round(LOAD_S * rate), LEAST)


def searched(probe: Callable[[float], Probe], first: float) -> Probe:
    """Return the highest rate at which the p99 of the lateness is at most 5 ms, and all probes.

    The rate is doubled or halved from ``first``, then bisected three times: it is known within 9 %.
    """
    seen: list[Probe] = []

    def fine(rate: float) -> bool:
        begun = time.monotonic()
        found = {"rate": rate, **probe(rate), "wall_s": round(time.monotonic() - begun, 1)}
        seen.append(found)
        print(f"    {rate:7.1f} requests/s: {found}", flush=True)
        return found["sent"] == requests_at(rate) and bool(found["late_p99_ms"] <= LATE_MS)

    low = high = first
    if fine(first):
        while high < FASTEST and fine(high := 2 * low):
            low = high
    else:
        while low > SLOWEST and not fine(low := high / 2):
            high = low
    if low == high:  # beyond either end of what is looked at
        return {"requests_per_s": low if low >= FASTEST else 0.0, "probes": seen}
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fine(middle) else (low, middle)
    return {"requests_per_s": low, "probes": seen}


def late_p99_ms(starts: Sequence[float], rate: float) -> float:
    """Return the p99 of how late requests were sent. The schedule begins so that the most punctual is on
    time, which is the best for a client that does not say when it began."""
    offsets = [at - number / rate for number, at in enumerate(sorted(starts))]
    earliest = min(offsets)
    return tail(sorted(1e3 * (one - earliest) for one in offsets))


def peer(client: ModuleType, python: str, url: str, tokenizer: Path, rate: float) -> Probe:
    """Run a peer at a rate against the stub, and return how late it was."""
    requests, seed = requests_at(rate), time.monotonic_ns() % 10**9
    prompts = tuple(one.prompt for one in by_words([(8, TOKENS)] * requests, seed))
    with TemporaryDirectory() as place:
        job = Job(url, f"tokens={TOKENS}", tokenizer, prompts, 8, TOKENS, 0, seed, Path(place), rate)
        log = job.place / "client.log"
        here = {"HOME": place, "XDG_CACHE_HOME": place, "TMPDIR": place, "PATH": os.environ["PATH"]}
        with log.open("wb") as out:
            done = subprocess.run(
                client.command(python, job), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=place, env={**here, **OFFLINE}, timeout=900, check=False,
            )  # fmt: skip
        if done.returncode not in client.OK:
            said = end_of(log, 4000).decode(errors="replace")
            raise SystemExit(
                f"{client.NAME} ended with {done.returncode}; the rows until now are kept\n{said}"
            )
        starts = client.starts(job)
    late = round(late_p99_ms(starts, rate), 3) if starts else None
    return {"late_p99_ms": late, "sent": len(starts)}
