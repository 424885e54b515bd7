"""The command `bench load`: a server under load, started here or given by its address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.options import AsJson, Quiet, limits_of
from bench.errors import ExitCode


@app.command()
def load(
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL|ENGINE|LOAD",
            help="an address, an engine to start, or the directory of an earlier load",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="name of the model; for an engine a model card, a directory or a file")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="ask /chat/completions instead of /completions")
    ] = False,
    users: Annotated[
        int | None, typer.Option(help="closed loop: this many users, who wait for their answers")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="open loop: requests a second")] = None,
    burstiness: Annotated[
        float, typer.Option(help="with --rate: 1 is Poisson, below 1 there are bursts")
    ] = 1.0,
    arrivals: Annotated[str, typer.Option(help="with --rate: poisson or constant")] = "poisson",
    at_once: Annotated[bool, typer.Option("--at-once", help="all requests at the start")] = False,
    trace: Annotated[
        Path | None, typer.Option(help="replay a JSON-lines file of arrivals and lengths")
    ] = None,
    speed: Annotated[float, typer.Option(help="with --trace: how many times as fast")] = 1.0,
    requests: Annotated[
        int | None, typer.Option(help="how many requests; if absent, 64 or the whole trace")
    ] = None,
    input_tokens: Annotated[
        str, typer.Option(help="tokens of a prompt: 128, uniform:32-512, lognormal:128,0.8, file:PATH")
    ] = "64",
    output_tokens: Annotated[
        str, typer.Option(help="tokens of a reply, at most; written in the same ways")
    ] = "32",
    slo: Annotated[str, typer.Option(help="limits of a good request in ms: ttft:500,tpot:50,e2el:2000")] = "",
    search: Annotated[
        float | None, typer.Option(help="find the highest rate at which this share of requests is good")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="id in configs/prices: what the server's machine costs")
    ] = None,
    utilisation: Annotated[float, typer.Option(help="share of the time in which the machine is used")] = 1.0,
    key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="the variable that holds the key")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86400, help="the longest time of one request, in seconds")
    ] = 600.0,
    retries: Annotated[int, typer.Option(min=0, max=20, help="more attempts after 429, 5xx or a reset")] = 0,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="ask for exactly --output-tokens (vLLM, SGLang, llama.cpp)")
    ] = False,
    warm_up: Annotated[int, typer.Option(min=0, max=1000, help="requests before the first that counts")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="seed of arrivals and prompts; if absent, a new one")
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="for an engine: the Python that has it, instead of its environment")
    ] = None,
    port: Annotated[int | None, typer.Option(help="for an engine: its port; if absent, a free one")] = None,
    engine_argument: Annotated[
        list[str] | None,
        typer.Option("--engine-argument", help="for an engine: one more argument; repeat it"),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=1, max=86400, help="for an engine: the longest time until it is healthy, in seconds"
        ),
    ] = 300.0,
    drift: Annotated[
        int | None, typer.Option(min=32, max=100_000, help="compare the output on this many tokens of a text")
    ] = None,
    drift_text: Annotated[str, typer.Option(help="a name of `bench list texts`, or a file")] = "english",
    baseline: Annotated[
        str | None, typer.Option(help="with --drift: the model to compare with; if absent, --model")
    ] = None,
    pin: Annotated[
        bool, typer.Option(help="for an engine: keep the client on a processor of its own")
    ] = True,
    out: Annotated[Path, typer.Option(help="where the directory of the load is made")] = Path("results"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put an OpenAI-compatible server under load, and price a request that met its limits.

    The client measures itself: a load in which it was the bottleneck is invalid, and exits with 5.
    """
    from bench.cli import load_pages, load_run
    from bench.cli.load_options import Asking
    from bench.cli.output import Verdict
    from bench.metrics.requests import LIMITS
    from bench.serving.load import INTERRUPTED

    asking = Asking(
        target, model, chat, users, rate, burstiness, arrivals, at_once, trace, speed, requests, input_tokens,
        output_tokens, limits_of(slo, LIMITS), search, hardware, utilisation, key_env, timeout, retries,
        ignore_eos, warm_up, seed, python, port, tuple(engine_argument or ()), wait, out, quiet,
        drift, drift_text, baseline, pin,
    )  # fmt: skip
    if Path(target).is_dir():
        done, directory = load_run.again(asking), Path(target)
    else:
        done, directory = load_run.measured(asking)
    print(json.dumps(done.to_json(), indent=1) if as_json else load_pages.page(done, directory))
    if done.load.stopped == INTERRUPTED and not Path(target).is_dir():
        raise Verdict(ExitCode.INTERRUPTED)
    raise Verdict(ExitCode.FAILED if done.reasons else ExitCode.OK)
