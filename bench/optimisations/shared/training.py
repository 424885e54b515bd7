"""Train a student for the schemes of distillation: any loss, held-out KL, early stop, resume.

``one_off`` keeps the trained weights. While a training runs, a checkpoint lies in the cache, and an
interrupted or diverged training continues from it. The loop uses accelerate, so precision and device are
settings of accelerate.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.engine import Teacher, one_off, processors, progress
from bench.engine.evidence import Census, Check, check
from bench.errors import NonFiniteOutput, NotApplied, Unsupported
from bench.optimisations.shared import calibration, checkpoint
from bench.optimisations.shared.linear import linears, update

PACKAGES = ("torch", "transformers", "accelerate")
HELD_OUT = 0.05  # the share at the end of the text that is never trained on
WARMUP = 0.05
CLIP = 1.0
LORA_ALPHA = 2.0  # alpha is this many times the rank


@dataclass(frozen=True)
class TrainingParams(calibration.CalibrationParams):
    """A training has ``steps`` steps of ``batch`` windows of ``tokens`` tokens of ``text``.

    It uses AdamW; the learning rate has a warm-up and then a cosine to zero. With ``lora_rank``, low-rank
    factors of that rank are trained for each matrix instead of all weights, and merged at the end.
    ``precision`` is that of the products; weights are trained in float32. Every ``evaluate_every`` steps the
    KL on ``held_out`` windows is computed. The training ends after ``patience`` evaluations without a lower
    KL, or after ``max_minutes``. The best weights are kept. ``samples`` is not used.
    """

    text: str = "docstrings"
    steps: int = 200
    batch: int = 4
    learning_rate: float = 1e-4
    lora_rank: int | None = None
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    held_out: int = 8
    evaluate_every: int = 25
    patience: int = 4
    max_minutes: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "batch", "held_out", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise ValueError("learning_rate must be above 0 and below 1, such as 0.0001")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError("lora_rank must be at least 1")
        if not 0 < self.max_minutes <= 10_000:
            raise ValueError("max_minutes must be above 0 and at most 10000")


Loss = Callable[[Any, Any], Any]


@dataclass
class State:
    """Hold the progress of a training. ``best`` are the weights of the lowest held-out KL so far."""

    step: int = 0
    spent_s: float = 0.0
    first_kl: float = math.nan
    best_kl: float = math.inf
    without_better: int = 0
    best: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Return all fields except the weights."""
        return {key: value for key, value in vars(self).items() if key != "best"}


def trained(
    name: str,
    model: Any,
    params: TrainingParams,
    recipe: Mapping[str, object],
    make_loss: Callable[[], tuple[Loss, Loss]],
) -> Any:
    """Return the model with trained weights, from the cache if the same training was done before.

    ``make_loss`` returns (the loss to train with, the held-out KL), both functions of (student, window of ids
    [1, tokens]). It is called only if there is work to do. ``recipe`` is what the weights depend on besides
    the model and ``params``. Raises NonFiniteOutput if the training diverges, and NotApplied if no weights
    were better.
    """
    whole = {"params": asdict(params), **recipe}
    directory = _checkpoints() / one_off.digest(model, whole)[:32]

    def make() -> dict[str, Any]:
        loss, held_out_kl = make_loss()
        return Training(model, params, loss, held_out_kl, directory).run()

    found = one_off.kept(name, model, whole, PACKAGES, make)
    shutil.rmtree(directory, ignore_errors=True)
    return update(model, found)


def _checkpoints() -> Path:
    from bench.models.cache import cache_root

    return Path(cache_root()) / "training"


