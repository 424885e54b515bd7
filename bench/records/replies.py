"""Define a worker's replies as frozen records; ``loaded_model.py`` and ``drift.py`` have the others.

The worker makes them and sends them over the pipe as JSON, and the harness reads them back as the same
records. This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.cascades import Cascaded
from bench.records.splits import SplitWork
from bench.records.thinking import Answer


@dataclass(frozen=True)
class Encoded:
    """Describe the prompts as tokens: a digest of all, the length of each, and the end tokens of replies."""

    digest: str
    input_tokens: tuple[int, ...]
    end_ids: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """Record one operator of a decode step (on CUDA, a kernel) and its share of the step's time (0 to 1)."""

    operator: str
    calls: int
    self_ms: float
    share: float


@dataclass(frozen=True)
class WarmUp:
    """Record the times of the warm-up requests.

    ``elsewhere`` is what others than the thread that decodes computed in the last request, as a share of its
    time (``bench/worker/own_time.py``); None if the kernel does not count it. Only journals of earlier
    versions have ``kernels`` here; today they are in ``StepProfile``.
    """

    durations_ms: tuple[float, ...]
    steady: bool
    first_request_ms: float
    kernels: tuple[Kernel, ...] = ()
    compiled_graphs: int = 0
    elsewhere: float | None = None


@dataclass(frozen=True)
class StepProfile:
    """Record one decode step under the profiler.

    It runs after the last timed pass of a process, because profiling changes the times. ``launches`` counts
    the kernels that the CPU launched on the GPU, and ``gpu_busy_ms`` is how long the GPU worked; both are
    None on a CPU.
    """

    kernels: tuple[Kernel, ...]
    launches: int | None = None
    gpu_busy_ms: float | None = None


@dataclass(frozen=True)
class DeviceTimes:
    """Record the time (ns) that the GPU took for each prompt and each step, by CUDA events before and after.

    ``prefill_ns`` has one entry per batch and ``steps_ns`` one tuple per batch; both are empty on a CPU.
    """

    prefill_ns: tuple[int, ...]
    steps_ns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TimedBatch:
    """Record a batch of requests that were decoded together: when it was sent, each token, and the end (ns).

    ``tokens`` holds one tuple of token ids per request.
    """

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
        """Return whether each answer came all at once, so that the times of single tokens are not known."""
        return len(self.stamps_ns) == 1

    @property
    def prefill_s(self) -> float:
        """Return the seconds from sending to the first token."""
        return (self.stamps_ns[0] - self.sent_ns) / 1e9

    @property
    def decode_s(self) -> float:
        """Return the seconds from the first token to the last."""
        return (self.stamps_ns[-1] - self.stamps_ns[0]) / 1e9

    @property
    def duration_s(self) -> float:
        """Return the seconds from sending to the end."""
        return (self.end_ns - self.sent_ns) / 1e9


@dataclass(frozen=True)
class Speculated:
    """Count the work of a speculative decoder.

    ``passes`` are forward passes of the model, ``drafted`` and ``accepted`` are tokens, and the times (ns)
    are those of drafting and of verifying the drafts.
    """

    passes: int
    drafted: int
    accepted: int
    drafting_ns: int
    verifying_ns: int


@dataclass(frozen=True)
class Solo:
    """Record the timed pass of a worker that runs alone.

    ``characters`` counts those of all prompts and of all replies; None for random weights, whose replies are
    not text. ``texts`` has the end of each prompt and the beginning of each reply. ``answers`` has the length
    of each reply up to its end token, in the order of the requests; None if the model has no end token.
    ``cascaded`` has one entry per request of a cascade.
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
    """Record the peak memory (bytes) of prefill and of decode, by kind of memory; None if it cannot be read.

    A server has no such phases: ``served`` is what its processes held after its blocks of load. ``cache`` are
    the bytes of keys and values after the batch.
    """

    prefill: Mapping[str, int | None]
    decode: Mapping[str, int | None]
    served: Mapping[str, int | None] = field(default_factory=dict)
    cache: int | None = None

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
    """Record the energy of ``requests`` requests that ran within ``window_s`` seconds.

    ``energy_j`` is None without an energy counter; ``code`` and ``reason`` then say why. ``boundary`` says
    what the counter covers. ``idle_w`` is the power of the device while the model is loaded and idle; only
    baselines measure it. ``integrated_j`` is the same energy from samples of the power, as a check, and
    ``update_s`` is the time between two updates of the counter.
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
    """Count the work of one batch. A count that an engine cannot give is None, never 0."""

    requests: int
    input_tokens: int
    output_tokens: int
    forward_calls: int | None
    flops: int | None
    kv_cache_bytes: int | None


@dataclass(frozen=True)
class TurnTimes:
    """Record the times (ns) of one side that ran in turns with the other: one tuple per batch, one entry per
    turn.

    If each answer comes all at once, ``output_tokens`` has one number per batch; otherwise it is empty, and
    ``replies`` has a fingerprint of each batch's tokens. ``cascaded`` has one entry per request of a cascade.
    ``elsewhere`` is as in ``WarmUp``, of all batches; None if both sides took turns.
    """

    durations_ns: tuple[tuple[int, ...], ...]
    output_tokens: tuple[int, ...] = ()
    replies: tuple[str, ...] = ()
    cascaded: tuple[Cascaded, ...] = ()
    elsewhere: float | None = None


@dataclass(frozen=True)
class Exported:
    """Describe a checkpoint that was written and loaded again.

    ``logits_apart`` is the largest absolute difference between its logits and those before the export.
    """

    parameters: int
    logits_apart: float
