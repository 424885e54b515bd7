"""Prompts of exactly ``input_tokens`` tokens of real English text: the same length for every request."""

from __future__ import annotations

from bench.config.settings import WorkloadBlock
from bench.texts import english
from bench.workloads import Prompt

CHARACTERS_PER_TOKEN = 8


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    if workload.file is not None:
        return "file", "is for the workload 'file'"
    if workload.input_tokens is None:
        return "input_tokens", "the workload 'fixed' needs input_tokens"
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return slices of the English text, evenly spread and long enough for the tokenizer to cut."""
    text, wanted = english.read(), int(workload.input_tokens or 0)
    size = wanted * CHARACTERS_PER_TOKEN
    while len(text) < size * 2:
        text += text
    room = len(text) - size
    starts = [round(i * room / max(workload.requests, 1)) for i in range(workload.requests)]
    return [Prompt(text[start : start + size], tokens=wanted) for start in starts]
