"""Refuse a config that holds the key of an account: results keep a copy of their config, and are shared."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.yaml_source import KeyPath, YamlSource

# What providers of models, of code and of clouds put in front of their keys.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[sp]k-[A-Za-z0-9_-]{16,}|sk_(?:live|test)_\w{16,}|gsk_\w{20,}|xai-[\w-]{20,}|nvapi-[\w-]{20,}|r8_\w{30,}"
    r"|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r")"
)
# A password in a URL, but not what a shell or a template puts in its place.
_PASSWORD = re.compile(r"://[^/\s:@]*:(?![$%{<*])[^/\s@]+@")


def looks_like_a_key(text: str) -> bool:
    """Return whether a text has what providers put in front of their keys."""
    return _KEY.search(text) is not None


def _is_secret(text: str) -> bool:
    return looks_like_a_key(text) or _PASSWORD.search(text) is not None


def refuse_pasted_keys(source: YamlSource) -> None:
    """Raise ConfigError at the first text that looks like the key of an account, or holds the password of an
    address. The text is not shown."""
    for path in _places(source.data, ()):
        raise source.error(
            path,
            "this looks like a key, or an address with a password: give the name of a variable that "
            "holds it (what was given is not shown)",
            "take it out, and replace the key if this file was ever shared",
        )


def _places(value: object, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of each such text; where it is a name of the YAML, the path of the block."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if _is_secret(name):
                yield path
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*path, index))
    elif isinstance(value, str) and _is_secret(value):
        yield path
