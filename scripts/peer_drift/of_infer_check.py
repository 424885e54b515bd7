"""infer-check's own comparison of two of llama.cpp's servers, by its own code.

    python of_infer_check.py URL_OF_BASE URL_OF_VARIANT TOKENS

The prompts come as a JSON list on the standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import sys
from collections import Counter


def main() -> None:
    """Compare, print."""
    from infer_check.backends.base import BackendConfig, get_backend
    from infer_check.runner import TestRunner
    from infer_check.types import Prompt

    base, variant, tokens = sys.argv[1:]
    texts = json.load(sys.stdin)
    prompts = [Prompt(id=str(n), text=text, max_tokens=int(tokens)) for n, text in enumerate(texts)]
    sides = [
        get_backend(BackendConfig(backend_type="llama-cpp", model_id=name, base_url=url))
        for name, url in (("base", base), ("variant", variant))
    ]
    with contextlib.redirect_stdout(sys.stderr):
        found = asyncio.run(TestRunner().compare(*sides, prompts, "base", "variant"))
    severities = Counter(str(one.metadata.get("severity")) for one in found.comparisons)
    print(json.dumps({
        "tool": f"infer-check {importlib.metadata.version('infer-check')}", "prompts": len(found.comparisons),
        "identical": sum(one.baseline.text == one.test.text for one in found.comparisons),
        "flip_rate": found.flip_rate, "mean_text_similarity": found.mean_text_similarity,
        "mean_kl_divergence": found.mean_kl_divergence, "severity": dict(severities),
        "first_divergence": [one.token_divergence_index for one in found.comparisons],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
