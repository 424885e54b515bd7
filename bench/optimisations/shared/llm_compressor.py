"""Calibrate a model with llm-compressor once, and keep the tensors that result.

Source: llm-compressor and compressed-tensors (vLLM project). They are used for the calibration only:
transformers unpacks their checkpoints on the first forward pass, so such a model would be measured as a dense
one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.engine import experts, one_off
from bench.engine.evidence import Census, Check, check
from bench.engine.stepping import probe
from bench.errors import Unsupported
from bench.optimisations.shared import calibration, int4
from bench.optimisations.shared.linear import named_linears, update
from bench.records.json_form import Json
from bench.runtimes._checkpoint import in_our_words

# How far logits may move, as a mean and in standard deviations, by a change that computes the same: in
# float32, and in dtypes that round. Scales in the wrong place move them by 0.1 and more.
MOST_APART, MOST_APART_ROUNDED = 0.005, 0.1
PROBE_TOKENS = 48
PACKAGES = ("llmcompressor", "compressed-tensors", "torch")


@dataclass(frozen=True)
class GroupParams(calibration.CalibrationParams):
    """``group_size`` weights of a row share a scale. The other settings choose the calibration text."""

    group_size: Literal[32, 64, 128, 256] = 64


def int4_groups(group_size: int, *, symmetric: bool) -> Json:
    """Return the settings of a modifier for 4-bit weights in groups, without the head."""
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": group_size}
    group = {"targets": ["Linear"], "weights": weights | {"symmetric": symmetric}}
    return {"config_groups": {"layers": group}, "ignore": ["lm_head"]}


def to_int4(name: str, model: Any, params: GroupParams, make_modifiers: Callable[[], Sequence[Any]]) -> Any:
    """Return the model with calibrated 4-bit layers on PyTorch's int4 kernel.

    Raises Unsupported for shapes that the groups or the kernel do not take, and for a text that is too short.
    """
    int4.check_shapes(model, params.group_size)
    found = _kept(name, model, params, make_modifiers, _int4_tensors)
    return int4.replace(update(model, found), found)


def sparsity(params: Any) -> Json:
    """Return the settings of a modifier that sets weights to zero in every linear layer except the head.

    They name targets, because without targets llm-compressor has reported success and pruned nothing.
    """
    structure = "2:4" if params.pattern == "2:4" else "0:0"
    return {
        "sparsity": params.sparsity,
        "mask_structure": structure,
        "targets": ["Linear"],
        "ignore": ["re:.*lm_head"],
    }


def with_new_weights(name: str, model: Any, params: Any, make_modifiers: Callable[[], Sequence[Any]]) -> Any:
    """Return the model with the weights that the modifiers changed, in the model's own dtype."""
    return update(model, _kept(name, model, params, make_modifiers, lambda _calibrated: {}))


def logits_of(model: Any) -> Any:
    """Return the logits of a short text, float32 [tokens, vocabulary]."""
    import torch

    ids = probe(PROBE_TOKENS, model.config.get_text_config().vocab_size)
    with torch.no_grad():
        window = torch.tensor([ids], device=next(model.parameters()).device)
        return model(input_ids=window, use_cache=False).logits[0].float()


def must_compute_the_same(model: Any, before: Any) -> None:
    """Raise Unsupported if scales that were to move between layers have changed what the model computes.

    llm-compressor knows some architectures, and takes all others for a Llama. ``before`` are the logits of
    ``logits_of`` then.
    """
    import torch

    apart = float((logits_of(model) - before).abs().mean() / before.std())
    exact = next(model.parameters()).dtype is torch.float32
    if not apart <= (MOST_APART if exact else MOST_APART_ROUNDED):
        raise Unsupported(
            f"llm-compressor moves scales between layers of {type(model).__name__} that do not follow each "
            f"other: its logits moved by {apart:.2g} of their standard deviation before anything was rounded"
        )


def norms_changed(before: Census, after: Census) -> Check:
    """Check that scales moved between layers: the norms in front of the linear layers must have changed."""
    changed = sum(after.norms.get(name) != size for name, size in before.norms.items())
    return check("norms that took up a scale", changed, changed > 0, f"1 to {len(before.norms)}")


Tensors = dict[str, Any]


def _kept(
    name: str,
    model: Any,
    params: Any,
    make_modifiers: Callable[[], Sequence[Any]],
    codes: Callable[[Any], Tensors],
) -> Tensors:
    """Return the ``codes`` of the calibrated layers and all weights that changed.

    They come from the cache; if they are not there, a copy of the model is calibrated. Every expert of a
    mixture reads all of the text then, also the tokens that the router sends elsewhere.
    """

    def make() -> Tensors:
        windows = calibration.windows(model, params)
        calibrated = copy.deepcopy(model)
        with _as_a_guest(), experts.reading_everything(calibrated):
            _oneshot(calibrated, make_modifiers(), windows)
        found = codes(calibrated)
        own = dict(model.named_parameters())
        coded = {key.rpartition(".")[0] for key in found}
        changed = {
            key: tensor
            for key, tensor in calibrated.named_parameters()
            if key.rpartition(".")[0] not in coded and key in own and not bool((own[key] == tensor).all())
        }
        return found | changed

    recipe = {**asdict(params), **calibration.beyond_names(model, params)}
    return one_off.kept(name, model, recipe, PACKAGES, make)


def _int4_tensors(calibrated: Any) -> Tensors:
    """Convert signed codes with a zero point to those of the kernel: zero = -scale · zero point."""
    found: Tensors = {}
    for name, layer in named_linears(calibrated):
        scale = layer.weight_scale.float()
        point = getattr(layer, "weight_zero_point", None)
        zero = scale * 0 if point is None else -scale * point.float()
        found |= int4.tensors(name, layer.weight, scale, zero)
    return found


def _oneshot(model: Any, modifiers: Sequence[Any], windows: Sequence[Any]) -> None:
    import torch
    from llmcompressor import oneshot

    rows = [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in windows]
    data = torch.utils.data.DataLoader(rows, batch_size=None)
    recipe, no_tokenizer = list(modifiers), object()  # the windows are already token ids
    with in_our_words("", f"llm-compressor cannot calibrate {type(model).__name__}"):
        oneshot(
            model=model,
            recipe=recipe,
            dataset=data,
            num_calibration_samples=len(rows),
            processor=no_tokenizer,
        )


@contextmanager
def _as_a_guest() -> Iterator[None]:
    """Limit the side effects of llm-compressor while it works.

    It logs every layer and draws progress bars. It pins memory even if there is no accelerator to pin it for
    (0.14, AWQ). It keeps the model in memory until it calibrates another one.
    """
    import torch
    from llmcompressor.core import reset_session
    from llmcompressor.pipelines.cache import IntermediatesCache
    from loguru import logger

    pin = IntermediatesCache.pin_memory
    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda self, *_arguments: None
    for package in ("llmcompressor", "compressed_tensors"):
        logger.disable(package)
    try:
        yield
    finally:
        reset_session()
        IntermediatesCache.pin_memory = pin
        for package in ("llmcompressor", "compressed_tensors"):
            logger.enable(package)
