"""Run a cascade: a small model answers each request, and a rule decides whether a large model answers it too.

The rule needs the edge model's whole answer, so each answer comes all at once, and no token is shown before.
The large model reads the request from its beginning; only the bytes of the text reach it over the link.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any

from bench.engine import Engine
from bench.engine.confidence import Rule
from bench.engine.decoding import in_full
from bench.engine.evidence import Census
from bench.errors import NonFiniteOutput, Unsupported
from bench.link import Link, LinkDown
from bench.records import Cascaded, Facts
from bench.records.thinking import before_end


@dataclass
class Routed:
    """Hold the answers to a batch of requests, in the large model's tokens."""

    answers: list[list[int]]


@dataclass
class _Tried:
    """Hold the edge model's answers to a batch in the large model's tokens, their scores, and the seconds
    per answer."""

    answers: list[list[int]]
    scores: list[float]
    seconds: float


class Cascade(Engine):
    """Combine two engines into one. All but the answers comes from the large model: text, tokens, facts.

    ``same_tokens`` says that both models have the same tokenizer. ``threshold`` may be changed between
    requests.
    """

    TORCH = False
    WHOLE_ANSWERS = True

    def __init__(
        self, edge: Engine, cloud: Engine, rule: Rule, threshold: float, link: Link, *, same_tokens: bool
    ) -> None:
        self.edge, self.cloud, self.rule, self.threshold, self.link = edge, cloud, rule, threshold, link
        self.same_tokens = same_tokens
        self.model, self.runs_on = cloud.model, cloud.runs_on
        self._known: dict[tuple[int, ...], tuple[list[int], str]] = {}
        self._longest, self._room = 0, edge.facts().context
        self._done: list[Cascaded] = []
        edge.watch(rule.of_step)

    # ---- answering -------------------------------------------------------------------------------

    def longest_answer(self, tokens: int) -> None:
        """Set how many tokens each model decodes for an answer."""
        self._longest = tokens

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Routed:
        """Answer a batch: the edge model answers all of it, the large model what the rule escalates."""
        tokens = self._longest or new_tokens
        read = [self.edge_reads(prompt) for prompt in prompts]
        tried = self._try([ids for ids, _text in read], tokens)
        sent = [self.rule.escalates(score, self.threshold) for score in tried.scores]
        done = [
            Cascaded(score, escalated, tried.seconds)
            for score, escalated in zip(tried.scores, sent, strict=True)
        ]
        answers = tried.answers
        chosen = [place for place, escalated in enumerate(sent) if escalated]
        if chosen:
            asked = [prompts[place] for place in chosen]
            texts = [read[place][1] for place in chosen]
            better, counted = self._escalate(asked, texts, [done[place] for place in chosen], tokens)
            for place, answer, request in zip(chosen, better, counted, strict=True):
                done[place] = request
                answers[place] = answer if request.from_cloud else answers[place]
        self._done += done
        return Routed(answers)

    def _try(self, prompts: Sequence[Sequence[int]], tokens: int) -> _Tried:
        """Let the edge model answer, and score each answer up to its end token. Raises Unsupported if they do
        not fit its context."""
        longest = max(map(len, prompts)) + tokens
        if self._room is not None and longest > self._room:
            raise Unsupported(
                f"{longest} tokens in and out do not fit the edge model's context of {self._room}"
            )
        started = perf_counter_ns()
        generation = in_full(self.edge, prompts, tokens)
        whole, ends = self.edge.tokens(generation), set(self.edge.end_ids())
        cut = [list(before_end(ids, ends)) for ids in whole]
        steps = self.edge.watched(generation)
        of_tokens = [of[: len(answer) + 1] for of, answer in zip(steps, cut, strict=True)]
        scores = self.rule.of_answers(self.edge, prompts, cut, of_tokens, tokens)
        if not all(map(math.isfinite, scores)):
            raise NonFiniteOutput("the edge model put out NaN or infinite logits, so its answer has no score")
        answers = [self.in_our_tokens(ids) for ids in whole]
        return _Tried(answers, scores, (perf_counter_ns() - started) / 1e9 / len(prompts))

    def in_our_tokens(self, answer: Sequence[int]) -> list[int]:
        """Return an answer of the edge model in the large model's tokens."""
        if self.same_tokens:
            return list(answer)
        return self.cloud.encode(self.edge.text(before_end(answer, set(self.edge.end_ids()))))

    def _escalate(
        self, prompts: Sequence[Sequence[int]], texts: Sequence[str], before: Sequence[Cascaded], tokens: int
    ) -> tuple[list[list[int]], list[Cascaded]]:
        """Send requests over the link, let the large model answer them, and return (answers, records).

        The requests of a batch cross the link together. If the link is down, the edge model's answers are
        used, and the time and bytes spent until then are counted.
        """
        count, cloud_s, link_s = len(prompts), 0.0, 0.0
        sizes = [len(text.encode()) for text in texts]
        answers: list[list[int]] = [[] for _ in prompts]
        crossed, received = [0] * count, [0] * count
        offline = False
        try:
            link_s += self.link.carry(sum(sizes), "up")
            crossed = sizes
            started = perf_counter_ns()
            generation = in_full(self.cloud, prompts, tokens)
            answers, ends = self.cloud.tokens(generation), set(self.cloud.end_ids())
            coming = [len(self.cloud.text(before_end(ids, ends)).encode()) for ids in answers]
            cloud_s = (perf_counter_ns() - started) / 1e9
            link_s += self.link.carry(sum(coming), "down")
            received = coming
        except LinkDown as down:
            link_s, offline = link_s + down.waited_s, True
        return answers, [
            replace(
                request,
                cloud_s=cloud_s / count,
                link_s=link_s / count,
                sent_bytes=size,
                received_bytes=back,
                offline=offline,
            )
            for request, size, back in zip(before, crossed, received, strict=True)
        ]

    def edge_reads(self, prompt: Sequence[int]) -> tuple[list[int], str]:
        """Return a prompt in the edge model's tokens, and its text."""
        known = self._known.get(tuple(prompt))
        if known is None:  # the prompt is not exactly what ``encode`` returned: it was cut, for example
            begin = self.cloud.begin_ids()
            bare = list(prompt[len(begin) :]) if tuple(prompt[: len(begin)]) == tuple(begin) else list(prompt)
            text = self.cloud.text(bare)
            ids = list(prompt) if self.same_tokens else [*self.edge.begin_ids(), *self.edge.encode(text)]
            known = self._known[tuple(prompt)] = ids, text
        return known

    def step(self, generation: Routed) -> None:
        """Do nothing, because the answers are complete after ``prefill``."""

    def tokens(self, generation: Routed) -> list[list[int]]:
        """Return the large model's tokens of every answer. If the edge model has another tokenizer, the text
        of its answer is encoded again."""
        return generation.answers

    def cascaded(self) -> tuple[Cascaded, ...]:
        """Return the records of all requests since the last call."""
        done, self._done = tuple(self._done), []
        return done

    # ---- text ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Return the large model's tokens, and keep the edge model's tokens of the same text."""
        ids = self.cloud.encode(text)
        theirs = ids if self.same_tokens else [*self.edge.begin_ids(), *self.edge.encode(text)]
        begin = self.cloud.begin_ids()
        ours = [*begin, *ids]
        self._known[tuple(ours)] = ours if self.same_tokens else theirs, text
        return ids

    def encode_chat(self, message: str) -> list[int]:
        """Return a message in the large model's chat template, and keep it in the edge model's template."""
        ids = self.cloud.encode_chat(message)
        theirs = ids if self.same_tokens else self.edge.encode_chat(message)
        self._known[tuple(ids)] = theirs, message
        return ids

    def begin_ids(self) -> tuple[int, ...]:
        """Return the begin ids of the large model."""
        return self.cloud.begin_ids()

    def reads(self) -> str | None:
        """Return the form in which the large model reads a text."""
        return self.cloud.reads()

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of the large model's token ids."""
        return self.cloud.text(ids)

    def end_ids(self) -> tuple[int, ...]:
        """Return the end ids of the large model."""
        return self.cloud.end_ids()

    # ---- what is loaded --------------------------------------------------------------------------

    def facts(self) -> Facts:
        """Return the large model's facts, and describe the edge model in ``loaded``."""
        small = self.edge.facts()
        words = f"a cascade; the edge model is {small.dtype} on {small.device} in {small.engine}"
        return replace(self.cloud.facts(), loaded=words)

    def census(self, *, count_zeros: bool = True) -> Census:
        """Take the census of the large model, and add the bytes of the edge model."""
        large = self.cloud.census(count_zeros=count_zeros)
        small = self.edge.census(count_zeros=False)
        by_dtype: Mapping[str, int] = Counter(large.bytes_by_dtype) + Counter(small.bytes_by_dtype)
        bytes_of_both = large.weights_bytes + small.weights_bytes
        return replace(large, weights_bytes=bytes_of_both, bytes_by_dtype=dict(by_dtype))

    def parameters(self) -> int:
        """Return the number of parameters of both models."""
        return self.edge.parameters() + self.cloud.parameters()

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the large model's logits; a cascade has no distribution over the next token itself."""
        return self.cloud.logits(ids)

    def finite(self, ids: Sequence[int]) -> bool:
        """Return whether the logits of both models are finite numbers."""
        return self.cloud.finite(ids) and self.edge.finite(self.edge_reads(ids)[0])

    def synchronise(self) -> None:
        """Wait until both models have finished all work."""
        self.edge.synchronise()
        self.cloud.synchronise()

    def compiled_graphs(self) -> int:
        """Return the number of graphs compiled in this process so far, by either model."""
        return max(self.edge.compiled_graphs(), self.cloud.compiled_graphs())
