"""Simplified Chinese sentences: the messages of JupyterLab's language pack (about 30k characters)."""

from __future__ import annotations

import gettext
import importlib.util
import re
from functools import cache
from pathlib import Path

from bench.errors import BenchError

LICENCE = "BSD-3-Clause"
PACKAGE = "jupyterlab_language_pack_zh_CN"
SHORTEST = 8


@cache  # some thousand messages are searched
def read() -> str:
    """Return every translated message with at least eight Chinese characters, in the order of its key."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise BenchError(
            "the Chinese text is in a package that is missing: pip install jupyterlab-language-pack-zh-CN"
        )
    messages: list[str] = []
    for path in sorted(Path(spec.origin).parent.glob("locale/zh_CN/LC_MESSAGES/*.mo")):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        messages += [text for _key, text in sorted(catalogue.items(), key=str) if isinstance(text, str)]
    long_enough = (text for text in messages if len(re.findall("[一-鿿]", text)) >= SHORTEST)
    return "\n".join(dict.fromkeys(long_enough))
