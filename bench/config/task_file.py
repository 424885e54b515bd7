"""Read a task file of lm-eval, in which nothing may be code, and whose data must lie on this disk.

lm-eval itself would import the Python that a tag ``!function`` names, load a data set by a script, and fetch
a metric that it does not know. So a file is read here, as plain data, each key and what it may hold is on a
list, and lm-eval gets the data and never the file. Templates stay: they are rendered in Jinja's sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.task_keys import GENERATION_FORMS, check_filters, check_keys, check_metric_keys
from bench.errors import ConfigError
from bench.formatting import MIB, did_you_mean
from bench.yaml_source import KeyPath, YamlSource, read_yaml

FORMATS = {"json": (".json", ".jsonl"), "csv": (".csv",), "parquet": (".parquet",)}
KINDS = ("multiple_choice", "loglikelihood", "generate_until")
METRICS = ("acc", "acc_norm", "acc_mutual_info", "exact_match")  # each judges an item as right or wrong
OF_KIND = {"multiple_choice": METRICS, "loglikelihood": ("acc",), "generate_until": ("exact_match",)}
METRIC_KEYS = (
    "metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation", "ignore_numbers",
    "regexes_to_ignore",
)  # fmt: skip
GENERATION = ("until", "max_gen_toks", "do_sample", "temperature")
KEYS = (
    "task", "task_alias", "tag", "metadata", "dataset_path", "dataset_name", "dataset_kwargs",
    "training_split", "validation_split", "test_split", "fewshot_split", "output_type", "doc_to_text",
    "doc_to_target", "doc_to_choice", "target_delimiter", "fewshot_delimiter", "description", "gen_prefix",
    "num_fewshot", "generation_kwargs", "metric_list", "filter_list",
)  # fmt: skip
MOST_DATA = 1024 * MIB  # of a file of documents
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class TaskFile:
    """A task: its name, what lm-eval is told of it (with whole paths), and the files of its data."""

    name: str
    config: Mapping[str, Any]
    data: tuple[Path, ...]


def read_task(file: str) -> TaskFile:
    """Return the task in a file. Raises ConfigError, with the file, the line and the key that is refused."""
    source = _read(Path(file))
    assert isinstance(source.data, dict)
    for key in source.data:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS, "a task file here holds no code, and is written in one piece")
            raise source.error((key,), "is not allowed in a task file", hint)
    config = dict(source.data)
    name = config.get("task")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise source.error(("task",), "must be a name of letters, digits, dots, dashes and underscores")
    if config.get("output_type") not in KINDS:
        raise source.error(("output_type",), f"must be one of {', '.join(KINDS)}")
    if not any(isinstance(config.get(key), str) for key in ("test_split", "validation_split")):
        raise source.error(("test_split",), "is missing", "name the split whose documents are asked")
    _check_metrics(source, config.get("metric_list"), OF_KIND[config["output_type"]])
    _check_generation(source, config.get("generation_kwargs", {}))
    data = _data_files(source, config, Path(file).absolute().parent)
    check_keys(source, config, data)
    check_filters(source, config.get("filter_list"))
    whole = {split: [str(one) for one in files] for split, files in data.items()}
    config["dataset_kwargs"] = {"data_files": whole}
    return TaskFile(name, config, tuple(one for files in data.values() for one in files))


def _read(path: Path) -> YamlSource:
    """Read a file as plain data; a tag is what names code in a task file."""
    try:
        return read_yaml(path)
    except ConfigError as bad:
        if not bad.problem.startswith("tags are not allowed"):
            raise
        problem = f"holds code ({bad.problem.rpartition(': ')[2]}), and a task file with code is refused"
        hint = "write templates, such as {{question}}"
        raise ConfigError(bad.file, problem, bad.line, bad.key, hint) from None


def _check_metrics(source: YamlSource, metrics: object, of_kind: Collection[str]) -> None:
    """Refuse a metric that does not judge each item as right or wrong, for which lm-eval would look on the
    hub, and one that is not ``of_kind``: of the answers of this task."""
    if not isinstance(metrics, list) or not metrics:
        raise source.error(("metric_list",), "must be a list of metrics", f"there are {', '.join(METRICS)}")
    for place, one in enumerate(metrics):
        name = one.get("metric") if isinstance(one, dict) else None
        if name not in METRICS:
            hint = did_you_mean(str(name), METRICS, f"there are {', '.join(METRICS)}")
            raise source.error(
                ("metric_list", place, "metric"), f"{str(name)[:60]!r} does not judge single items", hint
            )
        if name not in of_kind:
            problem = f"{name} does not judge such answers; here is {', '.join(of_kind)}"
            raise source.error(("metric_list", place, "metric"), problem)
        for key in one:
            if key not in METRIC_KEYS:
                hint = did_you_mean(key, METRIC_KEYS, f"known: {', '.join(METRIC_KEYS)}")
                raise source.error(("metric_list", place, key), "unknown key", hint)
        for key in ("aggregation", "higher_is_better"):
            if one.get(key, "mean") not in ("mean", True):
                raise source.error(("metric_list", place, key), "must be mean, and true: a share of items")
        check_metric_keys(source, ("metric_list", place), one)


def _check_generation(source: YamlSource, settings: object) -> None:
    """Refuse replies that are not greedy."""
    if not isinstance(settings, dict):
        raise source.error(("generation_kwargs",), "must be a block of keys")
    for key in settings:
        if key not in GENERATION:
            hint = did_you_mean(key, GENERATION, f"known: {', '.join(GENERATION)}")
            raise source.error(("generation_kwargs", key), "unknown key", hint)
    for key, (right, words) in GENERATION_FORMS.items():
        if settings.get(key) is not None and not right(settings[key]):
            raise source.error(("generation_kwargs", key), f"must be {words}")
    for key in ("do_sample", "temperature"):
        if settings.get(key):
            raise source.error(("generation_kwargs", key), "replies are greedy here", "leave it out")


def _data_files(source: YamlSource, config: dict[str, Any], home: Path) -> dict[str, list[Path]]:
    """Return the files of each split, which must be there. Raises ConfigError."""
    kind, given = config.get("dataset_path"), config.get("dataset_kwargs")
    if not isinstance(kind, str) or kind not in FORMATS:
        hint = f"give dataset_path: {', '.join(FORMATS)}, and dataset_kwargs: {{data_files: ...}}"
        raise source.error(("dataset_path",), "must be a format of files on this disk", hint)
    place = ("dataset_kwargs", "data_files")
    if not isinstance(given, dict) or set(given) != {"data_files"}:
        raise source.error(("dataset_kwargs",), "must have data_files, and nothing else")
    splits = given["data_files"]
    if not isinstance(splits, dict) or not splits:
        raise source.error(place, "must name the files of each split, such as {test: mine.jsonl}")
    return {split: _of_split(source, (*place, split), files, kind, home) for split, files in splits.items()}


def _of_split(source: YamlSource, place: KeyPath, files: object, kind: str, home: Path) -> list[Path]:
    found = []
    for file in files if isinstance(files, list) else [files]:
        path = home / file if isinstance(file, str) and "://" not in file and "::" not in file else None
        if path is None or path.suffix not in FORMATS[kind] or not path.is_file():
            words = " or ".join(FORMATS[kind])
            raise source.error(place, f"{str(file)[:100]!r} is no file of this disk that ends in {words}")
        if path.stat().st_size > MOST_DATA:
            raise source.error(place, f"{str(file)[:100]!r} is larger than {MOST_DATA // MIB} MiB")
        if path.stat().st_size == 0:
            raise source.error(place, f"{str(file)[:100]!r} is empty")
        found.append(path)
    if not found:
        raise source.error(place, "names no file")
    return found
