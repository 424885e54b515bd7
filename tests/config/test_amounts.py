"""More than a journal can hold is refused before anything is measured."""

from __future__ import annotations

import pytest
from config_files import BASE, Write, refusal

from bench.config.reader import read_config

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
