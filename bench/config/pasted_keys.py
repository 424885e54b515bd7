"""Refuse a config that holds the key of an account: results keep a copy of their config, and are shared."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from bench.formatting import ACCOUNT_KEY
from bench.machine.children import KEYS
from bench.yaml_source import KeyPath, YamlSource

_SECRET_NAME = re.compile(f"{KEYS}|_AUTH$", re.IGNORECASE)
LEAST_LETTERS = 12
# A password in a URL, but not what a shell or a template puts in its place.
_PASSWORD = re.compile(r"://[^/\s:@]*:(?![$%{<*])[^/\s@]+@")


def looks_like_a_key(text: str) -> bool:
    """Return whether a text has what providers put in front of their keys."""
    return ACCOUNT_KEY.search(text) is not None


def refuse_pasted_keys(source: YamlSource) -> None:
    """Raise ConfigError at the first text that looks like the key of an account, holds the password of an
    address, or holds what a variable of this environment keeps secret. The text is not shown."""
    variables = _secret_variables()
    for path, text in _texts(source.data, ()):
        if why := _why_secret(text, variables):
            raise source.error(
                path,
                f"{why}: give the name of a variable that holds it (what was given is not shown)",
                "take it out, and replace the key if this file was ever shared",
            )


def _why_secret(text: str, variables: dict[str, str]) -> str | None:
    if looks_like_a_key(text) or _PASSWORD.search(text):
        return "this looks like a key, or an address with a password"
    name = next((name for form, name in variables.items() if form in text), None)
    return name and f"this holds the value of the environment variable {name}, which looks like a secret"


def _secret_variables() -> dict[str, str]:
    """Return the values of the variables whose names say that they are secret, as they are, quoted for a URL
    and in base64, each with the name of its variable.

    Short values are left out, because they may be ordinary words, and so are paths of files that hold keys.
    """
    named = {name: value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    kept = {
        name: value
        for name, value in named.items()
        if len(value) >= LEAST_LETTERS and not value.isspace() and not _is_path(value)
    }
    forms = {
        name: (value, quote(value, safe=""), base64.b64encode(os.fsencode(value)).decode().rstrip("="))
        for name, value in kept.items()
    }
    return {form: name for name, of_one in forms.items() for form in of_one}


def _is_path(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _texts(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text with its path; for a name of the YAML, the path of the block."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield path, str(name)
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path, value
