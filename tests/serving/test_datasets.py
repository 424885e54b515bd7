"""Prompts that people wrote: the shapes in which data sets come, and which of their entries are asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.config.reader import read_config
from bench.config.settings import WorkloadBlock
from bench.errors import BenchError, ConfigError
from bench.serving.arrivals import ClosedLoop, OpenLoop
from bench.serving.datasets import Entry, entries
from bench.serving.prompts import Count, Prompts
from bench.workloads import data_set

SHAREGPT = {
    "id": "x",
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "What is a duck?"},
        {"from": "gpt", "value": "It is a bird that swims well."},
        {"from": "human", "value": "And a goose?"},
    ],
}
MESSAGES = {
    "messages": [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": "A duck."}]
}
PLAIN = {"prompt": "Count to three.", "response": "one two three", "source": "here"}
OPEN = {"prompt": "Say something."}
ENTRIES = [
    Entry("What is a duck?", "It is a bird that swims well."),
    Entry("Name a bird.", "A duck."),
    Entry("Count to three.", "one two three"),
    Entry("Say something.", None),
]
PASSED_OVER = [
    {"conversations": [{"from": "gpt", "value": "I begin."}, {"from": "human", "value": "Why?"}]},
    {"conversations": []},
    {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    {"prompt": "  "},
]


def written(to: Path, *rows: object, lines: bool = False) -> Path:
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows, indent=1)
    to.write_text(text)
    return to


def asked_for(file: Path, **more: object) -> WorkloadBlock:
    common = {"requests": 3, "output_tokens": 5, **{k: more.pop(k) for k in ("requests",) if k in more}}
    own = {"users": 2, **more}
    return WorkloadBlock(name="data-set", file=str(file), **common, own=tuple(own.items()))  # type: ignore[arg-type]


async def letters(text: str) -> int:
    """A tokenizer for which every letter is a token."""
    return len(text)


@pytest.mark.parametrize("lines", [False, True])
def test_every_shape_is_read(tmp_path: Path, lines: bool) -> None:
    file = written(tmp_path / "set", SHAREGPT, *PASSED_OVER, MESSAGES, PLAIN, OPEN, lines=lines)
    assert list(entries(file)) == ENTRIES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "set, entry 1: needs"),
        ('[{"text": "x"}]', "set, entry 1: needs"),
        ('{"prompt": "x"}\n{"prompt": 3}', "set:2: needs"),
        ('{"prompt": "x", "response": 3}', "set:1: needs"),
        ('{"messages": "x"}', "set:1: messages must be a list"),
        ('{"messages": [{"content": "x"}]}', 'set:1: messages: a turn needs "role"'),
        ("[{]", "set: not JSON"),
        ("{]", "set:1: not JSON"),
    ],
)
def test_what_is_no_data_set_is_said_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "set").write_text(text)
    with pytest.raises(ValueError, match=why):
        list(entries(tmp_path / "set"))


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        (None, [(4, 5), (3, 2), (3, 3)]),  # words: seven of the first answer are cut to five
        (letters, [(15, 5), (12, 5), (15, 5)]),
    ],
)
def test_replies_are_as_long_as_the_recorded_ones(
    tmp_path: Path, count: Count | None, lengths: list[tuple[int, int]]
) -> None:
    planned = data_set.plan(asked_for(written(tmp_path / "set", SHAREGPT, MESSAGES, PLAIN)), 0)
    assert planned.schedule == ClosedLoop(2, 3)
    asked = asyncio.run(Prompts(1, count).of(planned.lengths, planned.sharing, planned.spoken))
    assert [one.prompt for one in asked] == [entry.prompt for entry in ENTRIES[:3]]
    assert [(one.input_tokens, one.output_tokens) for one in asked] == lengths


def test_each_load_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    workload = asked_for(written(tmp_path / "set", SHAREGPT, MESSAGES, PLAIN, OPEN), rate=2.0, users=None)
    planned, prompts = data_set.plan(workload, 0), Prompts(1, None)
    assert isinstance(planned.schedule, OpenLoop)
    told = [asyncio.run(prompts.of(planned.lengths, spoken=planned.spoken)) for _ in range(2)]
    names = [entry.prompt for entry in ENTRIES]
    assert [[one.prompt for one in load] for load in told] == [names[:3], [names[3], *names[:2]]]
    assert told[1][0].output_tokens == 5  # nobody answered it


def test_equal_replies(tmp_path: Path) -> None:
    file = written(tmp_path / "set", SHAREGPT, MESSAGES, PLAIN)
    planned = data_set.plan(asked_for(file, replies="equal"), 0)
    asked = asyncio.run(Prompts(1, None).of(planned.lengths, spoken=planned.spoken))
    assert {one.output_tokens for one in asked} == {5}


def test_long_prompts_are_passed_over(tmp_path: Path) -> None:
    workload = asked_for(written(tmp_path / "set", SHAREGPT, MESSAGES, PLAIN), max_input_tokens=3)
    planned = data_set.plan(workload, 0)
    asked = asyncio.run(Prompts(1, None).of(planned.lengths, spoken=planned.spoken))
    assert [one.prompt for one in asked] == ["Name a bird.", "Count to three.", "Name a bird."]
    with pytest.raises(BenchError, match="every prompt of the data set has more than 3 tokens"):
        asyncio.run(Prompts(1, letters).of(planned.lengths, spoken=planned.spoken))


def test_a_few_prompts_that_fit_come_again(tmp_path: Path) -> None:
    """Most are too long, and more requests are asked for than fit: no prompt at all is something else."""
    workload = asked_for(written(tmp_path / "set", SHAREGPT, MESSAGES, OPEN), max_input_tokens=2)
    planned = data_set.plan(workload, 0)
    asked = asyncio.run(Prompts(1, None).of(planned.lengths, spoken=planned.spoken))
    assert [one.prompt for one in asked] == ["Say something."] * 3


CONFIG = """
model: smollm2-135m
runtime: {{name: openai-http, url: "http://127.0.0.1:1"}}
workload: {{name: data-set, file: {file}, requests: 3{own}}}
drift: {{tokens: 0}}
"""


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ("", "give either users"),
        (", users: 2, rate: 1", "give either users"),
        (", users: 0", "users must be from 1 to 8192"),
        (", rate: 0", "rate must be above 0"),
        (", users: 2, max_input_tokens: 0", "max_input_tokens must be from 1"),
        (", users: 2, replies: long", "replies"),
        (", users: 2, input_tokens: 9", "input_tokens"),
    ],
)
def test_bad_settings(tmp_path: Path, own: str, why: str) -> None:
    file = written(tmp_path / "set.json", SHAREGPT, MESSAGES, PLAIN)
    (tmp_path / "c.yaml").write_text(CONFIG.format(file=file, own=own))
    with pytest.raises(ConfigError, match=why):
        read_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ('{"prompt": "x", "response": "y"}', "3 requests asked for, and .* holds 1 prompts"),
        ("[[]]", "entry 1: needs"),
    ],
)
def test_bad_files(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "set.json"
    if content is not None:
        file.write_text(content)
    (tmp_path / "c.yaml").write_text(CONFIG.format(file=file, own=", users: 2"))
    with pytest.raises(ConfigError, match=why):
        read_config(tmp_path / "c.yaml")


def test_a_set_without_answers_cannot_say_how_long_replies_are(tmp_path: Path) -> None:
    file = written(tmp_path / "set.json", OPEN, OPEN, OPEN)
    (tmp_path / "c.yaml").write_text(CONFIG.format(file=file, own=", users: 2"))
    with pytest.raises(ConfigError, match="has no answers; write replies: equal"):
        read_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text(CONFIG.format(file=file, own=", users: 2, replies: equal"))
    assert read_config(tmp_path / "c.yaml").groups[0].arms[0].workload.name == "data-set"


def test_a_long_hole_behind_the_entries_is_refused(tmp_path: Path) -> None:
    """Only the first entries are kept, but the digest of a run is that of the whole file."""
    file = tmp_path / "set.jsonl"
    file.write_text('{"prompt": "one"}\n' * 3)
    with file.open("r+b") as content:
        content.truncate((1 << 30) + 1)
    with pytest.raises(ValueError, match="is larger than 1024 MiB"):
        list(entries(file))


def test_a_set_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_set, "MOST_LETTERS", 20)
    file = written(tmp_path / "set.json", *[{"prompt": "six words are a few letters"}] * 3)
    (tmp_path / "c.yaml").write_text(CONFIG.format(file=file, own=", users: 2, replies: equal"))
    with pytest.raises(ConfigError, match="more than 20 characters in 1 entries"):
        read_config(tmp_path / "c.yaml")


def test_an_array_may_begin_with_the_mark_that_editors_write(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_bytes(b'\xef\xbb\xbf[{"prompt": "hi"}]')
    assert [one.prompt for one in entries(file)] == ["hi"]
