"""Change links that leave ``docs/``, for mkdocs.

Such links work in the repository. On the site, a link becomes its words, followed by the path.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, /, *, page: Any, **_more: Any) -> str:
    """Replace the links of a page; mkdocs calls this for every page."""
    here = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", here, link[2]))
        if target.startswith("docs/"):
            return link[0]
        return f"{link[1]} (`{target}`)"

    return LINK.sub(shown, markdown)
