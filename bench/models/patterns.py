"""Check the names of modules in a model's config that a loader reads as regular expressions.

``llm_int8_skip_modules`` and its like are matched against the name of every module. ``(?:[a-z_.0-9]+)+!``
took for ever on the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

BLOCKS = ("quantization_config", "compression_config")
MOST_PATTERNS = 10_000  # texts in a block: a large mixture of experts names some hundred modules
MOST_LENGTH = 300
NAME_LENGTH = 60  # letters of a module's name: each wildcard multiplies the steps of a match by it
MOST_STEPS = 1_000_000
_ENDLESS = re.compile(r"[*+]|\{[0-9]*,")
_REPEATED_GROUP = re.compile(r"\)[*+{]|\)\?[*+?{]")
_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")


def slow_pattern(config: object) -> str | None:
    """Return what about the texts in a config's blocks on quantisation could take for ever, or None."""
    if not isinstance(config, Mapping):
        return None
    for key, block in config.items():
        if key in BLOCKS:
            for number, text in enumerate(_texts(block), start=1):
                if number > MOST_PATTERNS:
                    return f"{key} holds more than {MOST_PATTERNS} texts"
                if why := _slow(text):
                    return f"{key}: {text[:60]!r} {why}"
        elif isinstance(block, Mapping) and (found := slow_pattern(block)):
            return f"{key}.{found}"
    return None


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a block: keys, too, name modules."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _slow(text: str) -> str | None:
    if len(text) > MOST_LENGTH:
        return f"has {len(text)} letters, more than the name of a module"
    if _REPEATED_GROUP.search(text) or _REFERENCE.search(text):
        return "repeats a group, which can take for ever; name the modules in full"
    groups, choices = text.count("("), 1 + text.count("|")
    if NAME_LENGTH ** len(_ENDLESS.findall(text)) * 2 ** text.count("?") * choices**groups > MOST_STEPS:
        return "has so many wildcards and choices that it can take for ever; name the modules in full"
    return None
