"""Run encoders in OpenVINO on the CPU: a traced graph without a state, and pooling in numpy."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census
from bench.models.weight_files import weight_files
from bench.records import Facts
from bench.runtimes import _openvino, openvino
from bench.runtimes._openvino import FILE, QUANTISED_ACTIVATIONS
from bench.runtimes._traced_encoder import INPUTS, GraphEncoder, exported


def load(directory: Path, options: Options) -> OpenVinoEncoder:
    """Write the graph once, and compile it. Raises Unsupported as the engine for decoders does, and for a
    model that cannot be traced."""
    settings = _openvino.settings_for(options)
    path = exported(directory, options, "openvino", ("openvino",), FILE)
    return OpenVinoEncoder(openvino.Model(path, settings), directory, options)


class OpenVinoEncoder(GraphEncoder):
    """Hold a compiled graph, and a request for it."""

    def __init__(self, model: openvino.Model, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        self.model = model
        self._weights = weight_files(directory)
        self._tensor = _openvino.library().Tensor
        self._request: Any = None
        self._of: Any = None  # the model whose request it is: a scheme may replace the model

    def run(self, ids: Any, mask: Any) -> Any:
        """Run the request once. Its output is copied, because the next call writes to the same memory."""
        if self._of is not self.model:
            self._of, self._request = self.model, self.model.compiled.create_infer_request()
        for name, values in zip(INPUTS, (ids, mask), strict=True):
            self._request.set_tensor(name, self._tensor(values))
        self._request.infer()
        return self._request.get_output_tensor(0).data.copy()

    def facts(self) -> Facts:
        """Read the facts back from the compiled model."""
        model = self.model
        hint = str(model.setting("INFERENCE_PRECISION_HINT"))
        names = {precision: dtype for dtype, precision in _openvino.PRECISIONS.items()}
        activations = _openvino.activations(model.setting(QUANTISED_ACTIVATIONS))
        return Facts(
            engine=f"OpenVINO {version('openvino')}",
            device="cpu",
            device_name="cpu",
            dtype=names.get(hint, hint),
            attention=self.options.attention,
            threads=model.setting("INFERENCE_NUM_THREADS"),
            vocabulary=self.vocabulary,
            context=self.longest,
            random_weights=False,
            loaded=f"{self.reads()}; {hint}, {activations}",
        )

    def synchronise(self) -> None:
        """Do nothing: every call waits for its result."""

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every matrix as the executed graph holds it, embeddings (``Gather``) too."""
        group = {"activation_group": float(str(self.model.setting(QUANTISED_ACTIVATIONS)))}
        return _openvino.census(self.model.operators(), group)

    def parameters(self) -> int:
        """Return how many weights the checkpoint has."""
        return _openvino.parameters(self._weights, tied=False)
