"""A task file of lm-eval is data: what could be code, or would be fetched, is refused at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from task_files import TASK, write_items

from bench.config.task_file import read_task
from bench.errors import ConfigError, ExitCode


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_items(tmp_path, 1)
    (tmp_path / "empty.jsonl").touch()
    return tmp_path


def written(place: Path, old: str = "", new: str = "") -> str:
    assert old in TASK
    (place / "task.yaml").write_text(TASK.replace(old, new, 1) if old else TASK + new)
    return str(place / "task.yaml")


def test_a_task_is_read_with_whole_paths(place: Path) -> None:
    found = read_task(written(place))
    assert (found.name, found.data) == ("capitals", (place / "items.jsonl",))
    assert found.config["dataset_kwargs"] == {"data_files": {"test": [str(place / "items.jsonl")]}}
    assert found.config["doc_to_text"] == "{{question}}"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("doc_to_target: right", "doc_to_target: !function utils.target", 9, "holds code (!function)"),
        ("doc_to_target: right", "doc_to_target: !!python/name:os.system", 9, "task file with code"),
        ("", "process_docs: utils.process\n", 12, "process_docs: is not allowed in a task file"),
        ("", "include: other.yaml\n", 12, "include: is not allowed"),
        ("", "class: utils.Task\n", 12, "class: is not allowed"),
        ("", "unsafe_code: true\n", 12, "unsafe_code: is not allowed"),
        ("dataset_path: json", "dataset_path: allenai/ai2_arc", 2, "must be a format of files on this disk"),
        ("dataset_path: json", "dataset_path: loader.py", 2, "must be a format of files on this disk"),
        ("dataset_path: json", "dataset_path: [json]", 2, "must be a format of files on this disk"),
        ("items.jsonl", "https://x.org/a.jsonl", 4, "no file of this disk that ends in .json or .jsonl"),
        ("items.jsonl", "hf://datasets/a.jsonl", 4, "no file of this disk"),
        ("items.jsonl", "missing.jsonl", 4, "no file of this disk"),
        ("items.jsonl", "loader.py", 4, "no file of this disk"),
        ("{test: items.jsonl}", "{test: items.jsonl}\n  trust_remote_code: true", 3, "and nothing else"),
        ("{test: items.jsonl}", "items.jsonl", 4, "must name the files of each split"),
        ("metric: acc", "metric: my_metric.py", 11, "'my_metric.py' does not judge single items"),
        ("metric: acc", "metric: bleu", 11, "there are acc, acc_norm"),
        ("metric: acc", "metric: acc\n    hf_evaluate: true", 12, "metric_list[0].hf_evaluate: unknown key"),
        ("metric: acc", "metric: acc\n    aggregation: perplexity", 12, "must be mean"),
        ("multiple_choice", "loglikelihood_rolling", 6, "must be one of multiple_choice"),
        ("", "generation_kwargs: {do_sample: true}\n", 12, "replies are greedy here"),
        ("", "generation_kwargs: {num_beams: 2}\n", 12, "generation_kwargs.num_beams: unknown key"),
        ("task: capitals", "task: ../capitals", 1, "must be a name of letters"),
        ("test_split: test\n", "", 1, "test_split: is missing"),
        ("test_split: test", "test_split: tset", 5, "no split called 'tset' (dataset_kwargs.da"),
        ("", "fewshot_split: dev\n", 12, "fewshot_split: no split called 'dev'"),
        ('"{{question}}"', '"{{question"', 7, "doc_to_text: is no template (unexpected end of template"),
        ('"{{question}}"', '"{% if x %}"', 7, "doc_to_text: is no template (Unexpected end of template"),
        ('"{{question}}"', "3", 7, "doc_to_text: must be text"),
        ('"{{question}}"', f'"{{{{{"(" * 3000}}}}}"', 7, "doc_to_text: is no template"),
        ('doc_to_text: "{{question}}"\n', "", 1, "doc_to_text: is missing"),
        ("doc_to_target: right", "doc_to_target: {a: b}", 9, "doc_to_target: must be text, or the place"),
        ('["yes", "no"]', '["{{yes", "no"]', 8, "doc_to_choice: is no template"),
        ('["yes", "no"]', "[1, 2]", 8, "doc_to_choice: must be text, or texts"),
        ("output_type: multiple_choice", "output_type: generate_until", 11, "acc does not judge such"),
        ("{test: items.jsonl}", "{test: []}", 4, "names no file"),
        ("{test: items.jsonl}", "{test: empty.jsonl}", 4, "'empty.jsonl' is empty"),
        ("", "num_fewshot: many\n", 12, "num_fewshot: must be a whole number"),
        ("", "num_fewshot: 1000000\n", 12, "num_fewshot: must be a whole number"),
        ("", "metadata: 3\n", 12, "metadata: must be a block"),
        ("", "description: [a]\n", 12, "description: must be text"),
        ("", "filter_list: 3\n", 12, "filter_list: must be a list"),
        ("", "filter_list: [{name: a, filter: [3]}]\n", 12, "filter_list[0]: must have a name"),
        ("", "filter_list: [{name: a, filter: [{function: b, regex_pattern: '('}]}]\n", 12, "no regular"),
        ("", "generation_kwargs: {max_gen_toks: x}\n", 12, "generation_kwargs.max_gen_toks: must be a whole"),
        ("", "generation_kwargs: {until: {a: b}}\n", 12, "generation_kwargs.until: must be text"),
        ("metric: acc", "metric: acc\n    regexes_to_ignore: ['(']", 12, "regexes_to_ignore: is no regular"),
        ("metric: acc", "metric: acc\n    ignore_case: 3", 12, "ignore_case: must be true or false"),
    ],
)  # fmt: skip
def test_what_is_code_or_not_here_is_refused_at_its_line(
    place: Path, old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_task(written(place, old, new))
    assert str(caught.value).startswith(f"{place / 'task.yaml'}:{line}: ")
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_task(str(tmp_path / "none.yaml"))


def test_documents_have_a_bound(place: Path) -> None:
    """They are hashed before lm-eval reads them, and a hole of a terabyte takes hours."""
    with (place / "items.jsonl").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ConfigError, match=r"task\.yaml:\d+: dataset_kwargs\.data_files.* larger than"):
        read_task(written(place))
