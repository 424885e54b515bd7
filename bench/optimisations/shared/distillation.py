"""Hold what distillation schemes share: the teacher, the divergence to it, and the evidence of a training."""

from __future__ import annotations

from typing import Any

from bench.engine import Teacher
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.models.weight_files import weight_files
from bench.optimisations.shared.training import Loss


def evidence(before: Census, after: Census) -> list[Check]:
    """Check that every matrix except the head has the same shape as before, and other weights."""
    old = {m.name: m for m in before.matrices if not m.is_head}
    moved = [
        m.name
        for m in after.matrices
        if m.name in old and m.shape == old[m.name].shape and m.magnitude != old[m.name].magnitude
    ]
    return [check("matrices whose weights were trained", len(moved), 0 < len(moved) == len(old), len(old))]


def teacher_of(model: Any, baseline: Teacher) -> Any:
    """Load the baseline beside the student. Raises Unsupported if their vocabularies differ."""
    teacher = baseline.load()
    of_student, of_teacher = (side.config.get_text_config().vocab_size for side in (model, teacher))
    if of_student != of_teacher:
        raise Unsupported(
            f"the student has a vocabulary of {of_student}, the baseline of {of_teacher}: not comparable"
        )
    return teacher


def teacher_digest(baseline: Teacher) -> str:
    """Return a digest of the files of the teacher's weights and config, without loading them."""
    from bench.models.disk_cache import file_sha256

    files = sorted((*weight_files(baseline.directory), baseline.directory / "config.json"))
    return " ".join(file_sha256(path) for path in files)


def held_out(teacher: Any) -> Loss:
    """Return the function that computes KL(teacher ‖ student) on a window, whatever the training loss is."""

    def of(student: Any, window: Any) -> Any:
        return kl(logits_and_state(teacher, window)[0], logits_and_state(student, window)[0])

    return of


def kl(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """Return the mean KL(teacher ‖ student) over positions in nats; logits are [positions, vocabulary]."""
    import torch

    p = torch.log_softmax(teacher.float() / temperature, -1)
    q = torch.log_softmax(student.float() / temperature, -1)
    return (p.exp() * (p - q)).sum(-1).mean()


def logits_and_state(model: Any, window: Any, *, state: bool = False) -> tuple[Any, Any]:
    """Return (logits [tokens, vocabulary], last hidden state [tokens, width] or None).

    ``window`` has the shape [1, tokens].
    """
    out = model(input_ids=window, use_cache=False, output_hidden_states=state)
    return out.logits[0], out.hidden_states[-1][0] if state else None
