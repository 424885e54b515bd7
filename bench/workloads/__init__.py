"""Define the kinds of workload: one file for each, with ``problem(workload)`` and what is sent.

A kind for engines in process has ``prompts(workload) -> list[Prompt]``; each worker tokenises them with its
model's own tokenizer. A kind for servers has ``LOAD = True``, ``USES`` (the common keys that mean something
to it), ``words(workload)``, and ``plan(workload, seed)``, which returns when requests come and how long each
is; a search has ``plan_at(workload, rate, requests, seed)`` instead. A kind with keys of its own has
``Params``, a frozen dataclass; their values are ``dict(workload.own)``. If a kind has
``notes(workload) -> Iterator[str]``, `bench check` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One request; ``chat`` puts its text into the model's chat template, ``tokens`` cuts it to a length."""

    text: str
    chat: bool = False
    tokens: int | None = None
