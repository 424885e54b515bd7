"""Measure how far a server's output is from the model that it serves, over evenly spread windows of a text.

The baseline is that model in float32 in the transformers engine, in a child process. The server is asked for
its distribution after each prefix of a window. If it gives the whole vocabulary, the statistics are those of
two workers (``bench/drift``), and exact. If it gives the most likely tokens only, the KL is a lower bound.
If it gives none by their ids, what both write is compared (``text_drift.py``).
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bounded import keep_short, open_to_append, tail
from bench.drift import kl_and_perplexity as statistics
from bench.errors import BenchError, OnFailure, UsageError
from bench.formatting import one_line
from bench.machine.children import NOWHERE, SAFE, environment
from bench.machine.package_places import python_path
from bench.machine.proc import ending_with_parent
from bench.metrics.output_drift import KLD, KLD_MAX, PPL_RATIO, RMS, TOP1
from bench.records import DriftWindow, Json
from bench.serving.client import Settings, within
from bench.serving.distributions import Asker, Distribution, NoDistributions, Route, most_s, route_of
from bench.serving.greedy_replies import Said
from bench.serving.text_drift import TextDrift, said_by_both
from bench.stats.figure import Figures
from bench.texts import read_text

WINDOW, SAMPLE_LETTERS, REASON_LETTERS = 32, 400, 300  # tokens, and letters of two texts
PREFIXES = ("OMP_", "MKL_")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Drift:
    """What was compared, and the values of each position. ``top`` tokens of the server's distribution are
    known; None means all, so that every figure is exact. ``tokenizer`` says whether both sides were seen to
    cut a text in the same way."""

    baseline: str
    text: str
    route: str
    top: int | None
    tokenizer: str
    windows: tuple[DriftWindow, ...]

    def figures(self) -> Figures:
        """Return the drift by the keys of METRICS; None where the server does not tell enough."""
        seen = self.windows
        notes = {"n": sum(len(one.kld) for one in seen), "windows": len(seen), "window": WINDOW,
                 "text": self.text, "top": self.top}  # fmt: skip
        known = all(None not in one.ln_p_variant for one in seen)
        return {
            KLD.key: KLD.scalar(statistics.mean_kl(seen), **notes),
            KLD_MAX.key: KLD_MAX.scalar(statistics.kl_quantile(seen, 1.0), **notes),
            TOP1.key: TOP1.scalar(statistics.top1_agreement(seen), **notes),
            PPL_RATIO.key: PPL_RATIO.scalar(statistics.perplexity_ratio(seen), **notes) if known else None,
            RMS.key: RMS.scalar(statistics.rms_delta_p(seen), **notes) if known else None,
        }

    def how(self) -> Json:
        """Return what was compared, without the values."""
        return {key: value for key, value in vars(self).items() if key != "windows"}

    @property
    def sentence(self) -> str:
        """Say for people what the figures are worth."""
        few = f"the {self.top} likeliest tokens: a lower bound"
        known = "the whole vocabulary" if self.top is None else few
        return f"against {self.baseline} in float32, {self.route} over {known}"

    def to_json(self) -> Json:
        """Return it as it stands in the journal."""
        return {**vars(self), "windows": [_plain(one) for one in self.windows]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Drift:
        """Read back what ``to_json`` wrote."""
        names = ("baseline", "text", "route", "top", "tokenizer")
        rows: list[dict[str, Any]] = [
            {key: tuple(values) for key, values in one.items()} for one in found["windows"]
        ]
        return cls(**{name: found[name] for name in names}, windows=tuple(DriftWindow(**row) for row in rows))


@dataclass(frozen=True)
class Wanted:
    """The baseline's directory and name, the text, how many tokens of it, and the baseline's threads."""

    directory: Path
    name: str
    text: str
    tokens: int
    threads: int


async def drift_of(settings: Settings, wanted: Wanted, log: Path, say: Say) -> Drift | TextDrift:
    """Compare a server with its baseline: by its distributions, or by what it writes if it gives none.

    Raises UsageError for a text that is too short, and BenchError if a request fails.
    """
    text = read_text(wanted.text)
    async with _Baseline(wanted, text, log) as baseline:
        try:
            return await _by_distributions(settings, wanted, text, baseline, say)
        except NoDistributions as bad:
            why = one_line(str(bad))[:REASON_LETTERS]

        async def write(prompt: str) -> Said:
            return await baseline.written(prompt, chat=settings.api == "chat")

        said = await said_by_both(settings, text, max(wanted.tokens // WINDOW, 1), WINDOW, write, say)
        return TextDrift(wanted.name, wanted.text, WINDOW, why, said)


async def _by_distributions(
    settings: Settings, wanted: Wanted, text: str, baseline: _Baseline, say: Say
) -> Drift:
    """Compare both distributions over some windows of the text.

    Raises NoDistributions if the server gives none, or if the two cut a text into different tokens.
    """
    asker = Asker(settings.server, settings.model, settings.key)
    starts = statistics.window_starts(baseline.tokens, WINDOW, wanted.tokens)
    if not starts:
        raise UsageError(f"the text {wanted.text} has {baseline.tokens} tokens, and a window has {WINDOW}")
    async with within(most_s(WINDOW * len(starts)), f"the drift of {len(starts)} windows"):
        tokenizer = await _same_tokens(asker, text[:SAMPLE_LETTERS], baseline.sample)
        route, windows = await _windows(asker, baseline, starts, say)
    return Drift(wanted.name, wanted.text, route.name, route.top, tokenizer, tuple(windows))


async def _windows(
    asker: Asker, baseline: _Baseline, starts: Sequence[int], say: Say
) -> tuple[Route, list[DriftWindow]]:
    """Compare both distributions in the windows that begin at ``starts``."""
    windows: list[DriftWindow] = []
    route = await route_of(asker, baseline.vocabulary, (await baseline.window(starts[0]))[:2])
    for number, start in enumerate(starts, start=1):
        ids = await baseline.window(start)
        given = [await route.ask(ids[:length]) for length in range(1, len(ids))]
        found, exact = await baseline.compared(given)
        if exact != (route.top is None):
            raise BenchError("the server gave the whole vocabulary for some prompts and not for others")
        windows.append(found)
        so_far = statistics.mean_kl(windows).value
        say(f"drift: {number} of {len(starts)} windows, mean KL {so_far:.3g} nat so far")
    return route, windows


async def _same_tokens(asker: Asker, text: str, of_reference: Sequence[int]) -> str:
    """Hold the server's tokenizer against the baseline's. Raises NoDistributions if they differ."""
    try:
        of_server = await asker.tokens(text)
    except BenchError:
        return "not checked: the server has no /tokenize"
    if of_server is None:
        return "not checked: /tokenize returned no tokens"
    if of_server != list(of_reference):
        raise NoDistributions("the server cuts a text into other tokens than the baseline")
    return "the same on a sample of the text"


class _Baseline:
    """The child that has the baseline's model.

    It has a session of its own, because a terminal sends Ctrl-C to everything in its foreground. Its answers
    are awaited in a thread: an interrupt then ends the waiting at once, and with it the child.
    """

    def __init__(self, wanted: Wanted, text: str, log: Path) -> None:
        self._wanted, self._text, self._log = wanted, text, log

    async def __aenter__(self) -> _Baseline:
        threads = str(self._wanted.threads)
        with open_to_append(self._log) as out:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.worker.external_logprobs"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, cwd=NOWHERE,
                env=environment(*PREFIXES) | SAFE | OFFLINE | python_path() | {"OMP_NUM_THREADS": threads},
                start_new_session=True, preexec_fn=ending_with_parent(signal.SIGKILL),
            )  # fmt: skip
        with OnFailure(self._end):
            await self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()

    async def _begin(self) -> None:
        found = await self._ask({
            "directory": str(self._wanted.directory), "runtime": "bench.runtimes.transformers",
            "text": self._text, "sample": self._text[:SAMPLE_LETTERS], "threads": self._wanted.threads,
        })  # fmt: skip
        self.tokens, self.vocabulary = int(found["tokens"]), int(found["vocabulary"])
        self.sample: list[int] = found["sample"]

    async def window(self, start: int) -> list[int]:
        """Return the token ids of a window, which ``compared`` then means."""
        return list((await self._ask({"start": start, "window": WINDOW}))["ids"])

    async def compared(self, given: Sequence[Distribution]) -> tuple[DriftWindow, bool]:
        """Return the values of the window, and whether the whole vocabulary was compared."""
        parts = [array("i", one).tobytes() + array("f", one.values()).tobytes() for one in given]
        found = await self._ask({"sizes": [len(one) for one in given]}, b"".join(parts))
        exact = bool(found.pop("exact"))
        values: dict[str, Any] = {key: tuple(one) for key, one in found.items()}
        return DriftWindow(**values), exact

    async def written(self, prompt: str, *, chat: bool) -> Said:
        """Return the greedy reply to a prompt, in the chat template if asked for."""
        found = await self._ask({"prompt": prompt, "chat": chat, "tokens": WINDOW})
        return Said(str(found["text"]).strip(), cut=bool(found["cut"]))

    async def _ask(self, message: Mapping[str, object], data: bytes = b"") -> dict[str, Any]:
        if not (line := await asyncio.to_thread(self._answer, json.dumps(message).encode() + b"\n" + data)):
            last = tail(self._log, 2048).decode(errors="replace").strip().rpartition("\n")[2]
            raise BenchError(f"the baseline's process ended: {one_line(last)[:300]}")
        keep_short(self._log)
        found: dict[str, Any] = json.loads(line)
        return found

    def _answer(self, asked: bytes) -> bytes:
        """Send a request and return the line of its answer, or nothing if the child has ended."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(asked)
            self._child.stdin.flush()
            return self._child.stdout.readline()
        return b""


def _plain(one: DriftWindow) -> dict[str, Any]:
    return {key: list(values) for key, values in vars(one).items() if key not in ("more", "kinds")}
