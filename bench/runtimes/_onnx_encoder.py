"""Run encoders in ONNX Runtime on the CPU: a traced graph, and pooling in numpy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census
from bench.records import Facts
from bench.runtimes import _onnx_graph, _threads, onnxruntime
from bench.runtimes._onnx import FILE
from bench.runtimes._onnx_graph import Model
from bench.runtimes._traced_encoder import INPUTS, GraphEncoder, exported


def load(directory: Path, options: Options) -> OnnxEncoder:
    """Write the graph once, and load it. Raises Unsupported as the engine for decoders does, and for a model
    that cannot be traced."""
    onnxruntime.check(options)
    path = exported(directory, options, "onnx", ("onnx",), FILE)
    return OnnxEncoder(Model(path, options.threads or _threads.usual()), directory, options)


class OnnxEncoder(GraphEncoder):
    """Hold a session on the graph."""

    def __init__(self, model: Model, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        self.model, self._exported = model, model

    def run(self, ids: Any, mask: Any) -> Any:
        """Run the session once."""
        return self.model.session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]

    def facts(self) -> Facts:
        """Read the facts back from the session; ``loaded`` counts its products."""
        import onnxruntime as library

        kinds = Counter(one.module for one in self.census().matrices)
        products = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        (out,) = self.model.session.get_outputs()
        return Facts(
            engine=f"ONNX Runtime {library.__version__}",
            device="cpu",
            device_name="cpu",
            dtype="float32" if out.type == "tensor(float)" else out.type,
            attention=self.options.attention,
            threads=self.model.threads,
            vocabulary=self.vocabulary,
            context=self.longest,
            random_weights=False,
            loaded=f"{self.reads()}; {products}",
        )

    def synchronise(self) -> None:
        """Do nothing: every call returns when its output is written."""

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every matrix of the file that the session is of, and the bytes of all its constants."""
        return _onnx_graph.census(self.model.graph)

    def parameters(self) -> int:
        """Return how many numbers the exported graph has."""
        return _onnx_graph.parameters(self._exported.graph, tied=False)
