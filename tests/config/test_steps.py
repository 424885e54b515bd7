"""The steps of ``optimise``: their order, their settings, and how a wrong one is refused."""

from __future__ import annotations

import pytest
from config_files import BASE, Write, refusal

from bench.config.reader import read_config

pytestmark = pytest.mark.usefixtures("cpu_machine")


def test_the_steps_of_a_list_keep_their_order_and_get_their_defaults(write: Write) -> None:
    text = BASE + "optimise:\n  - {prune: magnitude}\n  - {quantise: bnb-nf4, double_quant: true}\n"
    prune, quantise = read_config(write(text)).groups[0].baseline.optimise
    assert (prune.verb, prune.scheme) == ("prune", "magnitude")
    assert dict(prune.params) == {"pattern": "unstructured", "scope": "layer", "sparsity": 0.5}
    assert dict(quantise.params) == {"double_quant": True, "compute_dtype": None, "block_size": 64}


@pytest.mark.parametrize(
    ("steps", "key", "words"),
    [
        ("{quantise: bnb-nf4}", "optimise", "must be a list of steps"),
        ("[bnb-nf4]", "optimise[0]", "names one kind"),
        ("[{}]", "optimise[0]", "names one kind"),
        ("[{quantse: bnb-nf4}]", "optimise[0]", "did you mean 'quantise'?"),
        ("[{prune: magnitude, quantise: bnb-nf4}]", "optimise[0]", "steps of their own (split them)"),
        ("[{quantise: int4}]", "optimise[0].quantise", "did you mean 'torch-int4'?"),
        ("[{quantise: bnb-nf}]", "optimise[0].quantise", "did you mean 'bnb-nf4'?"),
        ("[{quantise: os.system}]", "optimise[0].quantise", "no quantise scheme called"),
        ("[{quantise: null}]", "optimise[0].quantise", "no quantise scheme called"),
        ("[{quantise: bnb-nf4, blok_size: 64}]", "optimise[0].blok_size", "did you mean 'block_size'?"),
        ("[{quantise: bnb-nf4, block_size: 63}]", "optimise[0].block_size", "not 63"),
        ("[{quantise: bnb-nf4, double_quant: 'yes'}]", "optimise[0].double_quant", "or false, not 'yes'"),
        ("[{quantise: bnb-nf4, double_quant: 1}]", "optimise[0].double_quant", "be true or false, not 1"),
        ("[{quantise: torch-int8-dynamic, bits: 8}]", "optimise[0].bits", "known: no settings"),
        ("[{prune: magnitude, sparsity: '0.5'}]", "optimise[0].sparsity", "valid number, not '0.5'"),
        ("[{prune: magnitude, sparsity: 1.5}]", "optimise[0]", "strictly between 0 and 1"),
        ("[{prune: magnitude}, {prune: magnitud}]", "optimise[1].prune", "did you mean 'magnitude'?"),
    ],
)  # fmt: skip
def test_a_step_is_refused(write: Write, steps: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}optimise: {steps}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)
