"""Define what a YAML may say, block by block, with the defaults. ``config/reader.py`` reads a file into them.

The blocks are pydantic models: frozen, with strict types, finite numbers within bounds, and no unknown keys.
The JSON Schema of ``bench schema`` is made from them, so editors and the checker agree.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bench.config.base import Block as Block
from bench.config.base import WithOwnKeys as WithOwnKeys
from bench.config.suite_reader import LmEvalBlock
from bench.formatting import MIB, parse_percent, parse_size

Dtype = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LONGEST_LIMIT_MS = 86_400_000.0  # of a request: a day
Wait = Annotated[float, Field(gt=0, le=LONGEST_LIMIT_MS, allow_inf_nan=False)]
Bound = Annotated[float, Field(allow_inf_nan=False)]
LEAST_MEMORY = 64 * MIB
LONGEST_WAIT_S = 7 * 86_400.0
MOST_INCREASE = 10.0  # a limit of +1000 % is the largest that makes sense
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class RuntimeBlock(WithOwnKeys):
    """The engine and how it computes. An engine may have keys of its own, by its file in bench/runtimes."""

    name: str = Field("transformers", description="engine: a file in bench/runtimes")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$", description="auto, cpu, cuda, cuda:N"
    )
    dtype: Dtype = Field("float32", description="weights and activations as loaded")
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; the engine's default if absent"
    )
    attention: Attention = Field("sdpa", description="attention implementation")
    task: Literal["embedding", "classification"] | None = Field(
        None, description="of an encoder; found from the checkpoint if absent"
    )
    python: str | None = Field(None, description="another interpreter to run this engine in")


class WorkloadBlock(WithOwnKeys):
    """The requests. A kind of workload may have further keys, given by its file in bench/workloads."""

    name: str = Field("chat", description="kind of load: a file in bench/workloads")
    requests: Count = Field(24, description="how many requests a pass has")
    output_tokens: int = Field(32, ge=2, le=131_072, description="tokens generated a request, exactly")
    batch_size: int = Field(1, ge=1, le=4096, description="requests decoded together")
    input_tokens: int | None = Field(None, ge=1, le=1_000_000, description="cut prompts to this length")
    file: str | None = Field(None, description="for workloads that read one: file, trace, data-set")
    warmup: int = Field(2, ge=1, le=6, description="repeats of the first request before anything is timed")


DEFAULT_HARDWARE = "cloud-2vcpu-8gb"


class PriceBlock(Block):
    """What an hour of the hardware costs."""

    hardware: str | None = Field(None, description="an id in configs/prices")
    usd_per_hour: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = Field(
        None, description="or a price of your own, of the whole machine"
    )
    vcpus: int | None = Field(
        None, ge=1, le=4096, description="vCPUs that usd_per_hour is for: a run is charged its share of them"
    )
    utilisation: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        1.0, description="share of paid hours spent serving"
    )

    @model_validator(mode="after")
    def _one_source(self) -> PriceBlock:
        if (self.hardware is None) == (self.usd_per_hour is None):
            raise ValueError("give either hardware (an id in configs/prices) or usd_per_hour")
        if self.vcpus is not None and self.usd_per_hour is None:
            raise ValueError("vcpus goes with usd_per_hour: a price file has its own")
        return self


class SloBlock(Block):
    """What a good request is: it meets every limit that is given."""

    ttft_ms: Wait | None = Field(None, description="most milliseconds to the first token")
    tpot_ms: Wait | None = Field(None, description="most milliseconds for a further token, on average")
    e2el_ms: Wait | None = Field(None, description="most milliseconds for the whole request")

    @property
    def limits(self) -> dict[str, float]:
        """Return the limits that are given, in ms by their name."""
        return {key: most for key, most in self.model_dump().items() if most is not None}

    @model_validator(mode="after")
    def _some_limit(self) -> SloBlock:
        if self.ttft_ms is None and self.tpot_ms is None and self.e2el_ms is None:
            raise ValueError("give ttft_ms, tpot_ms or e2el_ms")
        return self


class EnergyBlock(Block):
    """What is made from energy besides joules. Nothing of it is done unless it is given."""

    g_co2_per_kwh: Annotated[float, Field(ge=0, le=2000, allow_inf_nan=False)] | None = Field(
        None, description="grams of CO2 of a kWh from the grid; needs a date and a source"
    )
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = Field(
        None, description="the day on which the grid's factor held, YYYY-MM-DD"
    )
    source: Annotated[str, Field(min_length=1, max_length=300)] | None = Field(
        None, description="where the grid's factor is from"
    )
    pue: Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)] = Field(
        1.0, description="watts at the meter over the watts at the device, for CO2"
    )
    modelled_watts: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = Field(
        None, description="watts to model energy with where nothing counts it; labelled modelled"
    )

    @model_validator(mode="after")
    def _dated(self) -> EnergyBlock:
        if self.g_co2_per_kwh is None and self.modelled_watts is None:
            raise ValueError("give g_co2_per_kwh, modelled_watts or both")
        if self.g_co2_per_kwh is not None and (self.date is None or self.source is None):
            raise ValueError("g_co2_per_kwh goes with its date and source: the grid changes")
        if self.g_co2_per_kwh is None and (self.date, self.source, self.pue) != (None, None, 1.0):
            raise ValueError("date, source and pue are those of g_co2_per_kwh, which is missing")
        if self.date is not None:
            try:
                dt.date.fromisoformat(self.date)
            except ValueError:
                raise ValueError(f"{self.date} is no day") from None
        return self


class DriftBlock(Block):
    """How the difference between the variant's output and the baseline's is measured."""

    text: str = Field("mixed", description="evaluation text: a file in bench/texts, or a path to your own")
    tokens: int = Field(
        4096, ge=0, le=10_000_000, description="tokens scored, one window at least; 0 leaves drift out"
    )
    window: int = Field(
        256, ge=16, le=8192, description="tokens of context each prediction may have, at most"
    )
    suites: tuple[str | LmEvalBlock, ...] = Field(
        ("generation",), description="further comparisons: bench/drift/suites, and tasks of lm-eval"
    )
    statistics: tuple[str, ...] = Field((), description="further statistics: bench/drift/statistics")
    items: str | None = Field(None, description="JSONL: the items of suite 'own', or texts for encoders")


class MeasureBlock(Block):
    """How long and how carefully to measure."""

    processes: int = Field(
        4, ge=1, le=100, description="fresh pairs of processes a variant is compared with its baseline in"
    )
    max_half_width: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        0.025, description="add pairs until the 95 % interval of the cost ratio is this narrow (half of it)"
    )
    max_rounds: int = Field(3, ge=1, le=100, description="pairs at most: so many times `processes`")
    max_disturbance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        0.05,
        description="share of the processors that others may have; where it was more, a pass is repeated",
    )
    design: Literal["auto", "steps", "requests", "slices", "abba"] = Field(
        "auto",
        description="how both sides share the machine: in turns by token or by request, at the same time on "
        "one processor, or one process after the other; auto: requests on a GPU, else slices in a gate and "
        "steps in a run",
    )
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)] = Field(
        1800.0, description="longest wait for one answer of a worker"
    )
    seed: int = Field(0, ge=0, le=2**31, description="order of turns in the duet")
    probes: tuple[str, ...] = Field((), description="further things to measure: bench/probes")
    pin_client: bool = Field(
        True, description="servers that are started here: keep the client on a processor of its own"
    )
    memory_limit: str | None = Field(
        None, description="host memory that a worker may take for its data, such as 8GiB; no limit if absent"
    )

    @property
    def memory_bytes(self) -> int | None:
        """Return the memory limit in bytes; None without a limit."""
        return None if self.memory_limit is None else parse_size(self.memory_limit)

    @field_validator("memory_limit")
    @classmethod
    def _enough(cls, text: str | None) -> str | None:
        if text is not None and parse_size(text) < LEAST_MEMORY:
            raise ValueError(f"{text} is not enough to start a worker, give {LEAST_MEMORY // MIB}MiB or more")
        return text


class BuildBlock(Block):
    """How `bench gate --base COMMIT` makes an environment for each side. Each commit's own block is used."""

    directory: str | None = Field(
        None,
        description="the project in the repository; else the nearest above the config",
    )
    tool: Literal["auto", "pip", "uv"] = Field("auto", description="auto takes uv where there is a uv.lock")
    install: tuple[str, ...] | None = Field(
        None, description="arguments of pip install; else the lock file or requirements, then the package"
    )
    commands: tuple[str, ...] = Field((), description="shell commands to run first, in the project")
    inherit: Literal["tool", "all", "none"] = Field(
        "tool",
        description="packages below the side's own: this tool's engines, everything here, nothing",
    )

    @field_validator("directory")
    @classmethod
    def _inside(cls, text: str | None) -> str | None:
        if text is not None and (text.startswith("/") or ".." in text.split("/")):
            raise ValueError("must be a directory within the repository")
        return text


class LimitBlock(Block):
    """A limit of the gate on one figure."""

    max_increase: str | None = Field(None, description="most that it may be above the baseline, as 3%")
    max_decrease: str | None = Field(None, description="most that it may be below the baseline, as 2%")
    max: Bound | None = Field(None, description="largest value of the figure itself")
    min: Bound | None = Field(None, description="smallest value of the figure itself")

    @field_validator("max_increase", "max_decrease", mode="before")
    @classmethod
    def _share(cls, text: object, about: ValidationInfo) -> object:
        if isinstance(text, int | float):
            raise ValueError(f"write it with its unit, such as '{text}%'")
        most = MOST_INCREASE if about.field_name == "max_increase" else 1.0
        if isinstance(text, str) and not 0 <= parse_percent(text) <= most:
            raise ValueError(f"{text} is outside 0 % to {100 * most:g} %")
        return text

    @model_validator(mode="after")
    def _some_limit(self) -> LimitBlock:
        if all(value is None for value in (self.max_increase, self.max_decrease, self.max, self.min)):
            raise ValueError("give max, min, max_increase or max_decrease")
        return self
