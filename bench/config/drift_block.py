"""Check the ``drift`` block: the text, the suites and statistics that it names, and a user's own items."""

from __future__ import annotations

from collections.abc import Sequence

from bench import plugins
from bench.config.blocks import DriftBlock
from bench.config.spec import Group
from bench.drift.items import read_closed
from bench.texts import check_text, same_text
from bench.yaml_source import KeyPath, YamlSource, blaming


def check_drift(source: YamlSource, drift: DriftBlock) -> None:
    """Raise ConfigError if the text cannot be read, a name is unknown, or the user's items are wrong."""
    with blaming(source, ("drift", "text"), drift.text):
        check_text(drift.text)
    for key, wanted in (("suites", drift.suites), ("statistics", drift.statistics)):
        for name in wanted:
            with blaming(source, ("drift", key)):
                plugins.load(f"drift.{key}", name)
        must_differ(source, ("drift", key), wanted)
    if drift.items is None and "own" in drift.suites:
        raise source.error(("drift", "suites"), "the suite 'own' needs drift.items, a JSONL file")
    if drift.items is not None and "own" not in drift.suites:
        raise source.error(("drift", "items"), "is for the suite 'own'", "add own to drift.suites")
    if drift.items is not None:
        with blaming(source, ("drift", "items"), drift.items):
            read_closed(drift.items)


def must_differ(source: YamlSource, path: KeyPath, names: Sequence[str]) -> None:
    """Raise ConfigError for a name that stands twice in a list of what is to be measured."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise source.error(path, f"{twice!r} is given twice", "keep one of them")


def judged_on_other_text(source: YamlSource, drift: DriftBlock, groups: Sequence[Group]) -> None:
    """Refuse a scheme that is calibrated or trained on the text on which drift is scored."""
    for group in groups if drift.tokens else ():
        for arm in group.arms:
            for step in arm.optimise:
                text = dict(step.params).get("text")
                if isinstance(text, str) and same_text(text, drift.text):
                    raise source.error(
                        ("drift", "text"),
                        f"{arm.name} is calibrated on this text ({step.verb} {step.scheme}), so it would "
                        "be judged on what it has seen",
                        "give one of them another text",
                    )
