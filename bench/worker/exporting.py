"""Write the optimised model as an ordinary checkpoint, for ``bench export``."""

from __future__ import annotations

from typing import Any

from bench.engine import Changed
from bench.engine.evidence import check
from bench.engine.stepping import probe
from bench.errors import Unsupported
from bench.records import Exported
from bench.worker.steps import DENSE, PROBE_TOKENS, enforce


def export(engine: Any, to: str) -> Exported:
    """Write the model to the directory ``to``, load it again, and check that both give the same logits.

    Raises Unsupported for packed weights and for other engines than transformers, NotApplied if the logits
    differ.
    """
    if not hasattr(engine.model, "save_pretrained"):
        raise Unsupported("only models of the transformers engine can be exported")
    if engine.split_work() is not None:
        raise Unsupported("one half of the model is in another process: export it before it is split")
    packed = sorted({matrix.dtype for matrix in engine.census().matrices if matrix.dtype not in DENSE})
    if packed:
        raise Unsupported(f"its weights are packed ({', '.join(packed)}): an export is of dense weights")
    engine.model.save_pretrained(to)
    again = type(engine.model).from_pretrained(to, dtype=engine.model.dtype, use_safetensors=True)
    again.eval().to(engine.device)
    ids = probe(PROBE_TOKENS, engine.facts().vocabulary)
    ours = engine.logits(ids)
    engine.change(Changed(again))
    apart = float((engine.logits(ids) - ours).abs().max())
    enforce("export", [check("largest difference of the logits", apart, apart <= 1e-4, "at most 0.0001")])
    return Exported(engine.parameters(), logits_apart=apart)