class Training:
    """Train a student with AdamW once; ``run`` returns the best weights, which the student then has too."""

    def __init__(
        self, model: Any, params: TrainingParams, loss: Loss, held_out_kl: Loss, directory: Path
    ) -> None:
        import torch
        from accelerate import Accelerator

        self.params, self.loss, self.held_out_kl, self.directory = params, loss, held_out_kl, directory
        self.student = model
        device = next(model.parameters()).device
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if params.precision == "bfloat16" else "no",
        )
        self.windows = calibration.windows(
            model, _drawn(params, params.steps * params.batch), (0.0, 1 - HELD_OUT)
        )
        self.held_out = calibration.windows(model, _drawn(params, params.held_out), (1 - HELD_OUT, 1.0))
        self.state = State()
        self.torch = torch

    def run(self) -> dict[str, Any]:
        """Train on every processor, and return the best weights by name.

        Raises NotApplied if no weights had a lower held-out KL than the first ones.
        """
        with _every_processor(), _trainable(self.student, self.params) as weights:
            optimizer = self.torch.optim.AdamW(
                weights.values(), lr=self.params.learning_rate, weight_decay=0.0
            )
            found = checkpoint.load(self.directory, weights, optimizer)
            if found is not None:
                self.state = State(**found[0], best=found[1])
                one_off.detail(earlier_s=self.state.spent_s)
                progress.say(f"training goes on from step {self.state.step}", now=True)
            self._train(weights, optimizer)
            for key, tensor in self.state.best.items():
                weights[key].data.copy_(tensor)
        if self.state.best_kl >= self.state.first_kl:
            raise NotApplied(
                f"no weights in {self.state.step} steps had a lower held-out KL than the "
                f"{self.state.first_kl:.4g} it began with"
            )
        one_off.detail(
            steps=self.state.step,
            held_out_kl_before=self.state.first_kl,
            held_out_kl_after=self.state.best_kl,
            trained_s=self.state.spent_s,
        )
        return {key: tensor.detach().clone() for key, tensor in self.student.named_parameters()}

    def _train(self, weights: dict[str, Any], optimizer: Any) -> None:
        state, params = self.state, self.params
        began = one_off.clock() - state.spent_s
        if not state.best:
            self._evaluate(weights, optimizer, began)
        while state.step < params.steps and state.without_better < params.patience:
            for group in optimizer.param_groups:
                group["lr"] = params.learning_rate * _schedule(state.step, params.steps)
            loss = self._step(optimizer, list(weights.values()))
            state.step += 1
            state.spent_s = one_off.clock() - began
            if not math.isfinite(loss):
                raise NonFiniteOutput(
                    f"the training diverged at step {state.step} (loss {loss}); the last good checkpoint, "
                    f"of KL {state.best_kl:.4g}, is kept: try a lower learning_rate than "
                    f"{params.learning_rate:g}"
                )
            left = (params.steps - state.step) * state.spent_s / state.step
            progress.say(
                f"{progress.bar(state.step / params.steps)} step {state.step} of {params.steps}, "
                f"loss {loss:.3f}, held-out KL {state.best_kl:.3f}, {left / 60:.0f} min left"
            )
            out_of_time = state.spent_s > 60 * params.max_minutes
            if state.step % params.evaluate_every == 0 or state.step == params.steps or out_of_time:
                self._evaluate(weights, optimizer, began)
            if out_of_time:
                break

    def _step(self, optimizer: Any, weights: list[Any]) -> float:
        """Train on one batch, one window at a time: gradients add up, memory does not."""
        total = 0.0
        first = self.state.step * self.params.batch
        for window in self.windows[first : first + self.params.batch]:
            with self.accelerator.autocast():
                loss = self.loss(self.student, window) / self.params.batch
            self.accelerator.backward(loss)
            total += float(loss.detach())
        self.torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total

    def _evaluate(self, weights: dict[str, Any], optimizer: Any, began: float) -> None:
        """Compute the held-out KL, keep the weights if it is the lowest so far, and write a checkpoint."""
        state = self.state
        with self.torch.no_grad(), self.accelerator.autocast():
            found = [float(self.held_out_kl(self.student, window)) for window in self.held_out]
        kl = sum(found) / len(found)
        if math.isnan(state.first_kl):
            state.first_kl = kl
        if kl < state.best_kl:
            state.best_kl, state.without_better = kl, 0
            state.best = {key: tensor.detach().clone() for key, tensor in weights.items()}
        else:
            state.without_better += 1
        state.spent_s = one_off.clock() - began
        progress.say(f"step {state.step} of {self.params.steps}: held-out KL {kl:.4f}", now=True)
        checkpoint.save(self.directory, weights, state.best, optimizer, state.figures())


def _drawn(params: TrainingParams, samples: int) -> calibration.CalibrationParams:
    return calibration.CalibrationParams(params.text, samples, params.tokens, params.seed)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: a linear rise, then half a cosine down."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@contextmanager
def _every_processor() -> Iterator[None]:
    """Use all processors that this process may use, however many the row is measured with."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(processors.COUNT)
    one_off.detail(processors=processors.COUNT)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _trainable(model: Any, params: TrainingParams) -> Iterator[dict[str, Any]]:
    """Yield the weights to train, by name: all except the embedding and the head, or low-rank factors.

    The factors are merged at the end. Raises Unsupported if weights are already packed, or are not in
    float32.
    """
    import torch

    if any(not p.is_floating_point() for p in model.parameters()):
        raise Unsupported("packed weights cannot be trained: put the quantisation after the distillation")
    ends = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    layers = [layer for _parent, _name, layer in linears(model)]
    if params.lora_rank is None:
        weights = {name: one for name, one in model.named_parameters() if id(one) not in ends}
    else:
        weights = _add_factors(model, layers, params.lora_rank, params.seed)
    dtype = next(iter(weights.values())).dtype
    if dtype != torch.float32:
        raise Unsupported(f"weights are trained in float32: set runtime.dtype float32, not {dtype}")
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        yield weights
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
        if params.lora_rank is not None:
            for layer in layers:
                torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
            model.requires_grad_(False)


def _add_factors(model: Any, layers: Sequence[Any], rank: int, seed: int) -> dict[str, Any]:
    """Add LoRA factors (Hu et al. 2022, arXiv 2106.09685): weight + B·A·alpha/rank, A random, B zero."""
    import torch

    class Factors(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, weight: Any) -> None:
            super().__init__()
            outputs, inputs = weight.shape
            self.down = torch.nn.Parameter(
                torch.randn(rank, inputs, device=weight.device) / math.sqrt(inputs)
            )
            self.up = torch.nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

        def forward(self, weight: Any) -> Any:
            return weight + self.up @ self.down * LORA_ALPHA

    torch.manual_seed(seed)
    for layer in layers:
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", Factors(layer.weight))
    return {name: one for name, one in model.named_parameters() if name.endswith((".up", ".down"))}


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
    ours, theirs = (one.config.get_text_config().vocab_size for one in (model, teacher))
    if ours != theirs:
        raise Unsupported(f"the student has a vocabulary of {ours}, the baseline of {theirs}: not comparable")
    return teacher


def teacher_digest(baseline: Teacher) -> str:
    """Return a digest of the files of the teacher's weights and config, without loading them."""
    from bench.models.cache import file_sha256

    files = sorted((*baseline.directory.glob("*.safetensors"), baseline.directory / "config.json"))
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
