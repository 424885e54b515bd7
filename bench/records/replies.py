"""A worker's replies as frozen records, one for each command; ``loaded.py`` and ``drift.py`` have the others.

The worker makes them, they cross the pipe as JSON, and the harness reads them back as the same records. This
file uses the standard library only, because it also runs in the worker's interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.cascades import Cascaded
from bench.records.splits import SplitWork
from bench.records.thinking import Answer


@dataclass(frozen=True)
class Encoded:
    """The prompts as tokens: a digest of them all, the length of each, and the tokens that end a reply."""

    digest: str
    input_tokens: tuple[int, ...]
    end_ids: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """An operator of one decode step (on CUDA, a kernel), with its share of the step's time (0 to 1)."""

    operator: str
    calls: int
    self_ms: float
    share: float


@dataclass(frozen=True)
class WarmUp:
    """The times of the warm-up requests. ``kernels`` were found here in earlier versions; see
    ``StepProfile``."""

    durations_ms: tuple[float, ...]
    steady: bool
    first_request_ms: float
    kernels: tuple[Kernel, ...] = ()
    compiled_graphs: int = 0


@dataclass(frozen=True)
class StepProfile:
    """One decode step under the profiler, which runs after the last timed pass of a process.

    ``launches`` is how often the processor gave the GPU work, and ``gpu_busy_ms`` how long the GPU worked.
    Both are None on a CPU.
    """

    kernels: tuple[Kernel, ...]
    launches: int | None = None
    gpu_busy_ms: float | None = None


@dataclass(frozen=True)
class DeviceTimes:
    """The time (ns) between a GPU's own events, before and after its work on each prompt and on each step.

    There is one prompt and one tuple of steps for each batch; none on a CPU.
    """

    prefill_ns: tuple[int, ...]
    steps_ns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TimedBatch:
    """Requests that were decoded together: the times (ns) of sending, of each token and of the end.
    ``tokens`` holds one tuple per request."""

    sent_ns: int
    stamps_ns: tuple[int, ...]
    end_ns: int
    input_tokens: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def requests(self) -> int:
        """Return the number of requests in the batch."""
        return len(self.tokens)

    @property
    def whole(self) -> bool:
        """Return whether the answers came as a whole, so that nothing is known of single tokens."""
        return len(self.stamps_ns) == 1

    @property
    def prefill_s(self) -> float:
        """Return the time from sending to the first token."""
        return (self.stamps_ns[0] - self.sent_ns) / 1e9

    @property
    def decode_s(self) -> float:
        """Return the time from the first token to the last."""
        return (self.stamps_ns[-1] - self.stamps_ns[0]) / 1e9

    @property
    def duration_s(self) -> float:
        """Return the time from sending to the end."""
        return (self.end_ns - self.sent_ns) / 1e9


@dataclass(frozen=True)
class Speculated:
    """What a speculating decoder did: passes of the model, tokens drafted and kept, and the time (ns) spent
    on drafting and on verifying."""

    passes: int
    drafted: int
    accepted: int
    drafting_ns: int
    verifying_ns: int


@dataclass(frozen=True)
class Solo:
    """The timed pass of a worker that runs alone.

    ``characters`` are those of all prompts and of all replies; None for random weights, whose replies are no
    text. ``answers`` are the lengths of the replies up to their ends, in the order of the requests; None
    where a reply has no end. ``texts`` has the end of each prompt and the beginning of each reply.
    ``cascaded`` has an entry for each request of a cascade.
    """

    batches: tuple[TimedBatch, ...]
    characters: tuple[int, int] | None = None
    texts: tuple[tuple[str, str], ...] = ()
    speculated: Speculated | None = None
    split: SplitWork | None = None
    answers: tuple[Answer, ...] | None = None
    cascaded: tuple[Cascaded, ...] = ()


@dataclass(frozen=True)
class MemoryPeaks:
    """The peak memory (bytes) of prefill and of decode, by kind of memory; None where it cannot be read.

    Of a server, ``served`` is what its processes held after its blocks of load, and there are no phases.
    """

    prefill: Mapping[str, int | None]
    decode: Mapping[str, int | None]
    served: Mapping[str, int | None] = field(default_factory=dict)

    def by_phase(self, kind: str) -> dict[str, float | None]:
        """Return the peak of each phase of one kind of memory, such as ``peak_rss_bytes``."""
        peaks = {"prefill": self.prefill.get(kind), "decode": self.decode.get(kind)}
        if self.served:
            peaks = {"under load": self.served.get(kind)}
        return {phase: None if peak is None else float(peak) for phase, peak in peaks.items()}

    def largest(self, kind: str) -> float | None:
        """Return the larger of the two peaks, or None if neither is known."""
        return max((peak for peak in self.by_phase(kind).values() if peak is not None), default=None)


@dataclass(frozen=True)
class EnergyReading:
    """The energy of ``requests`` requests in a window of ``window_s``. Without a counter there is no figure,
    and ``code`` and ``reason`` say why.

    ``idle_w`` is the power of the device with the model loaded and nothing to do, measured for baselines.
    ``integrated_j`` is the same energy from samples of power, and ``update_s`` the time between two updates
    of the counter.
    """

    energy_j: float | None
    energy_valid: bool
    code: str
    reason: str
    boundary: str = ""
    window_s: float = 0.0
    requests: int = 0
    output_tokens: int = 0
    idle_w: float | None = None
    integrated_j: float | None = None
    update_s: float | None = None

    @property
    def joules(self) -> float | None:
        """Return the energy of the window, or None without a valid figure."""
        return self.energy_j if self.energy_valid else None


@dataclass(frozen=True)
class Counted:
    """The work of one batch. A count that an engine cannot give is None, never 0."""

    requests: int
    input_tokens: int
    output_tokens: int
    forward_calls: int | None
    flops: int | None
    kv_cache_bytes: int | None


@dataclass(frozen=True)
class TurnTimes:
    """One side's times (ns) in turns with the other: one tuple per batch, one entry per turn.

    ``output_tokens`` has a number per batch where answers come as a whole, and is empty elsewhere;
    ``replies`` has a fingerprint of the tokens of each batch where they do not. ``cascaded`` has an entry for
    each request of a cascade.
    """

    durations_ns: tuple[tuple[int, ...], ...]
    output_tokens: tuple[int, ...] = ()
    replies: tuple[str, ...] = ()
    cascaded: tuple[Cascaded, ...] = ()


@dataclass(frozen=True)
class Exported:
    """A checkpoint that was written and loaded again; ``logits_apart`` is the largest difference of its
    logits from those before."""

    parameters: int
    logits_apart: float
