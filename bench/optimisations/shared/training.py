"""Train a student for the schemes of distillation: any loss, held-out KL, early stop, resume.

``one_off`` keeps the trained weights. While a training runs, a checkpoint lies in the cache, and an
interrupted or diverged training continues from it. The loop uses accelerate, so precision and device are
settings of accelerate.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.engine import bfloat16, one_off, progress
from bench.errors import NonFiniteOutput, NotApplied
from bench.optimisations.shared import calibration, checkpoint
from bench.optimisations.shared.linear import update
from bench.optimisations.shared.trainable import every_processor, trainable

if TYPE_CHECKING:
    from torch import Tensor

PACKAGES = ("torch", "transformers", "accelerate")
HELD_OUT = 0.05  # the share at the end of the text that is never trained on
WARMUP = 0.05
CLIP = 1.0
_MOST_STEPS, _MOST_OTHERS = ("steps", "evaluate_every", "patience"), ("batch", "held_out", "lora_rank")
MOST = {**dict.fromkeys(_MOST_STEPS, 50_000), **dict.fromkeys(_MOST_OTHERS, 4096)}


@dataclass(frozen=True)
class TrainingParams(calibration.CalibrationParams):
    """A training has ``steps`` steps of ``batch`` windows of ``tokens`` tokens of ``text``.

    It uses AdamW; the learning rate has a warm-up and then a cosine to zero. With ``lora_rank``, low-rank
    factors of that rank are trained for each matrix instead of all weights, and merged at the end.
    ``precision`` is that of the products; weights are trained in float32. ``auto`` is bfloat16 where the
    device multiplies it itself, and float32 elsewhere. Every ``evaluate_every`` steps the
    KL on ``held_out`` windows is computed. The training ends after ``patience`` evaluations without a lower
    KL, or after ``max_minutes``. The best weights are kept.
    """

    text: str = "docstrings"
    steps: int = 200
    batch: int = 4
    learning_rate: float = 1e-4
    lora_rank: int | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    held_out: int = 8
    evaluate_every: int = 25
    patience: int = 4
    max_minutes: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name} must be from 1 to {most}, not {value}")
        calibration.must_fit("steps times batch", self.steps * self.batch, self.tokens)
        calibration.must_fit("held_out", self.held_out, self.tokens)
        if not 0 < self.learning_rate < 1:
            raise ValueError("learning_rate must be above 0 and below 1, such as 0.0001")
        if not 0 < self.max_minutes <= 10_000:
            raise ValueError("max_minutes must be above 0 and at most 10000")


Loss = Callable[[Any, Any], Any]


def unused(params: TrainingParams) -> dict[str, str]:
    """Return the settings that do nothing: a training has as many windows as its steps need."""
    return {"samples": "a training reads steps times batch windows"}


@dataclass
class State:
    """Hold the progress of a training. ``best`` are the weights of the lowest held-out KL so far."""

    step: int = 0
    spent_s: float = 0.0
    first_kl: float = math.nan
    best_kl: float = math.inf
    without_better: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    def figures(self) -> dict[str, object]:
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
    if params.precision == "auto":
        params = replace(params, precision="bfloat16" if bfloat16.multiplies(model.device) else "float32")
    whole = {"params": asdict(params), **calibration.beyond_names(model, params), **recipe}
    directory = _checkpoints() / one_off.digest(model, whole)[:32]

    def make() -> dict[str, Any]:
        loss, held_out_kl = make_loss()
        return Training(model, params, loss, held_out_kl, directory).run()

    found = one_off.kept(name, model, whole, PACKAGES, make)
    shutil.rmtree(directory, ignore_errors=True)
    return update(model, found)


def _checkpoints() -> Path:
    from bench.models.disk_cache import cache_root

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
        mixed = "bf16" if params.precision == "bfloat16" else "no"
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
        self.windows = calibration.windows(
            model, _drawn(params, params.steps * params.batch), (0.0, 1 - HELD_OUT)
        )
        self.held_out = calibration.windows(model, _drawn(params, params.held_out), (1 - HELD_OUT, 1.0))
        self.state = State()
        self.torch = torch

    def run(self) -> dict[str, Tensor]:
        """Train on every processor, and return the best weights by name.

        Raises NotApplied if no weights had a lower held-out KL than the first ones.
        """
        with every_processor(), trainable(self.student, self.params.lora_rank, self.params.seed) as weights:
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
            product_bits=16 if self.params.precision == "bfloat16" else 32,
        )
        return {key: tensor.detach().clone() for key, tensor in self.student.named_parameters()}

    def _train(self, weights: dict[str, Tensor], optimizer: Any) -> None:
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

    def _evaluate(self, weights: dict[str, Tensor], optimizer: Any, began: float) -> None:
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
