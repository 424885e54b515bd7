"""The training loop that schemes of distillation share: any loss, held-out KL, early stop, resume.

What it trains is kept by ``one_off``; while it runs, a checkpoint lies in the cache, from which an
interrupted or diverged training goes on. Through accelerate, so precision and device are its settings.
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
HELD_OUT = 0.05  # the end of the text, which is never trained on
WARMUP = 0.05
CLIP = 1.0
LORA_ALPHA = 2.0  # times the rank


@dataclass(frozen=True)
class TrainingParams(calibration.CalibrationParams):
    """``steps`` of ``batch`` windows of ``tokens`` tokens of ``text``, with AdamW, a warm-up and a cosine to
    zero.

    ``lora_rank``: train so many directions a matrix, merged at the end, not all weights. ``precision`` of the
    products; weights are trained in float32. Every ``evaluate_every`` steps the KL on ``held_out`` windows is
    taken; after ``patience`` of them without a better one the training ends, as it does after
    ``max_minutes``. The best weights are kept. ``samples`` is not used.
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
    """Where a training is. ``best`` are the weights of the lowest held-out KL so far."""

    step: int = 0
    spent_s: float = 0.0
    first_kl: float = math.nan
    best_kl: float = math.inf
    without_better: int = 0
    best: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """All but the weights."""
        return {key: value for key, value in vars(self).items() if key != "best"}


def trained(
    name: str,
    model: Any,
    params: TrainingParams,
    recipe: Mapping[str, object],
    make_loss: Callable[[], tuple[Loss, Loss]],
) -> Any:
    """The model with trained weights, from the cache where the same training was done before.

    ``make_loss`` returns (loss to train with, KL to hold out), each of (student, window of ids [1, tokens]);
    it is called only where there is work to do. ``recipe`` is what the weights depend on besides the model
    and ``params``. Raises NonFiniteOutput where the training diverges.
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
    """One run of AdamW over a student that is left as it was found; ``run`` returns the best weights."""

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
        """Train on every processor, then give the threads back."""
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
        """One batch, a window at a time: gradients add up, memory does not."""
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
        """Held-out KL; the weights where it is the lowest so far; a checkpoint."""
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
    """The share of the learning rate: up in a line, down in half a cosine."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@contextmanager
def _every_processor() -> Iterator[None]:
    """Training takes all processors that this process may use, whatever the row is measured with."""
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
    """The weights to be trained, by name: all but the embedding and the head, or low-rank factors that are
    merged at the end. Unsupported where weights are packed already."""
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
    """LoRA (Hu et al. 2022, arXiv 2106.09685): weight + B·A·alpha/rank, A random, B zero."""
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
    """Every matrix but the head has other weights than before, of the same shape."""
    old = {m.name: m for m in before.matrices if not m.is_head}
    moved = [
        m.name
        for m in after.matrices
        if m.name in old and m.shape == old[m.name].shape and m.magnitude != old[m.name].magnitude
    ]
    return [check("matrices whose weights were trained", len(moved), 0 < len(moved) == len(old), len(old))]


def teacher_of(model: Any, baseline: Teacher) -> Any:
    """Load the baseline beside the student. Unsupported where their vocabularies differ."""
    teacher = baseline.load()
    ours, theirs = (one.config.get_text_config().vocab_size for one in (model, teacher))
    if ours != theirs:
        raise Unsupported(f"the student has a vocabulary of {ours}, the baseline of {theirs}: not comparable")
    return teacher


def teacher_digest(baseline: Teacher) -> str:
    """What the teacher's weights are, without loading them."""
    from bench.models.cache import file_sha256

    files = sorted((*baseline.directory.glob("*.safetensors"), baseline.directory / "config.json"))
    return " ".join(file_sha256(path) for path in files)


def held_out(teacher: Any) -> Loss:
    """KL(teacher ‖ student) of a window, whatever is trained with."""

    def of(student: Any, window: Any) -> Any:
        return kl(logits_and_state(teacher, window)[0], logits_and_state(student, window)[0])

    return of


def kl(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """Mean over positions of KL(teacher ‖ student) in nats, of logits [positions, vocabulary]."""
    import torch

    p = torch.log_softmax(teacher.float() / temperature, -1)
    q = torch.log_softmax(student.float() / temperature, -1)
    return (p.exp() * (p - q)).sum(-1).mean()


def logits_and_state(model: Any, window: Any, *, state: bool = False) -> tuple[Any, Any]:
    """(logits [tokens, vocabulary], last hidden state [tokens, width] where asked for) of a window [1,
    tokens]."""
    out = model(input_ids=window, use_cache=False, output_hidden_states=state)
    return out.logits[0], out.hidden_states[-1][0] if state else None
