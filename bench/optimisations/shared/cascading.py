"""Define the settings that every cascade has: the edge model with its price, the link, and the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from bench.engine.confidence import LearningRule, Rule
from bench.errors import UsageError
from bench.link import LinkSettings
from bench.records.json_form import Json

Dtype = Literal["float32", "bfloat16", "float16"]
LEAST_USD, MOST_USD = 1e-9, 1000.0  # of an hour; the least is the power of a few microwatts
MOST_SCORE = 1000.0  # nats: a model whose scores are infinite in theory never gets near
LEAST_USD_PER_1M, MOST_USD_PER_1M = 1e-4, 1e5
NO_LINK = LinkSettings()
COMMON = ("edge", "threshold", "link", "egress_usd_per_gb", "cloud")  # settings of every rule
A_DEVICE = {"model": "smollm2-135m", "usd_per_hour": 0.01}


@dataclass(frozen=True)
class Edge:
    """The block ``edge``: ``model`` is a name in models/ or the path of a directory, ``optimise`` what is
    done to it, and ``dtype`` and ``threads`` replace those of the row. The device costs ``usd_per_hour``, and
    ``watts`` at ``usd_per_kwh`` where its power is billed apart. One of the two must be given: no device is
    free."""

    model: str
    usd_per_hour: float = 0.0
    watts: float | None = None
    usd_per_kwh: float | None = None
    optimise: tuple[Any, ...] = ()
    dtype: Dtype | None = None
    threads: int | None = None

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("usd_per_hour", "watts", "usd_per_kwh"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MOST_USD:
                raise ValueError(f"{name} must be 0 to {MOST_USD:g}, not {value:g}")
        if (self.watts is None) != (self.usd_per_kwh is None):
            raise ValueError("watts and usd_per_kwh go together")
        if self.hourly_usd < LEAST_USD:
            raise ValueError("usd_per_hour must be above 0, or watts with usd_per_kwh: no device is free")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise ValueError("threads must be 1 to 1024")

    @property
    def hourly_usd(self) -> float:
        """Return the dollars of an hour in which the device works, power included."""
        return self.usd_per_hour + self.power_usd_per_hour

    @property
    def power_usd_per_hour(self) -> float:
        """Return the dollars of power of an hour in which the device works."""
        return (self.watts or 0.0) * (self.usd_per_kwh or 0.0) / 1000

    def __str__(self) -> str:
        steps = "".join(f" + {getattr(step, 'label', step)}" for step in self.optimise)
        return f"{self.model}{steps} at {self.hourly_usd:g} USD/h"


@dataclass(frozen=True)
class Cloud:
    """The block ``cloud``: a server of the OpenAI kind answers in the place of the row's own model. ``url``
    is its address and ``model`` its name for the model, ``api`` which of its two endpoints is asked. A token
    costs what ``price`` bills, a ``provider/model`` of genai-prices, or ``usd_per_1m_input`` and
    ``usd_per_1m_output``: no answer is free. ``key_env`` is the variable that holds the key, if the server
    wants one. ``timeout_s`` is the most seconds of a request."""

    url: str
    model: str
    api: Literal["chat", "completions"] = "chat"
    price: str | None = None
    usd_per_1m_input: float | None = None
    usd_per_1m_output: float | None = None
    timeout_s: float = 60.0
    key_env: str | None = None

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        given = (self.usd_per_1m_input, self.usd_per_1m_output)
        if (self.price is None) == (given == (None, None)) or (None in given and given != (None, None)):
            raise ValueError("give either price, or usd_per_1m_input and usd_per_1m_output")
        if any(usd is not None and not LEAST_USD_PER_1M <= usd <= MOST_USD_PER_1M for usd in given):
            bounds = f"{LEAST_USD_PER_1M:g} to {MOST_USD_PER_1M:g}"
            raise ValueError(f"a price of a million tokens must be {bounds}; is it that of one token?")
        if not 0 < self.timeout_s <= 3600:
            raise ValueError("timeout_s must be above 0 and at most an hour")
        if not 0 < len(self.model) <= 300 or not self.model.isprintable():
            raise ValueError("model must be a name of 1 to 300 letters")

    def __str__(self) -> str:
        usd = self.price or f"{self.usd_per_1m_input:g} + {self.usd_per_1m_output:g} USD/1M tokens"
        return f"{self.model} at {self.url} for {usd}"


@dataclass(frozen=True)
class CascadeParams:
    """``edge`` is the small model. ``link`` is the network between it and the large model, which delays;
    bytes that leave the cloud cost ``egress_usd_per_gb``, 0 if nothing is billed for them. With ``cloud`` a
    server answers in the place of the large model, over the network that is there."""

    rule: ClassVar[Rule]  # of the scheme, whose settings are a subclass
    edge: Edge
    threshold: float
    link: LinkSettings = NO_LINK
    egress_usd_per_gb: float = 0.0
    cloud: Cloud | None = None

    def __init_subclass__(cls) -> None:
        """Raise UsageError if the rule of a scheme is not whole: its configs would fail later."""
        if wrong := _fault(getattr(cls, "rule", None)):
            raise UsageError(f"{cls.__module__}: {wrong}")

    def __post_init__(self) -> None:
        self._must_fit_a_server()
        if not 0 <= self.egress_usd_per_gb <= MOST_USD:
            raise ValueError(f"egress_usd_per_gb must be 0 to {MOST_USD:g}, not {self.egress_usd_per_gb:g}")
        low, high = max(self.rule.range[0], -MOST_SCORE), min(self.rule.range[1], MOST_SCORE)
        if not low <= self.threshold <= high:
            words = f"{low:g} to {high:g}"
            raise ValueError(f"threshold must be {words}, not {self.threshold:g}: no score is beyond it")

    def _must_fit_a_server(self) -> None:
        """Raise ValueError for what does not go with a server in the place of the large model."""
        if self.cloud is None:
            return
        if self.link != NO_LINK or self.egress_usd_per_gb:
            raise ValueError("link and egress_usd_per_gb are for a large model here: cloud is a real network")
        if isinstance(self.rule, LearningRule):
            raise ValueError("a rule that learns asks the large model here, and cloud is somewhere else")


def _fault(rule: object) -> str | None:
    """Return what the rule of a scheme lacks, or None."""
    if not isinstance(rule, Rule):
        return "Params needs `rule = RULE`, an instance of a subclass of bench.engine.confidence.Rule"
    name, bounds = type(rule).__name__, getattr(rule, "range", ())
    numbers = [end for end in bounds if isinstance(end, int | float)] if isinstance(bounds, tuple) else []
    if len(numbers) != 2 or len(bounds) != 2 or not numbers[0] < numbers[1]:
        return f"{name} needs `range`, the lowest and the highest score, such as (0.0, 1.0)"
    if rule.sure not in ("above", "below"):
        return f"{name}.sure is the side on which the edge's answer is kept: 'above' or 'below'"
    return None


def told(params: Mapping[str, Any]) -> Json:
    """Return the settings that a worker and a result keep of a cascade, with its prices."""
    edge, link = params["edge"], params["link"]
    return {
        "threshold": params["threshold"],
        "edge": str(edge),
        "edge_usd_per_hour": edge.hourly_usd,
        "edge_power_usd_per_hour": edge.power_usd_per_hour,
        "egress_usd_per_gb": params["egress_usd_per_gb"],
        "link": asdict(link),
        "settings": {key: value for key, value in params.items() if key not in COMMON},
    }
