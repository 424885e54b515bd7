"""The files that a config names: prompts and texts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from config_files import Write, changed, refusal

from bench.config.reader import read_config
from bench.workloads import file

pytestmark = pytest.mark.usefixtures("cpu_machine")


def own_prompts(tmp_path: Path, lines: str) -> str:
    (tmp_path / "p.jsonl").write_text(lines)
    return changed("name: chat", f"name: file\n  file: {tmp_path / 'p.jsonl'}")


def test_prompts_of_your_own(write: Write, tmp_path: Path) -> None:
    spec = read_config(write(own_prompts(tmp_path, '{"prompt": "Hello"}\n' * 6)))
    assert spec.groups[0].baseline.workload.name == "file"


@pytest.mark.bad_input(30)
def test_one_bad_line_is_named(write: Write, tmp_path: Path) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n{"prompt": }\n')))
    assert (error.line, error.key) == (9, "workload.file")
    assert "p.jsonl:2: not JSON" in str(error)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r'{"prompt": "\ud800"}', "the prompt has half of a letter"),
        ('{"prompt": "a", "chat": "yes"}', "chat must be true or false"),
    ],
)
@pytest.mark.bad_input(27)
def test_a_line_that_no_tokenizer_takes(write: Write, tmp_path: Path, line: str, words: str) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n' + line + "\n")))
    assert f"p.jsonl:2: {words}" in str(error)


@pytest.mark.parametrize("step", ["prune: wanda", "quantise: smoothquant", "distil: logits"])
@pytest.mark.parametrize("copied", [False, True])
def test_a_scheme_is_not_judged_on_the_text_that_it_has_seen(
    write: Write, tmp_path: Path, step: str, copied: bool
) -> None:
    """By the content of the text: a copy has another name."""
    (tmp_path / "eval.txt").write_text("one two three " * 900)
    seen = tmp_path / ("copy.txt" if copied else "eval.txt")
    seen.write_text("one two three " * 900)
    variant = f"variants: [{{name: v, optimise: [{{{step}, text: {seen}}}]}}]"
    text = (
        f"model: smollm2-135m\nprice: {{usd_per_hour: 1}}\ndrift: {{text: {tmp_path}/eval.txt}}\n{variant}\n"
    )
    error = refusal(write(text))
    assert error.key == "drift.text"
    assert "is calibrated on this text" in str(error)
    seen.write_text("four five six " * 900)
    (tmp_path / "eval.txt").write_text("one two three " * 901)
    if copied:
        read_config(write(text))


@pytest.mark.parametrize("seen", ["english", "chinese", "mixed", "part.txt", "mine.jsonl"])
def test_nor_on_a_part_of_it_nor_on_the_users_own_questions(write: Write, tmp_path: Path, seen: str) -> None:
    item = {"id": "ice", "lang": "en", "prompt": "Ice is", "choices": [" cold", " hot"], "right": 0}
    (tmp_path / "mine.jsonl").write_text(json.dumps(item) + "\n")
    (tmp_path / "part.txt").write_text("one two three " * 20)
    (tmp_path / "eval.txt").write_text("nothing here. " + "one two three " * 900)
    judged = f"{tmp_path}/eval.txt" if seen.startswith("part") else "mixed"
    named = str(tmp_path / seen) if "." in seen else seen
    text = (
        f"model: smollm2-135m\nprice: {{usd_per_hour: 1}}\ndrift: {{text: {judged}, suites: [own], "
        f"items: {tmp_path}/mine.jsonl}}\n"
        f"variants: [{{name: v, optimise: [{{quantise: gptq, text: {named}}}]}}]\n"
    )
    error = refusal(write(text))
    assert error.key == ("drift.items" if seen == "mine.jsonl" else "drift.text")
    assert f"gptq, text: {named}), so it would be judged on what it has seen" in str(error)
    read_config(write(text.replace(f"text: {named}}}]", "text: docstrings}]")))


def test_a_batch_that_the_requests_do_not_fill(write: Write) -> None:
    error = refusal(write(
        "model: smollm2-135m\nprice: {usd_per_hour: 1}\nvariants: [{name: v}]\n"
        "workload: {name: chat, requests: 6, batch_size: 32}\n"
    ))  # fmt: skip
    assert error.key == "workload.batch_size"
    assert "32 requests at a time, and there are 6 in all" in str(error)


def test_more_requests_than_prompts(write: Write, tmp_path: Path) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n')))
    assert (error.line, error.key) == (10, "workload.requests")
    assert "holds 1 prompts" in str(error)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "/dev/zero", "long"])
@pytest.mark.bad_input(29)
def test_a_file_of_prompts_or_text_that_is_none(write: Write, tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind.strip("/").replace("/", "-")
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "/dev/zero":
        place = Path(kind)
    elif kind == "long":
        place = tmp_path / ("x" * 300)
    error = refusal(write(changed("name: chat", f"name: file\n  file: {place}")))
    assert (error.line, error.key) == (9, "workload.file")
    error = refusal(write(changed("{tokens: 0}", f"{{text: {place}}}")))
    assert (error.line, error.key) == (15, "drift.text")


def test_a_text_of_your_own_must_be_text(write: Write, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"fine")
    text = changed("{tokens: 0}", f"{{text: {tmp_path / 't.txt'}}}")
    assert read_config(write(text)).drift.text.endswith("t.txt")
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe")
    assert "t.txt: is not UTF-8 text" in str(refusal(write(text)))


def test_a_file_is_read_once_for_all_rows(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million prompts take ten seconds, and each of a thousand rows read them."""
    read: list[Path] = []
    lines = file._lines
    monkeypatch.setattr(file, "_lines", lambda path: [read.append(path), lines(path)][1])
    names = "".join(f"  - name: v{number}\n" for number in range(20))
    config = own_prompts(tmp_path, '{"prompt": "Hello"}\n' * 6).partition("variants:")[0]
    config += f"sweep: {{requests: [4, 5, 6], batch_size: [1, 2]}}\nvariants:\n{names}"
    rows = [row for group in read_config(write(config)).groups for row in (group.baseline, *group.variants)]
    assert (len(rows), read) == (2 * 3 * 21, [tmp_path / "p.jsonl"])
    (tmp_path / "p.jsonl").write_text('{"prompt": "Hello"}\n' * 5)
    os.utime(tmp_path / "p.jsonl", ns=(1, 1))
    assert "6 requests asked for" in str(refusal(write(config)))
