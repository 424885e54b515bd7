"""What the options of `bench load` say, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError


@dataclass(frozen=True)
class Asking:
    """What the options of the command say, as they came."""

    target: str
    model: str | None
    chat: bool
    users: int | None
    rate: float | None
    burstiness: float
    arrivals: str
    at_once: bool
    trace: Path | None
    speed: float
    requests: int | None
    input_tokens: str
    output_tokens: str
    slo: dict[str, float]
    search: float | None
    hardware: str | None
    utilisation: float
    key_env: str | None
    timeout_s: float
    retries: int
    ignore_eos: bool
    warm_up: int
    seed: int | None
    python: str | None
    port: int | None
    engine_arguments: tuple[str, ...]
    wait_s: float
    out: Path
    quiet: bool
    drift: int | None = None
    drift_text: str = "english"
    baseline: str | None = None
    pin: bool = True


def must_be_one_schedule(asking: Asking) -> None:
    """Raise UsageError unless the options name exactly one schedule, and options that go with it."""
    given = {
        "--users": asking.users is not None, "--rate": asking.rate is not None, "--at-once": asking.at_once,
        "--trace": asking.trace is not None,
    }  # fmt: skip
    named = [name for name, is_there in given.items() if is_there]
    if asking.search is not None:
        if named not in ([], ["--rate"]) or not asking.slo:
            raise UsageError("--search needs --slo, and --rate only says where it begins")
        if asking.requests is not None:
            raise UsageError("--search chooses the requests itself: as many as its confidence needs")
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
