"""Wrap an encoder as a module that can be traced: token ids and a mask in, hidden states or logits out.

Both exports, ONNX and OpenVINO, are traced from the module that the transformers engine runs, so that all
engines compute the same model. Pooling is done outside the graph, in numpy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.errors import Unsupported
from bench.formatting import one_line
from bench.runtimes import _transformers_encoder
from bench.runtimes._encoder import EncoderEngine, padded
from bench.runtimes._export import kept_export

RECIPE = 1  # part of the cache key: raise it when the same weights are traced differently
INPUTS = ("input_ids", "attention_mask")
MOST_SAID, MOST_APART = 200, 0.05


def exported(directory: Path, options: Options, engine: str, packages: Sequence[str], file: str) -> Path:
    """Return the graph of the encoder in ``directory``, from the cache if it was written before.

    ``engine`` is onnx or openvino, whose ``packages`` write it into ``file``. Raises Unsupported for a model
    that cannot be traced.
    """
    from importlib.metadata import version

    versions = " ".join(f"{name} {version(name)}" for name in ("torch", "transformers", *packages))
    asked = f"{options.task} {options.dtype} {options.attention}"
    begin, end, write = f"{engine} encoder {asked}", f"{versions} {RECIPE}", WRITERS[engine]
    return kept_export(directory, begin, end, lambda to: _write(directory, options, write, to / file)) / file


def _write(directory: Path, options: Options, write: Callable[[Any, Any, Path], None], to: Path) -> None:
    import torch

    encoder = _transformers_encoder.load(directory, options)
    if (traced := encoder.facts().attention) != options.attention:  # the graph says no more of it
        raise Unsupported(f"transformers computes this encoder with {traced} attention")
    module = _traceable(encoder.model, embeds=encoder.embeds)
    ids = torch.tensor([[2, 5, 4, 3], [2, 6, 3, encoder.pad]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        try:
            _must_compute_the_same(encoder, module, ids, mask)
            write(module, (ids, mask), to)
        except (RuntimeError, TypeError, ValueError) as bad:
            said = one_line(f"{type(bad).__name__}: {bad}")[:MOST_SAID]
            raise Unsupported(f"{encoder.name} cannot be written as a graph ({said})") from bad


def _must_compute_the_same(encoder: Any, module: Any, ids: Any, mask: Any) -> None:
    """Raise Unsupported if the module that is traced gives other outputs than the model: one that reads only
    what came before, for example, adds more to its scores than the mask that is given here."""
    out = encoder.model(input_ids=ids, attention_mask=mask)
    theirs, ours = (out.last_hidden_state if encoder.embeds else out.logits).float(), module(ids, mask)
    apart = ours - theirs
    if encoder.embeds:
        apart = apart[mask.bool()]
    if float(apart.norm()) > MOST_APART * float(theirs.norm()):
        raise Unsupported(f"a graph of {encoder.name} would compute something else: it has a mask of its own")


def _traceable(model: Any, *, embeds: bool) -> Any:
    """Return a module that adds its mask to the attention scores itself: the code of transformers that makes
    masks looks at their values, which a trace would keep."""
    import torch

    class Traceable(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            dtype = self.model.dtype
            hidden = (1 - attention_mask[:, None, None, :]).to(dtype) * torch.finfo(dtype).min
            out = self.model(input_ids=input_ids, attention_mask=hidden)
            return (out.last_hidden_state if embeds else out.logits).float()

    return Traceable().eval()


def _as_onnx(module: Any, example: Any, to: Path) -> None:
    import warnings

    import torch

    axes = {name: {0: "texts", 1: "tokens"} for name in INPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, str(to), input_names=list(INPUTS), output_names=["out"], opset_version=17,
            dynamic_axes={**axes, "out": {0: "texts"}}, dynamo=False,
        )  # fmt: skip


def _as_openvino(module: Any, example: Any, to: Path) -> None:
    from bench.runtimes import _openvino

    openvino = _openvino.library()
    graph = openvino.convert_model(module, example_input=dict(zip(INPUTS, example, strict=True)))
    openvino.save_model(graph, to, compress_to_fp16=False)


WRITERS = {"onnx": _as_onnx, "openvino": _as_openvino}


class GraphEncoder(EncoderEngine):
    """The base of engines that run such a graph; a subclass has ``run``."""

    TORCH = False

    @abstractmethod
    def run(self, ids: Any, mask: Any) -> Any:
        """Return what the graph makes of ids and mask, both int64 [texts, tokens]."""

    def outputs(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return float32 vectors or logits of labels, [texts, numbers], as a numpy array."""
        import numpy as np

        rows, masked = padded(prompts, self.pad)
        ids = np.array(rows, np.int64)
        mask = np.ones_like(ids) if masked is None else np.array(masked, np.int64)
        out = self.run(ids, mask)
        return self._pooled(out, mask) if self.embeds else out

    def _pooled(self, hidden: Any, mask: Any) -> Any:
        import numpy as np

        if self.pooling.of == "first":
            vectors = hidden[:, 0]
        elif self.pooling.of == "last":
            vectors = hidden[np.arange(len(hidden)), mask.sum(1) - 1]
        else:
            weights = mask[:, :, None].astype(np.float32)
            vectors = (hidden * weights).sum(1) / weights.sum(1)
        return (
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if self.pooling.normalised else vectors
        )
