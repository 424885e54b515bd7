"""Task files of lm-eval with their data: closed questions, and texts to go on with, for any model."""

from __future__ import annotations

import json
from pathlib import Path

TASK = """\
task: capitals
dataset_path: json
dataset_kwargs:
  data_files: {test: items.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["yes", "no"]
doc_to_target: right
metric_list:
  - metric: acc
"""
CLOSED = """\
task: closed
dataset_path: json
dataset_kwargs: {data_files: {test: items.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question.strip()}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 2.0}
"""
OPEN = """\
task: open
dataset_path: json
dataset_kwargs: {data_files: {test: items.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[right]}}"
generation_kwargs: {until: ["\\n", "e"], max_gen_toks: 12, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
WORDS = ("ice", "tea", "wood", "a stone", "the sea", "snow", "iron", "bread", "paper", "glass")


def write_items(place: Path, count: int) -> None:
    """``items.jsonl``: questions with two to four choices of several lengths."""
    lines = [
        {
            "question": f"Is {WORDS[n % len(WORDS)]} number {n} {WORDS[(3 * n + 1) % len(WORDS)]}? ",
            "choices": [f"{WORDS[(n + k) % len(WORDS)]}{' indeed' * (k % 2)}" for k in range(2 + n % 3)],
            "right": n % 2,
        }
        for n in range(count)
    ]
    (place / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_task(place: Path, text: str, name: str, count: int = 20) -> Path:
    """The task file with its items beside it."""
    write_items(place, count)
    path = place / f"{name}.yaml"
    path.write_text(text)
    return path
