"""The worker's command loop: it takes one command at a time and sends one reply to each.

Failures are not caught here. They end the worker through ``sys.excepthook``, which first sends the kind of
failure and its reason. A worker that has failed has nothing left to measure.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from bench.engine import Engine, progress
from bench.errors import Outcome, VariantFailed
from bench.records import (
    Corpus,
    Counted,
    Encoded,
    EnergyReading,
    Exported,
    Json,
    Loaded,
    MemoryPeaks,
    Solo,
    TurnTimes,
    WarmUp,
    Windows,
)
from bench.worker import ceilings, counters, kernels, passes, score, session
from bench.worker.duet import Baton, PeerGone, duet
from bench.worker.protocol import ChannelClosed, receive, send
from bench.worker.reached import Reached

Message = Json  # a command and its arguments
# The messages of torch's CPU allocator, of C++ and of the kernel.
OUT_OF_HOST_MEMORY = ("can't allocate memory", "bad_alloc", "bad allocation", "Cannot allocate memory")
# The messages of CUDA and cuBLAS when they run out of memory outside torch's allocator.
OUT_OF_GPU_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Worker:
    """The state between commands: the loaded engine, the prompts and the evaluation text."""

    engine: Engine
    reached_files: Reached

    def __init__(self) -> None:
        self.stage = "start"
        self.batches: list[list[list[int]]] = []
        self.new_tokens = 0
        self.corpus: list[int] = []
        self.evidence: Sequence[Json] = ()

    # Each public method below is a command. The other keys of the message are its arguments.

    def load(self, message: Message, _fds: list[int]) -> Loaded:
        """Load the model, apply the optimisations and check the evidence."""
        self.reached_files = Reached(message.get("roots", {}))
        self.engine, found = session.load(message)
        self.evidence = found.evidence
        return found

    def prompts(self, message: Message, _fds: list[int]) -> Encoded:
        """Tokenise the workload and cut it into batches."""
        encoded = [self._encode(prompt) for prompt in message["prompts"]]
        if not all(encoded):
            reason = "the model's tokenizer or chat template makes no tokens of a prompt"
            raise VariantFailed(Outcome.LOAD_ERROR, reason)
        size = message["batch_size"]
        self.batches = [encoded[i : i + size] for i in range(0, len(encoded), size)]
        self.new_tokens = 1 if self.engine.WHOLE_ANSWERS else message["output_tokens"]
        self.engine.longest_answer(message["output_tokens"])
        lengths = tuple(len(ids) for ids in encoded)
        return Encoded(_digest(encoded), lengths, end_ids=tuple(self.engine.end_ids()))

    def _encode(self, prompt: Message) -> list[int]:
        if prompt["chat"]:
            return self.engine.encode_chat(prompt["text"])
        ids = [*self.engine.begin_ids(), *self.engine.encode(prompt["text"])]
        return ids[: prompt["tokens"]] if prompt["tokens"] else ids

    def warm_up(self, message: Message, _fds: list[int]) -> WarmUp:
        """Warm up, compile for all batches, then look at the kernels of one step. Afterwards the objects in
        memory are frozen, so that the garbage collector does not search them before every timed region. That
        would take 0.2 s each time, once torch is loaded."""
        most = message.get("most", passes.MAX_WARMUP)
        result = passes.warm_up(self.engine, self.batches[0], self.new_tokens, message["least"], most)
        compiled = passes.compile_all(self.engine, self.batches, self.new_tokens)
        profiled = message.get("profile", True)
        found = kernels.of_a_step(self.engine, self.batches[0][0], self.evidence) if profiled else []
        gc.collect()
        gc.freeze()
        return replace(result, kernels=tuple(found), compiled_graphs=compiled)

    def solo(self, _message: Message, _fds: list[int]) -> Solo:
        """Time every batch, then count the characters of prompts and replies."""
        found = passes.solo(self.engine, self.batches, self.new_tokens)
        return replace(found, characters=self._characters(found))

    def _characters(self, found: Solo) -> tuple[int, int] | None:
        if self.engine.facts().random_weights:
            return None
        prompts = sum(len(self.engine.text(ids)) for batch in self.batches for ids in batch)
        replies = sum(len(self.engine.text(ids)) for batch in found.batches for ids in batch.tokens)
        return prompts, replies

    def memory(self, _message: Message, _fds: list[int]) -> MemoryPeaks:
        """Measure the memory peaks of prefill and of decode."""
        return passes.memory_pass(self.engine, self.batches[0], self.new_tokens)

    def energy(self, _message: Message, _fds: list[int]) -> EnergyReading:
        """Measure the energy of at least two seconds of requests, or say why there is no figure."""
        return passes.energy_pass(self.engine, self.batches[0], self.new_tokens)

    def probe(self, message: Message, _fds: list[int]) -> Mapping[str, float | None]:
        """Run a probe and return its figures."""
        module = importlib.import_module(message["module"])
        return dict(module.measure(self.engine, self.batches[0], self.new_tokens))

    def count(self, _message: Message, _fds: list[int]) -> Counted:
        """Count the work of one batch of requests; nothing is timed."""
        return counters.count(self.engine, self.batches[0], self.new_tokens)

    def ceilings(self, _message: Message, _fds: list[int]) -> Mapping[str, float]:
        """Measure the machine's best bandwidth and arithmetic rate."""
        return dict(ceilings.measure(self.engine))

    def duet(self, message: Message, fds: list[int]) -> TurnTimes:
        """Run timed turns with the other worker."""
        with socket.socket(fileno=fds[0]) as channel:
            me = message["me"]
            numbers = message.get("variant_batches", message["batches"]) if me else message["batches"]
            batches, how = [self.batches[number] for number in numbers], message.get("counts", ())
            return duet(
                self.engine, batches, self.new_tokens, message["firsts"], me, Baton(channel),
                message.get("grain", 1), how,
            )  # fmt: skip

    def corpus_(self, message: Message, _fds: list[int]) -> Corpus:
        """Tokenise the evaluation text."""
        self.corpus = self.engine.encode(message["text"])
        return Corpus(len(self.corpus), _digest(self.corpus))

    def score(self, message: Message, fds: list[int]) -> Windows:
        """Measure drift over some windows of the text, together with the other worker."""
        windows = self._windows(message)
        with socket.socket(fileno=fds[0]) as channel:
            block = score.shared_rows(fds[1], message["rows"], message["vocabulary"])
            if not message["me"]:
                return score.send_logits(self.engine, windows, block, Baton(channel), ahead=message["ahead"])
            more = {name: importlib.import_module(module) for name, module in message["more"].items()}
            return score.compare_logits(
                self.engine, windows, block, Baton(channel), ahead=message["ahead"], more=more
            )

    def floor(self, message: Message, _fds: list[int]) -> Windows:
        """Measure the baseline's drift against itself."""
        windows = self._windows(message)
        return score.noise_floor(self.engine, windows, self.corpus[: message["extra"]])

    def _windows(self, message: Message) -> list[list[int]]:
        """Cut windows out of the text; each begins as every text of this model does."""
        begin = self.engine.begin_ids()
        size = message["window"] - len(begin)
        return [[*begin, *self.corpus[start : start + size]] for start in message["starts"]]

    def reached(self, _message: Message, _fds: list[int]) -> Mapping[str, str]:
        """Return the files of the side's commit that were read so far, with their digests."""
        return self.reached_files.files()

    def export(self, message: Message, _fds: list[int]) -> Exported:
        """Write the model to a directory as a checkpoint."""
        return session.export(self.engine, message["to"])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def serve(channel: socket.socket) -> None:
    """Answer commands until the harness closes the channel."""
    worker = Worker()
    sys.excepthook = _reporter(channel, worker)
    progress.use(lambda text: send(channel, {"progress": text}))
    send(channel, {"ok": True, "result": {"python": sys.version.split()[0]}})
    commands: dict[str, Callable[[Message, list[int]], object]] = {
        name.rstrip("_"): getattr(worker, name) for name in vars(Worker) if not name.startswith("_")
    }
    while True:
        try:
            message, fds = receive(channel)
        except ChannelClosed:
            return
        worker.stage = str(message["do"])
        try:
            reply: Json = {"ok": True, "result": commands[worker.stage](message, fds)}
        except PeerGone:
            reply = {"ok": False, "outcome": "peer_gone", "reason": "the other worker died during a duet"}
        send(channel, reply)


def _reporter(channel: socket.socket, worker: Worker) -> Callable[..., None]:
    """Return an excepthook that reports the failure to the harness and prints the traceback to the log."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        send(channel, {"ok": False, "outcome": classify(error, worker.stage), "reason": _reason(kind, error)})

    return report


def _reason(kind: type[BaseException], error: BaseException) -> str:
    if isinstance(error, VariantFailed):
        return error.reason
    return f"{kind.__name__}: {str(error)[:600]}"


def classify(error: BaseException, stage: str) -> str:
    """Return the outcome that an exception stands for."""
    if isinstance(error, VariantFailed):
        return error.outcome
    if isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_HOST_MEMORY):
        return Outcome.OOM_HOST
    if type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in OUT_OF_GPU_MEMORY):
        return Outcome.OOM_GPU
    if isinstance(error, ImportError):
        return Outcome.IMPORT_ERROR
    return Outcome.LOAD_ERROR if stage in ("start", "load") else Outcome.RUN_ERROR
