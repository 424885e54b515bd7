"""scripts/peer-drift: llama-perplexity's arithmetic against plain loops, and two tools beside each other."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from loaded_script import loaded_script
from peer_drift import llama_perplexity, ours
from scipy.special import log_softmax, rel_entr, softmax

from bench.worker.score import compared

VOCABULARY, ROWS = 60, 12


@pytest.fixture
def script() -> ModuleType:
    return loaded_script("peer-drift")


def drawn(spread: float, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Logits of two models, and the true next tokens."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, spread, (ROWS, VOCABULARY)).astype(np.float32)
    variant = (base + rng.normal(0, apart, base.shape)).astype(np.float32)
    return base, variant, rng.integers(0, VOCABULARY, ROWS).tolist()


def by_loops(
    base: Sequence[float], variant: Sequence[float], target: int
) -> tuple[float, bool, float, float]:
    """(KL, same top, −ln p in the baseline and in the variant) of one position, number by number."""
    high = max(base)
    low = max(min(base), high - 16)
    log_sum = math.log(sum(math.exp(x - high) for x in base))
    scale = (high - low) / 65535
    codes = [round((x - low) / scale) if x > low else 0 for x in base]
    ln_p = [scale * code + low - high - log_sum for code in codes]
    top = max(variant)
    log_z = top + math.log(sum(math.exp(x - top) for x in variant))
    kld = sum(math.exp(p) * (p - x + log_z) for p, x in zip(ln_p, variant, strict=True) if p > -16)
    same = ln_p.index(max(ln_p)) == list(variant).index(top)
    return kld, same, -ln_p[target], log_z - variant[target]


@pytest.mark.parametrize(("spread", "apart"), [(1.0, 0.1), (4.0, 1.0), (12.0, 0.3)])
def test_the_arithmetic_is_that_of_plain_loops(spread: float, apart: float) -> None:
    """With a spread of 12 nats most tokens are below the 16 nats that are kept."""
    base, variant, targets = drawn(spread, apart)
    found = llama_perplexity.scored(base, variant, targets)
    rows = zip(base.tolist(), variant.tolist(), targets, strict=True)
    kld, same, nll_base, nll = zip(*(by_loops(*row) for row in rows), strict=True)
    np.testing.assert_allclose(found["kld"], kld, atol=2e-5)
    assert found["same"].tolist() == list(same)
    np.testing.assert_allclose(found["nll_base"], nll_base, atol=3e-4)  # one of the 65,535 steps
    np.testing.assert_allclose(found["nll"], nll, atol=1e-5)


def test_equal_logits_have_no_steps() -> None:
    flat = np.zeros((1, VOCABULARY), dtype=np.float32)
    np.testing.assert_allclose(llama_perplexity.kept(flat), -math.log(VOCABULARY), rtol=1e-6)


def test_both_tools_say_the_same_of_the_same_positions(script: ModuleType) -> None:
    """And both say what scipy says in float64. The peer's are second halves already."""
    parts, windows = [], []
    for seed in range(6):
        base, variant, targets = drawn(3.0, 0.5, seed)
        windows.append(compared(torch.from_numpy(base), torch.from_numpy(variant), targets))
        parts.append(llama_perplexity.scored(base[6:], variant[6:], targets[6:]))
    mine = ours.figures([ours.second_half(window, 6) for window in windows])
    theirs = llama_perplexity.statistics(parts)
    assert theirs.keys() - mine.keys() == {"kld_mean_exact"}
    found = script.apart(mine, theirs)
    shared = {
        "kld_mean",
        "kld_mean (se)",
        "top1_agreement (se)",
        "ln_ppl_ratio (se)",
        "rms_delta_p (se)",
        "kld_p99",
    }
    assert shared <= found["apart"].keys()
    assert max(found["apart"].values()) < 2e-3
    assert found["apart"]["kld_mean_exact"] < 1e-5
    exact = [drawn(3.0, 0.5, seed) for seed in range(6)]
    klds = [rel_entr(softmax(b[6:], -1), softmax(v[6:], -1)).sum(-1) for b, v, _targets in exact]
    assert mine["kld_mean"]["value"] == pytest.approx(np.concatenate(klds).mean(), rel=1e-5)
    lost = [
        log_softmax(logits[6:].astype(float), -1)[np.arange(6), targets[6:]]
        for both in exact
        for logits, targets in ((both[0], both[2]), (both[1], both[2]))
    ]
    ratio = np.concatenate(lost[::2]).mean() - np.concatenate(lost[1::2]).mean()
    assert mine["ln_ppl_ratio"]["value"] == pytest.approx(ratio, rel=1e-5)


def test_how_far_two_tools_are_apart(script: ModuleType) -> None:
    mine = {"a": {"value": 1.1, "se": None}, "b": {"value": 0.0, "se": 2.0}, "only ours": {"value": 1.0}}
    theirs = {"a": {"value": 1.0, "se": 0.1}, "b": {"value": 0.0, "se": 4.0}}
    found = script.apart(mine, theirs)
    assert found["apart"] == {"a": pytest.approx(0.1), "b": 0.0, "b (se)": 0.5}
    assert found["largest"] == "b (se)"


def test_a_peer_that_is_not_here_says_so(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFER_CHECK_PYTHON", raising=False)
    assert "INFER_CHECK_PYTHON" in script.of_infer_check(None)["not_run"]


def test_the_last_line_of_a_child_is_its_answer(script: ModuleType) -> None:
    code = "import sys, bench; print('loading'); print('{\"n\": %d}' % len(sys.stdin.read()))"
    assert script.told([sys.executable, "-c", code], json.dumps("four")) == {"n": 6}


def test_a_peer_stands_where_it_is_put(script: ModuleType, tmp_path: Path) -> None:
    code = "import json, os; print(json.dumps(os.getcwd()))"
    assert script.told([sys.executable, "-c", code], place=str(tmp_path)) == str(tmp_path.resolve())
