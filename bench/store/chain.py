"""Write and check the lines of a journal: seal each record, chain the lines, and limit their size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from bench.bounded import Contents, contents_of
from bench.formatting import MIB
from bench.store.files import canonical_json, digest, strict_json

# These limits exist because a small .gz may hold lines that fill the memory. The largest run under
# results/reference has 2.0 MiB and 824 records with 212,646 values, 8,142 lists and objects and 24,925 keys;
# its longest line has 72 KiB and 8,166 values. Each token on which drift is scored takes 36 bytes and 4
# values.
MAX_LINE_BYTES = 8 * MIB
MAX_BYTES = 48 * MIB
MAX_RECORDS = 20_000
MOST_IN_A_LINE = Contents(containers=100_000, values=1_000_000, keys=100_000)
MOST_IN_ALL = Contents(containers=200_000, values=3_000_000, keys=600_000)
NOTHING = Contents()


@dataclass(frozen=True)
class Chain:
    """Describe the end of a journal: the number and size of its records, and the digest of its last line."""

    count: int = 0
    digest: str = "0" * 64
    size_bytes: int = 0
    contents: Contents = NOTHING

    def then(self, line: bytes) -> Chain:
        """Return the chain with one more line. Raises ValueError if that makes the journal too large."""
        count, size = self.count + 1, self.size_bytes + len(line)
        if count > MAX_RECORDS or size > MAX_BYTES:
            raise ValueError(f"the journal has more than {MAX_RECORDS} records or {MAX_BYTES // MIB} MiB")
        contents = self.contents + contents_of(line)
        try:
            contents.must_fit(MOST_IN_ALL)
        except ValueError as bad:
            raise ValueError(f"the journal has {bad}") from None
        return Chain(count, hashlib.sha256(line[:-1]).hexdigest(), size, contents)


BEGINNING = Chain()


def seal(record: Mapping[str, object]) -> bytes:
    """Return the line of a record, which is its canonical JSON with its own digest added as ``check``."""
    return canonical_json({**record, "check": digest(record)}).encode() + b"\n"


def unseal(line: bytes, chain: Chain) -> dict[str, object]:
    """Return the record in ``line``. Raises ValueError if it was changed or does not follow ``chain``."""
    try:
        record = strict_json(line, MOST_IN_A_LINE)
    except ValueError as bad:
        raise ValueError(f"not JSON ({bad})") from None
    if not isinstance(record, dict):
        raise ValueError("not a record")
    if not _is_sealed(record, line):
        raise ValueError("not the line that was written")
    del record["check"]
    seq = record.get("seq")
    if type(seq) is not int or seq != chain.count + 1:
        raise ValueError(
            f"record {seq!r:.20} is in the place of record {chain.count + 1}: lines are missing or moved"
        )
    if record.get("prev") != chain.digest:
        raise ValueError("the chain is broken: this record was not written after the line before it")
    if not isinstance(record.get("kind"), str) or not isinstance(record.get("at_utc"), str):
        raise ValueError("a record without kind or time")
    return record


def _is_sealed(record: Mapping[str, object], line: bytes) -> bool:
    """Return whether ``check`` is the digest of the rest of its line.

    ``check`` is cut out of the bytes of the line, because writing the rest of the record again as JSON would
    take as long as all other work. A comma always follows ``check``, because the keys are sorted and every
    record has the keys ``kind`` and ``seq``.
    """
    check = record.get("check")
    if not isinstance(check, str):
        return False
    rest = line[:-1].replace(f'"check":"{check}",'.encode(errors="replace"), b"", 1)
    return hashlib.sha256(rest).hexdigest() == check
