"""Kinds of workload: one file for each, with ``prompts(workload) -> list[Prompt]`` and ``problem(workload)``.

A kind with keys of its own has ``Params``, a frozen dataclass; their values are ``dict(workload.own)``.
Prompts are text here; each worker tokenises them with its model's own tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One request; ``chat`` puts its text into the model's chat template, ``tokens`` cuts it to a length."""

    text: str
    chat: bool = False
    tokens: int | None = None
