"""End ``run.json`` with a digest of its text, so that an index can read an unchanged file in less time.

The seal's digest of the content holds for any layout of the text. But to compare it, the content must be
parsed strictly and written again, which takes two thirds of the time to read a run. The digest of the text is
the last key of the seal, and covers everything before itself. Like the seal, it reveals accidents, and not
what the file's owner does on purpose.
"""

from __future__ import annotations

import hashlib

from pydantic_core import from_json

from bench.bounded import Contents, contents_of
from bench.records.json_form import Json

_CLOSING = b"\n }\n}\n"  # of the seal, which is the last key, and of the file
_LENGTH = len(',\n  "text_sha256": ""') + 2 * hashlib.sha256().digest_size + len(_CLOSING)


def with_digest(data: bytes) -> bytes:
    """Return the bytes of a sealed ``run.json``, indented by 1, with the digest of the text in the seal."""
    head = data.removesuffix(_CLOSING)
    return head + _ending(head)


def quickly_parsed(data: bytes, most: Contents) -> Json | None:
    """Return the content of ``run.json`` if its text is the one that was written, else None.

    Unlike a strict parser, it takes the last one of two equal keys, and infinity for 1e999. Our writer writes
    neither, so somebody gave such a file its digest on purpose.
    """
    if data[-_LENGTH:] != _ending(data[:-_LENGTH]):
        return None
    try:
        if len(data) > most.containers:  # a smaller file cannot hold more than that
            contents_of(data).must_fit(most)
        content = from_json(data, allow_inf_nan=False)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _ending(head: bytes) -> bytes:
    return b',\n  "text_sha256": "%s"%s' % (hashlib.sha256(head).hexdigest().encode(), _CLOSING)
