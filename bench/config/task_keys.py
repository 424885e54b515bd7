"""Check what the keys of a task file hold: texts, templates that can be parsed, splits that have files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bench.yaml_source import KeyPath, YamlSource

PLAIN = ("task_alias", "dataset_name", "fewshot_delimiter")
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix", "target_delimiter")
REQUIRED = ("doc_to_text", "doc_to_target")
MOST_SHOTS = 100
MOST_TOKENS = 100_000


def check_keys(source: YamlSource, config: Mapping[str, Any], splits: Collection[str]) -> None:
    """Refuse a value that lm-eval would fail on. ``splits`` are those that have files. Raises ConfigError."""
    choices = ("doc_to_choice",) if config["output_type"] == "multiple_choice" else ()
    for key in (*REQUIRED, *choices):
        if config.get(key) is None:
            raise source.error((key,), "is missing", "a task needs " + ", ".join((*REQUIRED, *choices)))
    for key, (right, words) in FORMS.items():
        if config.get(key) is not None and not right(config[key]):
            raise source.error((key,), f"must be {words}")
    for key in SPLITS:
        if config.get(key) is not None and config[key] not in splits:
            known = f"dataset_kwargs.data_files has {', '.join(map(str, splits))}"
            raise source.error((key,), f"no split called {str(config[key])[:60]!r}", known)
    for key in TEMPLATES:
        texts = config.get(key)
        for text in texts if isinstance(texts, list) else [texts]:
            if isinstance(text, str):
                _must_parse(source, (key,), text)


def check_filters(source: YamlSource, filters: object) -> None:
    """Refuse a list of filters that is not one. Raises ConfigError."""
    if filters is None:
        return
    if not isinstance(filters, list):
        raise source.error(("filter_list",), "must be a list of filters")
    for place, one in enumerate(filters):
        steps = one.get("filter") if isinstance(one, dict) and isinstance(one.get("name"), str) else None
        named = isinstance(steps, list) and all(
            isinstance(step, dict) and isinstance(step.get("function"), str) for step in steps
        )
        if not steps or not named:
            problem = "must have a name, and in filter a list of blocks with a function"
            raise source.error(("filter_list", place), problem)
        for number, step in enumerate(steps):
            if "regex_pattern" in step:
                _must_match(source, ("filter_list", place, "filter", number), step["regex_pattern"])


def check_metric_keys(source: YamlSource, path: KeyPath, metric: Mapping[str, Any]) -> None:
    """Refuse settings of a metric that are of another type than lm-eval takes. Raises ConfigError."""
    for key in ("ignore_case", "ignore_punctuation", "ignore_numbers"):
        if not isinstance(metric.get(key, False), bool):
            raise source.error((*path, key), "must be true or false")
    patterns = metric.get("regexes_to_ignore", [])
    if not _texts(patterns):
        raise source.error((*path, "regexes_to_ignore"), "must be a list of texts")
    for pattern in patterns:
        _must_match(source, (*path, "regexes_to_ignore"), pattern)


def _must_parse(source: YamlSource, path: KeyPath, text: str) -> None:
    """Raise ConfigError for a template that Jinja cannot parse. It is not compiled: that would compute it."""
    from jinja2 import TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        SandboxedEnvironment().parse(text)
    except TemplateError as bad:
        raise source.error(path, f"is no template ({str(bad.message)[:200]})") from None
    except (RecursionError, MemoryError):
        raise source.error(path, "is no template (it is nested too deep)") from None


def _must_match(source: YamlSource, path: KeyPath, pattern: object) -> None:
    """Raise ConfigError for what is no regular expression."""
    try:
        if not isinstance(pattern, str):
            raise source.error(path, "must be a regular expression, as text")
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as bad:
        raise source.error(path, f"is no regular expression ({bad})") from None


def _text(value: object) -> bool:
    return isinstance(value, str)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _count(most: int, least: int = 0) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys((*PLAIN, *SPLITS), (_text, "text")),
    **dict.fromkeys(("doc_to_text", "description", "gen_prefix", "target_delimiter"), (_text, "text")),
    "doc_to_target": (lambda value: _text(value) or _count(1000)(value), "text, or the place of a choice"),
    "doc_to_choice": (lambda value: (_text(value) or _texts(value)) and bool(value), "text, or texts"),
    "tag": (lambda value: _text(value) or _texts(value), "text, or a list of texts"),
    "metadata": (lambda value: isinstance(value, dict), "a block of keys"),
    "num_fewshot": (_count(MOST_SHOTS), f"a whole number of at most {MOST_SHOTS}"),
}
GENERATION_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "until": (lambda value: _text(value) or _texts(value), "text, or a list of texts"),
    "max_gen_toks": (_count(MOST_TOKENS, 1), f"a whole number from 1 to {MOST_TOKENS}"),
}
