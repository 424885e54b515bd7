"""Distillation from logits: the student learns the baseline's whole distribution over the next token.

Source: Hinton et al. 2015, arXiv 1503.02531; the reverse direction is that of Gu et al. 2024, arXiv
2306.08543. The student is the model as the earlier steps left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import Teacher
from bench.engine.evidence import Census, Check
from bench.errors import Unsupported
from bench.optimisations.shared import distillation, training

REQUIRES = ("torch", "accelerate")
unused = training.unused


@dataclass(frozen=True)
class Params(training.TrainingParams):
    """``direction`` is ``forward``, KL(teacher ‖ student), or ``reverse``.

    ``temperature`` divides the logits of both models. ``hidden`` is the weight of one minus the cosine
    between the last hidden states. The other settings are those of any training.
    """

    direction: Literal["forward", "reverse"] = "forward"
    temperature: float = 1.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature <= 100:
            raise ValueError("temperature must be above 0 and at most 100")
        if not 0 <= self.hidden <= 1000:
            raise ValueError("hidden must be 0 to 1000")


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason for every dtype except float32, because weights are trained in float32."""
    return None if dtype == "float32" else f"weights are trained in float32: set runtime.dtype, not {dtype}"


def apply(model: Any, params: Params, teacher: Teacher) -> Any:
    """Train the student, with the baseline loaded beside it."""
    recipe = {"scheme": "logits", "teacher": distillation.teacher_digest(teacher)}
    return training.trained("distil-logits", model, params, recipe, lambda: _losses(model, params, teacher))


def _losses(model: Any, params: Params, baseline: Teacher) -> tuple[training.Loss, training.Loss]:
    """Return (the loss to train with, KL(teacher ‖ student) at temperature 1).

    Raises Unsupported if hidden states of different widths would be compared.
    """
    import torch

    teacher = distillation.teacher_of(model, baseline)
    if params.hidden and teacher.config.hidden_size != model.config.hidden_size:
        raise Unsupported("hidden states of different widths cannot be compared: leave hidden at 0")

    def loss(student: Any, window: Any) -> Any:
        with torch.no_grad():
            of_teacher, teacher_states = distillation.logits_and_state(
                teacher, window, state=params.hidden > 0
            )
        of_student, states = distillation.logits_and_state(student, window, state=params.hidden > 0)
        pair = (of_teacher, of_student) if params.direction == "forward" else (of_student, of_teacher)
        total = distillation.kl(*pair, params.temperature) * params.temperature**2
        if params.hidden:
            cosine = torch.nn.functional.cosine_similarity(states.float(), teacher_states.float(), dim=-1)
            total = total + params.hidden * (1 - cosine).mean()
        return total

    return loss, distillation.held_out(teacher)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every matrix was trained."""
    return distillation.evidence(before, after)
