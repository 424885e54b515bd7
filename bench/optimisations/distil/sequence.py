"""Distillation from sequences: the student learns the replies that the baseline writes.

Source: Kim and Rush 2016, arXiv 1606.07947. The baseline continues the beginning of each window of text, and
the student is trained on what the baseline wrote. The student is the model as the earlier steps left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine import Teacher, progress
from bench.engine.evidence import Census, Check
from bench.optimisations.shared import distillation, training

REQUIRES = ("torch", "accelerate")
unused = training.unused


@dataclass(frozen=True)
class Params(training.TrainingParams):
    """``prompt`` is the share of a window's tokens that the baseline is given; it writes the rest.

    The other settings are those of any training.
    """

    prompt: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.prompt < 1:
            raise ValueError("prompt must be above 0 and below 1, such as 0.25")
        if not 1 <= self.given < self.tokens:
            raise ValueError(
                f"prompt must leave a token on both sides: {self.prompt:g} of {self.tokens} tokens "
                f"is {self.given}"
            )

    @property
    def given(self) -> int:
        """Return how many tokens of a window the baseline is given."""
        return round(self.prompt * self.tokens)


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason for every dtype except float32, because weights are trained in float32."""
    return None if dtype == "float32" else f"weights are trained in float32: set runtime.dtype, not {dtype}"


def apply(model: Any, params: Params, teacher: Teacher) -> Any:
    """Train the student, with the baseline loaded beside it."""
    recipe = {"scheme": "sequence", "teacher": distillation.teacher_digest(teacher)}
    return training.trained("distil-sequence", model, params, recipe, lambda: _losses(model, params, teacher))


def _losses(model: Any, params: Params, baseline: Teacher) -> tuple[training.Loss, training.Loss]:
    """Return (cross-entropy on what the teacher writes, KL(teacher ‖ student) on the text itself)."""
    import torch

    teacher = distillation.teacher_of(model, baseline)
    given = params.given
    written = 0

    def loss(student: Any, window: Any) -> Any:
        nonlocal written
        sequence = _continued(teacher, window[:, :given], params.tokens)
        written += params.tokens - given
        progress.say(f"the baseline has written {written} tokens")
        logits, _states = distillation.logits_and_state(student, sequence)
        return torch.nn.functional.cross_entropy(logits[given - 1 : -1].float(), sequence[0, given:])

    return loss, distillation.held_out(teacher)


def _continued(teacher: Any, prompt: Any, tokens: int) -> Any:
    """Return ``prompt`` [1, given] followed by tokens drawn from the teacher's distribution: [1, tokens]."""
    import torch

    ids, cache = prompt, None
    with torch.no_grad():
        while ids.shape[1] < tokens:
            new = ids if cache is None else ids[:, -1:]
            out = teacher(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            probabilities = torch.softmax(out.logits[:, -1].float(), -1)
            ids = torch.cat([ids, torch.multinomial(probabilities, 1)], 1)
    return ids


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every matrix was trained."""
    return distillation.evidence(before, after)
