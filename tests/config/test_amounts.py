"""More than a journal can hold is refused before anything is measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from config_files import BASE, Write, refusal

from bench.config.amounts import too_many_requests, too_much
from bench.config.reader import read_config
from bench.config.settings import WorkloadBlock

pytestmark = pytest.mark.usefixtures("cpu_machine")


@pytest.mark.parametrize(
    ("set_key", "key", "words"),
    [
        (
            "drift.tokens=1000001",
            "drift.tokens",
            "1000001 tokens in 1 variants are more than a",
        ),
        ("drift={tokens: 900000, statistics: [jensen-shannon]}", "drift.tokens", "holds (520000)"),
        ("drift={tokens: 120000, window: 16}", "drift.tokens", "holds (112500)"),
        (
            "variants=[" + ", ".join(f"{{name: v{n}, workload: {{requests: 6}}}}" for n in range(501)) + "]",
            "gate",
            "2 limits on 501 variants are more than a gate judges",
        ),
        ("workload={requests: 10000, output_tokens: 101}", "workload.requests", "answer with 2020000 tokens"),
    ],
)
def test_more_than_a_journal_holds_is_refused_before_it_is_measured(
    write: Write, set_key: str, key: str, words: str
) -> None:
    limits = "gate: {ttft_ms: {max_increase: 3%}, tpot_ms: {max_increase: 3%}}\n"
    text = BASE if "variants" in set_key else BASE.replace("tokens: 0", "tokens: 400000")
    error = refusal(write(text + limits), set_key)
    assert error.key == key
    assert words in str(error)
    assert read_config(write(BASE.replace("tokens: 0", "tokens: 400000"))).drift.tokens == 400_000


def group(*loads: tuple[int, int]) -> Any:
    """A cell whose rows have (requests, output tokens); the first is the baseline."""
    arms = [SimpleNamespace(workload=WorkloadBlock(requests=n, output_tokens=out)) for n, out in loads]
    return SimpleNamespace(arms=arms, variants=arms[1:])


@pytest.mark.parametrize(
    ("rows", "processes", "rounds", "tokens", "most"),
    [
        (1, 4, 2, 8, 450),  # 13 pairs: 8 + 4 · 13 blocks, 27,000 / 60 requests
        (1, 4, 2, 100, 216),  # 2,600,000 / (2 · 100 · 60)
        (2, 4, 2, 8, 241),  # 8 + 4 · 13 · 2 blocks
        (0, 1, 1, 8, 1000),  # 27,000 / 8 would be more than a block may have
    ],
)
def test_requests_of_all_blocks_of_all_pairs(
    rows: int, processes: int, rounds: int, tokens: int, most: int
) -> None:
    measure: Any = SimpleNamespace(processes=processes, max_rounds=rounds)
    assert too_many_requests([group(*[(most, tokens)] * (rows + 1))], measure) is None
    problem, _hint = too_many_requests([group(*[(most + 1, tokens)] * (rows + 1))], measure) or ("", "")
    assert problem.startswith(f"{most + 1} requests in up to ")
    assert problem.endswith(f"(at most {most})")


def drift(tokens: int, window: int = 256, statistics: int = 0) -> Any:
    return SimpleNamespace(tokens=tokens, window=window, statistics=("x",) * statistics)


@pytest.mark.parametrize(
    ("most", "window", "statistics", "variants"),
    [
        (650_000, 256, 0, 1),  # four values of each token
        (520_000, 256, 1, 1),
        (325_000, 256, 0, 2),
        (112_514, 16, 0, 1),  # 7,500 windows of 15 positions, and most of another one
    ],
)
def test_tokens_of_drift_up_to_the_last(most: int, window: int, statistics: int, variants: int) -> None:
    rows = [group(*[(1, 2)] * (variants + 1))]
    found = too_much(rows, drift(most, window, statistics), ())
    assert found is None or found[0] == ("workload", "requests")  # the answers beside them are too many
    key, problem, _hint = too_much(rows, drift(most + 1, window, statistics), ()) or ((), "", "")
    assert key == ("drift", "tokens")
    assert problem.startswith(f"{most + 1} tokens in {variants} variants are more")


@pytest.mark.parametrize(("requests", "fits"), [(13_000, True), (13_001, False)])
def test_answers_of_all_rows(requests: int, fits: bool) -> None:
    """Two values of each token: 1,300,000 tokens are the most without drift."""
    found = too_much([group((requests, 50)), group((requests, 50))], drift(0), ())
    assert (found is None) is fits
    if found is not None:
        assert (found[0], found[1]) == (
            ("workload", "requests"), "the rows would answer with 1300100 tokens, more than a journal holds"
        )  # fmt: skip
