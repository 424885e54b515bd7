"""End ``run.json`` with a digest of its text, so that an index can read an unchanged file in less time.

The seal's digest of the content holds for any layout of the text. But to compare it, the content must be
parsed strictly and written again, which takes two thirds of the time to read a run. The digest of the text is
the last key of the seal, and covers everything before itself. Like the seal, it reveals accidents, and not
what the file's owner does on purpose.
"""

from __future__ import annotations

import hashlib

_CLOSING = b"\n }\n}\n"  # of the seal, which is the last key, and of the file
_LENGTH = len(',\n  "text_sha256": ""') + 2 * hashlib.sha256().digest_size + len(_CLOSING)


def with_digest(data: bytes) -> bytes:
    """Return the bytes of a sealed ``run.json``, indented by 1, with the digest of the text in the seal."""
    head = data.removesuffix(_CLOSING)
    return head + _ending(head)


def has_its_digest(data: bytes) -> bool:
    """Return whether the text of ``run.json`` ends with its digest: it is the one that was written."""
    return data[-_LENGTH:] == _ending(data[:-_LENGTH])


def _ending(head: bytes) -> bytes:
    return b',\n  "text_sha256": "%s"%s' % (hashlib.sha256(head).hexdigest().encode(), _CLOSING)
