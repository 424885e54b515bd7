"""Define the commands of a worker. Each of them is a method that takes a message and returns a record."""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.engine import Engine, expert_counts, memory, progress, saturation
from bench.errors import NonFiniteOutput
from bench.link import draw_for
from bench.records import (
    Corpus,
    Counted,
    DeviceTimes,
    Encoded,
    Encodings,
    EnergyReading,
    Exported,
    Json,
    Loaded,
    MemoryPeaks,
    RequestAnswers,
    Solo,
    StepProfile,
    SuiteAnswers,
    Together,
    TurnTimes,
    WarmUp,
    Windows,
)
from bench.records.thinking import Markers
from bench.worker import (
    ceilings,
    counters,
    encoders,
    exporting,
    joules,
    kernels,
    lm_eval_requests,
    noise_floor,
    passes,
    prompt_tokens,
    replied,
    score,
    session,
    suite,
)
from bench.worker.duet import Baton, alone, duet
from bench.worker.finite import must_be_finite
from bench.worker.opened_files import Reached
from bench.worker.slices import own_times, side_by_side
from bench.worker.steps import as_changed, is_cascade

Message = Json  # a command and its arguments


class Worker:
    """The state between commands: the loaded engine, the prompts and the evaluation text."""

    engine: Engine
    reached_files: Reached

    def __init__(self) -> None:
        self.stage = "start"
        self.batches: list[list[list[int]]] = []
        self.new_tokens = 0
        self.markers: Markers | None = None
        self.timed: Solo | None = None
        self.corpus: list[int] = []
        self.evidence: Sequence[Json] = ()
        self.profiled = False
        self.scoring = self.cascade = False

    # Each public method below is a command. The other keys of the message are its arguments.

    def load(self, message: Message, _fds: list[int]) -> Loaded:
        """Load the model, apply the optimisations and check the evidence."""
        self.reached_files = Reached(message.get("roots", {}))
        draw_for(message.get("process", 0))
        self.engine, loaded = session.load(message)
        self.cascade = is_cascade(message)
        self.evidence = loaded.evidence
        return loaded

    def prompts(self, message: Message, _fds: list[int]) -> Encoded:
        """Tokenise the workload and cut it into batches."""
        encoded = prompt_tokens.encoded(self.engine, message["prompts"])
        size = message["batch_size"]
        self.batches = [encoded[i : i + size] for i in range(0, len(encoded), size)]
        self.new_tokens = 1 if self.engine.WHOLE_ANSWERS else message["output_tokens"]
        self.engine.longest_answer(message["output_tokens"])
        if (marks := message.get("reasoning")) and not self.engine.facts().random_weights:
            start, end = (tuple(self.engine.encode(mark)) for mark in marks)
            self.markers = Markers(start, end)
        return Encoded(_digest(encoded), tuple(map(len, encoded)), end_ids=tuple(self.engine.end_ids()))

    def warm_up(self, message: Message, _fds: list[int]) -> WarmUp:
        """Warm up, compile for all batches and, with ``finite``, check that the logits are numbers. Then
        freeze the objects in memory: searching them for garbage would take 0.2 s before every timed
        region."""
        if self.engine.compiled_graphs():
            progress.say("compiling for the shapes of the requests", now=True)
        most, first = message.get("most", passes.MAX_WARMUP), self.batches[message.get("first", 0)]
        with as_changed(self.engine, self.evidence):
            result = passes.warm_up(self.engine, first, self.new_tokens, message["least"], most)
            compiled = passes.compile_all(self.engine, self.batches, self.new_tokens)
        if message.get("finite", True) and not self.engine.finite(self.batches[0][0]):
            raise NonFiniteOutput("the model's logits on the first prompt are not finite")
        gc.collect()
        gc.freeze()
        return replace(result, compiled_graphs=compiled)

    def solo(self, _message: Message, _fds: list[int]) -> Solo:
        """Time every batch, then describe the replies."""
        timed = passes.solo(self.engine, self.batches, self.new_tokens)
        self.timed = replied.described(self.engine, self.batches, timed, self.markers)
        return self.timed

    def memory(self, _message: Message, _fds: list[int]) -> MemoryPeaks:
        """Measure the memory peaks of prefill and of decode, then check the logits of all timed replies."""
        peaks = passes.memory_pass(self.engine, self.batches[0], self.new_tokens)
        if self.timed is not None:
            must_be_finite(self.engine, self.batches, self.timed)
        return peaks

    def energy(self, message: Message, _fds: list[int]) -> EnergyReading:
        """Measure the energy of at least two seconds of requests, or say why there is no figure."""
        return joules.measure(self.engine, self.batches[0], self.new_tokens, message.get("idle_s", 0.0))

    def device_times(self, _message: Message, _fds: list[int]) -> DeviceTimes:
        """Time prompts and steps by the GPU's own events."""
        return passes.device_pass(self.engine, self.batches, self.new_tokens)

    def profile(self, _message: Message, _fds: list[int]) -> StepProfile:
        """Record the kernels of one step. The profiler stays attached, so nothing is timed afterwards."""
        self.profiled = True
        return kernels.of_a_step(self.engine, self.batches[0], self.new_tokens, self.evidence)

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
        """Decode timed requests in turns with the other worker, or beside it."""
        with socket.socket(fileno=fds[0]) as channel:
            me = message["me"]
            numbers = message.get("variant_batches", message["batches"]) if me else message["batches"]
            batches, counts = [self.batches[number] for number in numbers], message.get("counts", ())
            baton = Baton(channel, spins=message.get("spins", False))
            both = (self.engine, batches, self.new_tokens, message["firsts"], me, baton)
            if message.get("slices"):
                return side_by_side(*both, counts)
            return duet(*both, message.get("grain", 1), counts, message.get("wake", 0))

    def alone(self, message: Message, _fds: list[int]) -> TurnTimes:
        """Run the same timed requests without a partner, by the clock of ``slices`` or of turns."""
        batches = [self.batches[number] for number in message["batches"]]
        both = (self.engine, batches, self.new_tokens, message["turns"])
        return own_times(*both) if message.get("slices") else alone(*both, message["wake"])

    def corpus_(self, message: Message, _fds: list[int]) -> Corpus:
        """Tokenise the evaluation text."""
        self.corpus = self.engine.encode(message["text"])
        return Corpus(len(self.corpus), _digest(self.corpus))

    def score(self, message: Message, fds: list[int]) -> Windows:
        """Measure drift over some windows of the text, together with the other worker."""
        on_gpu = self.engine.facts().on_gpu
        if on_gpu and not self.scoring:
            memory.reset_peak(self.engine)
        self.scoring = True
        with saturation.watched(self.engine) as seen:
            windows = replace(self._score(message, fds), activations=seen.found())
        return replace(windows, memory=memory.read_peak(self.engine)) if on_gpu else windows

    def _score(self, message: Message, fds: list[int]) -> Windows:
        windows = self._windows(message)
        with socket.socket(fileno=fds[0]) as channel, expert_counts.watched(self.engine) as routed:
            block = score.shared_rows(fds[1], message["rows"], message["vocabulary"])
            if message["me"]:
                more = {name: importlib.import_module(module) for name, module in message["more"].items()}
                text = self.engine.text if self.engine.reads() else None
                scored = score.compare_logits(
                    self.engine, windows, block, Baton(channel), ahead=message["ahead"], more=more, text=text
                )
            else:
                scored = score.send_logits(
                    self.engine, windows, block, Baton(channel), ahead=message["ahead"]
                )
        return replace(scored, routed=routed.tokens())

    def floor(self, message: Message, _fds: list[int]) -> Windows:
        """Measure the baseline's drift against itself in other circumstances."""
        extra = self.corpus[: message["extra"]]
        return noise_floor.noise_floor(self.engine, self._windows(message), extra, message["how"])

    def encode(self, message: Message, _fds: list[int]) -> Encodings:
        """Encode some texts, ``at_once`` at a time; nothing is timed."""
        return encoders.encoded(self.engine, message["texts"], message["at_once"])

    def together(self, _message: Message, _fds: list[int]) -> Together:
        """Decode the same prompts alone and in a batch."""
        return noise_floor.together(self.engine, self.batches, self.new_tokens)

    def suite(self, message: Message, _fds: list[int]) -> SuiteAnswers:
        """Answer some items of a behaviour suite."""
        tokens, asked = message["output_tokens"], message["items"]
        if self.cascade:
            from bench.worker import cascaded_suite  # it imports much that no other worker needs

            cascade: Any = self.engine
            return cascaded_suite.answered(cascade, asked, tokens)
        return suite.answered(self.engine, asked, tokens)

    def requests(self, message: Message, _fds: list[int]) -> RequestAnswers:
        """Answer some requests of lm-eval."""
        return lm_eval_requests.answered(self.engine, message["kind"], message["requests"])

    def _windows(self, message: Message) -> list[list[int]]:
        """Cut windows out of the text. Each begins with the tokens that begin every text of this model."""
        begin = self.engine.begin_ids()
        size = message["window"] - len(begin)
        return [[*begin, *self.corpus[start : start + size]] for start in message["starts"]]

    def reached(self, _message: Message, _fds: list[int]) -> Mapping[str, str]:
        """Return the files of the side's commit that were read so far, with their digests."""
        return self.reached_files.files()

    def export(self, message: Message, _fds: list[int]) -> Exported:
        """Write the model to a directory as a checkpoint."""
        return exporting.export(self.engine, message["to"])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
