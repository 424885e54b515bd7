"""Compare the log-probabilities of something outside, such as a server, with those of a model loaded here.

As a program (``python -m bench.worker.external_logprobs``) it reads requests from standard input and answers
on standard output, a line of JSON for each. The first request loads the baseline, ``ids`` cuts a window out
of the text, ``prompt`` asks for a greedy reply, and ``sizes`` announces the window's distributions: after
that line come, for each scored position, its token ids (int32) and their natural logarithms of probability
(float32), in the machine's byte order.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bench.engine import Engine, Options
from bench.engine.decoding import until_ended
from bench.machine.proc import be_killed_first
from bench.records.json_form import Json
from bench.records.thinking import before_end
from bench.worker import builds
from bench.worker.score import predictions, statistics
from bench.worker.suite import prompt_of

LEAST_LN = -9999.0  # what servers send for a probability of 0
ROUNDING = 1e-6  # of a sum of float32 probabilities


def main() -> None:
    """Serve requests until the input ends."""
    source, answers = sys.stdin.buffer, sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not stand between the answers
    first = json.loads(source.readline())
    builds.watch()
    runtime = importlib.import_module(first["runtime"])
    engine: Engine = runtime.load(Path(first["directory"]), Options(device="cpu", threads=first["threads"]))
    corpus = engine.encode(first["text"])
    facts = engine.facts()
    _answer(answers, {
        "tokens": len(corpus), "vocabulary": facts.vocabulary, "context": facts.context,
        "begin": list(engine.begin_ids()), "sample": engine.encode(first["sample"]),
    })  # fmt: skip
    ids: list[int] = []
    while line := source.readline():
        asked = json.loads(line)
        if "prompt" in asked:
            _answer(answers, written(engine, asked["prompt"], asked["tokens"], chat=asked["chat"]))
        elif "start" in asked:
            begin = engine.begin_ids()
            start, size = asked["start"], asked["window"] - len(begin)
            ids = [*begin, *corpus[start : start + size]]
            _answer(answers, {"ids": ids})
        else:
            _answer(answers, compared(engine, ids, _read(source, asked["sizes"])))


def written(engine: Engine, prompt: str, tokens: int, *, chat: bool) -> Json:
    """Return the greedy reply of at most ``tokens`` tokens as text, and whether it is cut there."""
    ids = prompt_of(engine, {"prompt": prompt, "chat": chat})
    engine.longest_answer(tokens)
    (found,) = engine.tokens(until_ended(engine, [ids], tokens))
    own = before_end(found, set(engine.end_ids()))
    return {"text": engine.text(own), "cut": len(own) == len(found)}


def compared(engine: Engine, ids: Sequence[int], given: Sequence[tuple[Any, Any]]) -> Json:
    """Return the values of a window by their names in ``DriftWindow``, one for each position that has a next
    token; ``given`` holds, for each of them, token ids and log-probabilities as tensors.

    A position that has every token of the vocabulary is exact, as between two workers. Else the tokens that
    are missing count as one: that KL is a lower bound of the true one (data-processing inequality). Where the
    true next token is missing, its log-probability is None.
    """
    import torch

    logits = predictions(engine, ids)
    exact = all(len(found) == logits.shape[-1] for found, _ in given)
    if exact:
        rows = torch.full_like(logits, LEAST_LN)
        for row, (found, ln_q) in zip(rows, given, strict=True):
            row[found.long()] = ln_q
        # In float64, because a server's logarithms were rounded once already, and a KL of 1e-9 can be seen.
        columns = [part.tolist() for part in statistics(logits.double(), rows.double(), ids[1:])]
    else:
        each = [
            _bounded(row.log_softmax(-1), found.long(), ln_q, true)
            for row, (found, ln_q), true in zip(logits, given, ids[1:], strict=True)
        ]
        columns = [list(column) for column in zip(*each, strict=True)]
    kld, same, base, variant = columns
    return {
        "exact": exact, "kld": [round(max(one, 0.0), 12) for one in kld],
        "same_top": [int(one) for one in same], "ln_p_base": base, "ln_p_variant": variant,
    }  # fmt: skip


def _bounded(ln_p: Any, found: Any, ln_q: Any, true: int) -> tuple[float, bool, float, float | None]:
    """Return what one position gives when only some tokens of the other side are known."""
    import torch

    p, q = ln_p[found].double().exp(), ln_q.double().exp()
    kl = float((p * (ln_p[found].double() - ln_q.double())).sum())
    rest = max(1.0 - float(p.sum()), 0.0)
    if rest > 0:
        kl += rest * float(torch.tensor(rest / (max(1.0 - float(q.sum()), 0.0) + ROUNDING)).log())
    top = int(found[ln_q == ln_q.max()].min())
    at = (found == true).nonzero()
    known = float(ln_q[at[0, 0]]) if len(at) else None
    return kl, top == int(ln_p.argmax()), float(ln_p[true]), known


def _read(source: BinaryIO, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    import torch

    found = []
    for size in sizes:
        ids = torch.frombuffer(bytearray(source.read(4 * size)), dtype=torch.int32)
        values = torch.frombuffer(bytearray(source.read(4 * size)), dtype=torch.float32)
        found.append((ids, values.clamp_min(LEAST_LN)))
    return found


def _answer(out: Any, what: Json) -> None:
    print(json.dumps(what, allow_nan=False), file=out, flush=True)


if __name__ == "__main__":
    be_killed_first()
    main()
