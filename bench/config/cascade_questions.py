"""Choose the questions that train the rule of a cascade: one half of a suite, dealt out by names of items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bench import plugins
from bench.drift.behaviour import suites_of
from bench.formatting import did_you_mean
from bench.records.json_form import Json
from bench.yaml_source import KeyPath, YamlSource

FORMS = {"choices": "closed questions", "replies": "questions with a reply"}


def learns(params: Mapping[str, Any]) -> bool:
    """Return whether these are the settings of a rule that learns."""
    return all(form in params for form in FORMS)


def questions(params: Mapping[str, Any]) -> Json | None:
    """Return the training questions by form as a worker is told of them; None for a rule that learns nothing.

    The name of an item decides on which half it is, so the halves do not change with the run.
    """
    if not learns(params):
        return None
    found = {}
    for form in FORMS:
        (suite,) = suites_of([params[form]])
        items = [dict(item) for item in suite.items() if trains(item)]
        found[form] = {"suite": suite.name, "tokens": suite.output_tokens, "items": items}
    return found


def trains(item: Mapping[str, Any]) -> bool:
    """Return whether an item is in the half that trains. Its language is left out of its name, so that a
    question that is asked in two languages is on one half."""
    name = str(item["id"]).replace(f"-{item.get('lang')}-", "-")
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0


def check_questions(source: YamlSource, params: Mapping[str, Any], path: KeyPath) -> None:
    """Raise ConfigError unless each form of a rule that learns names a suite of that form."""
    if not learns(params):
        return
    known = plugins.names("drift.suites")
    for form, words in FORMS.items():
        name = params[form]
        fitting = [
            suite.name
            for suite in suites_of(known)
            if bool(suite.output_tokens) == (form == "replies") and not suite.from_file
        ]
        if name not in fitting:
            hint = did_you_mean(name, fitting, f"there are {', '.join(fitting)}")
            raise source.error((*path, form), f"no suite of {words} is called {name!r}", hint)
