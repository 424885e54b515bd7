"""Define the options of `bench load`, and check which of them can be combined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import AsJson, Quiet, limits_of
from bench.errors import UsageError

USUAL_INPUT = "64"
USUAL_MOST_INPUT = 1024


@dataclass(frozen=True)
class Asking:
    """The options and arguments of the command line, unchanged."""

    target: Annotated[
        str,
        typer.Argument(
            metavar="URL|ENGINE|LOAD",
            help="an address, an engine to start, or the directory of an earlier load",
        ),
    ]
    model: Annotated[
        str | None, typer.Option(help="name of the model; for an engine a model card, a directory or a file")
    ] = None
    chat: Annotated[bool, typer.Option("--chat", help="ask /chat/completions instead of /completions")] = (
        False
    )
    users: Annotated[
        int | None, typer.Option(help="closed loop: this many users, who wait for their answers")
    ] = None
    rate: Annotated[float | None, typer.Option(help="open loop: requests a second")] = None
    burstiness: Annotated[float, typer.Option(help="with --rate: 1 is Poisson, below 1 there are bursts")] = (
        1.0
    )
    arrivals: Annotated[str, typer.Option(help="with --rate: poisson or constant")] = "poisson"
    at_once: Annotated[bool, typer.Option("--at-once", help="all requests at the start")] = False
    trace: Annotated[Path | None, typer.Option(help="replay a JSON-lines file of arrivals and lengths")] = (
        None
    )
    speed: Annotated[float, typer.Option(help="with --trace: replay it this many times as fast")] = 1.0
    data_set: Annotated[
        Path | None,
        typer.Option(help="with --users or --rate: prompts that people wrote (ShareGPT, messages, prompts)"),
    ] = None
    max_input_tokens: Annotated[int, typer.Option(help="with --data-set: longer prompts are skipped")] = (
        USUAL_MOST_INPUT
    )
    replies: Annotated[
        str, typer.Option(help="with --data-set: as long as recorded, or equal: all of --output-tokens")
    ] = "recorded"
    turns: Annotated[
        int | None,
        typer.Option(help="with --users: conversations of this many requests; each repeats those before it"),
    ] = None
    shared_tokens: Annotated[
        int, typer.Option(help="with --turns: tokens at the start that all conversations share")
    ] = 0
    pause_s: Annotated[
        float, typer.Option(help="with --turns: seconds between an answer and the next turn")
    ] = 0.0
    requests: Annotated[
        int | None, typer.Option(help="how many requests; if absent, 64 or the whole trace")
    ] = None
    input_tokens: Annotated[
        str, typer.Option(help="tokens of a prompt: 128, uniform:32-512, lognormal:128,0.8, file:PATH")
    ] = USUAL_INPUT
    output_tokens: Annotated[
        str, typer.Option(help="tokens of a reply, at most; written in the same ways")
    ] = "32"
    slo: Annotated[str, typer.Option(help="limits of a good request in ms: ttft:500,tpot:50,e2el:2000")] = ""
    search: Annotated[
        float | None, typer.Option(help="find the highest rate at which this share of requests is good")
    ] = None
    hardware: Annotated[
        str | None, typer.Option(help="id in configs/prices: what the server's machine costs")
    ] = None
    utilisation: Annotated[float, typer.Option(help="share of the time in which the machine is used")] = 1.0
    key_env: Annotated[str | None, typer.Option(metavar="NAME", help="the variable that holds the key")] = (
        None
    )
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86400, help="the longest time of one request, in seconds")
    ] = 600.0
    retries: Annotated[int, typer.Option(min=0, max=20, help="more attempts after 429, 5xx or a reset")] = 0
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="ask for exactly --output-tokens (vLLM, SGLang, llama.cpp)")
    ] = False
    warm_up: Annotated[int, typer.Option(min=0, max=1000, help="requests before the first that counts")] = 1
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**62, help="seed of arrivals and prompts; if absent, a new one"),
    ] = None
    python: Annotated[
        str | None, typer.Option(help="for an engine: the Python that has it, instead of its environment")
    ] = None
    port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="for an engine: its port; if absent, a free one"),
    ] = None
    engine_argument: Annotated[
        list[str] | None,
        typer.Option("--engine-argument", help="for an engine: one more argument; repeat it"),
    ] = None
    wait: Annotated[
        float,
        typer.Option(
            min=1, max=86400, help="for an engine: the longest time until it is healthy, in seconds"
        ),
    ] = 300.0
    drift: Annotated[
        int | None, typer.Option(min=32, max=100_000, help="compare the output on this many tokens of a text")
    ] = None
    drift_text: Annotated[str, typer.Option(help="a name of `bench list texts`, or a file")] = "english"
    baseline: Annotated[
        str | None, typer.Option(help="with --drift: the model to compare with; if absent, --model")
    ] = None
    pin: Annotated[bool, typer.Option(help="for an engine: keep the client on a processor of its own")] = True
    out: Annotated[Path, typer.Option(help="where the directory of the load is made")] = Path("results")
    as_json: AsJson = False
    quiet: Quiet = False

    @property
    def limits_ms(self) -> dict[str, float]:
        """Return the limits of a good request in milliseconds. Raises UsageError for an invalid ``--slo``."""
        from bench.metrics.requests import LIMITS

        return limits_of(self.slo, LIMITS)


def must_be_one_schedule(asking: Asking) -> None:
    """Raise UsageError unless the options name exactly one schedule and fit that schedule."""
    given = {
        "--users": asking.users is not None, "--rate": asking.rate is not None, "--at-once": asking.at_once,
        "--trace": asking.trace is not None,
    }  # fmt: skip
    limits_ms = asking.limits_ms
    if asking.requests is not None and asking.requests < 1:
        raise UsageError(f"--requests must be from 1 on, not {asking.requests}")
    named = [name for name, is_given in given.items() if is_given]
    if asking.search is not None:
        if named not in ([], ["--rate"]) or not limits_ms:
            raise UsageError("--search needs --slo, and --rate only says where it begins")
        if asking.requests is not None:
            raise UsageError("--search chooses the requests itself: as many as its confidence needs")
        if not 0 < asking.search < 1:
            raise UsageError(
                f"--search is a share of the requests, above 0 and below 1, not {asking.search:g}"
            )
        if asking.rate is not None and not asking.rate > 0:
            raise UsageError(f"--rate must be above 0, not {asking.rate:g}")
    elif len(named) != 1:
        raise UsageError(f"when do requests come? give one of {', '.join(given)}")
    if asking.arrivals not in ("poisson", "constant"):
        raise UsageError(f"--arrivals: {asking.arrivals!r:.40} is neither poisson nor constant")
    if asking.rate is None and (asking.burstiness != 1 or asking.arrivals != "poisson"):
        raise UsageError("--burstiness and --arrivals go with --rate")
    if asking.drift is None and asking.baseline is not None:
        raise UsageError("--baseline goes with --drift")
    if asking.drift is not None and "://" in asking.target and asking.baseline is None:
        raise UsageError("--drift compares with what? name the model that the server serves with --baseline")
    if asking.trace is None and asking.speed != 1:
        raise UsageError("--speed goes with --trace")
    if asking.arrivals == "constant" and asking.burstiness != 1:
        raise UsageError("constant arrivals have no burstiness")
    must_be_one_kind_of_prompts(asking)


def must_be_one_kind_of_prompts(asking: Asking) -> None:
    """Raise UsageError for options of a data set or of conversations that do not fit the other options."""
    own = asking.max_input_tokens, asking.replies
    if asking.data_set is None and own != (USUAL_MOST_INPUT, "recorded"):
        raise UsageError("--max-input-tokens and --replies go with --data-set")
    if asking.turns is None and (asking.shared_tokens, asking.pause_s) != (0, 0.0):
        raise UsageError("--shared-tokens and --pause-s go with --turns")
    if asking.replies not in ("recorded", "equal"):
        raise UsageError(f"--replies: {asking.replies!r:.40} is neither recorded nor equal")
    if asking.data_set is not None:
        if asking.turns is not None or asking.search is not None:
            raise UsageError("--data-set goes with neither --turns nor --search")
        if asking.users is None and asking.rate is None:
            raise UsageError("--data-set goes with --users or --rate")
        if asking.burstiness != 1 or asking.arrivals != "poisson":
            raise UsageError("--burstiness and --arrivals do not go with --data-set: its --rate is Poisson")
        if asking.input_tokens != USUAL_INPUT:
            raise UsageError(
                "--input-tokens does not go with --data-set, whose prompts have their own lengths; "
                "--max-input-tokens bounds them"
            )
        _must_be_one_length("--output-tokens", asking.output_tokens, "the most of a reply of a data set")
    if asking.turns is not None:
        if asking.users is None or asking.search is not None:
            raise UsageError("--turns goes with --users")
        _must_be_one_length("--input-tokens", asking.input_tokens, "what each turn adds")
        _must_be_one_length("--output-tokens", asking.output_tokens, "the reply of each turn")


def _must_be_one_length(option: str, given: str, what: str) -> None:
    if not given.isdecimal():
        raise UsageError(f"{option} is {what} here: a whole number, and no {given!r:.40}")
