"""For mkdocs: links that leave ``docs/`` work in the repository; on the site they are the path, in words."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, /, *, page: Any, **_more: Any) -> str:
    """Called by mkdocs for every page."""
    here = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", here, link[2]))
        if target.startswith("docs/"):
            return link[0]
        return f"{link[1]} (`{target}`)"

    return LINK.sub(shown, markdown)
