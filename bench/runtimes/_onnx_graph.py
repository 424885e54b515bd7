"""Open an ONNX file: start a session on it, and read what is stored in its graph."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.engine.evidence import Census, Matrix
from bench.runtimes._onnx import HEAD, HEAD_WEIGHT

PRODUCTS = ("MatMul", "MatMulInteger", "MatMulNBits")
TABLES = ("cos_cache", "sin_cache")


class Model:
    """Hold a session on one ONNX file."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        wanted = onnxruntime.SessionOptions()
        wanted.intra_op_num_threads = threads
        wanted.inter_op_num_threads = 1
        wanted.log_severity_level = 3
        # Threads that still spin after a step would disturb the engine that has the next turn.
        wanted.add_session_config_entry("session.force_spinning_stop", "1")
        self.path = path
        self.session = onnxruntime.InferenceSession(path, wanted, providers=["CPUExecutionProvider"])

    @cached_property
    def graph(self) -> Any:
        """Return the graph as it is in the file, without the weights, which are stored beside it."""
        import onnx

        return onnx.load(self.path, load_external_data=False).graph

    @property
    def threads(self) -> int:
        """Return the number of threads of one operator, including the caller's own."""
        return int(self.session.get_session_options().intra_op_num_threads)


def census(graph: Any) -> Census:
    """List every matrix of a graph, and the bytes of all its constants."""
    stored = _Constants(graph)
    matrices = tuple(
        stored.matrix(node)
        for node in graph.node
        if node.op_type in PRODUCTS and node.input[1] in stored.by_name
    )
    by_dtype: Counter[str] = Counter()
    for name in stored.by_name:
        by_dtype[stored.dtype(name)] += stored.size(name)
    return Census(matrices, sum(by_dtype.values()), dict(by_dtype))


def parameters(graph: Any, *, tied: bool) -> int:
    """Return how many numbers a graph stores, without the tables of rotary embedding; a ``tied`` head is not
    counted a second time."""
    stored = _Constants(graph)
    left_out = (*TABLES, HEAD_WEIGHT) if tied else TABLES
    return sum(stored.elements(name) for name in stored.by_name if name not in left_out)


class _Constants:
    """Look up the constants of a graph by name."""

    def __init__(self, graph: Any) -> None:
        self.by_name = {one.name: one for one in graph.initializer}

    def elements(self, name: str) -> int:
        """Return how many numbers are stored: two weights of four bits are one number."""
        return math.prod(self.by_name[name].dims)

    def dtype(self, name: str) -> str:
        """Return NumPy's name of the dtype."""
        import onnx

        return str(onnx.helper.tensor_dtype_to_np_dtype(self.by_name[name].data_type))

    def size(self, name: str) -> int:
        """Return the bytes of a constant."""
        import numpy as np

        return self.elements(name) * np.dtype(self.dtype(name)).itemsize

    def matrix(self, node: Any) -> Matrix:
        """Describe the weights of one product, with the scales and zero points that belong to them."""
        weight = node.input[1]
        scale = f"{weight.removesuffix('_quantized')}_scale"
        parts = {weight, scale, *node.input[2:]} & self.by_name.keys()
        numbers = _numbers(node)
        return Matrix(
            node.name.strip("/").partition("/MatMul")[0].replace("/", "."),
            node.op_type,
            self.dtype(weight),
            int(numbers.get("N", 0) * numbers.get("K", 0)) or self.elements(weight),
            sum(self.size(name) for name in parts),
            None,
            node.name.startswith(HEAD),
            numbers,
        )


def _numbers(node: Any) -> dict[str, float]:
    """Return the integer attributes of an operator.

    For ``MatMulNBits`` these are its shape (N, K), bits and block size.
    """
    import onnx

    wanted = onnx.AttributeProto.INT
    return {one.name: float(one.i) for one in node.attribute if one.type == wanted}
