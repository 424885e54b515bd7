"""The pages of a Parquet file are looked at before they are unpacked; all else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.store.parquet_pages import MOST_PAGE_BYTES, NotAPage, must_be_modest


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def page(unpacked: int, body: bytes, packed: int | None = None, rest: bytes = b"\x00") -> bytes:
    """A page: its type, sizes, further fields, and what it holds."""
    sizes = (0, unpacked, len(body) if packed is None else packed)
    return b"".join(b"\x15" + varint((size << 1) ^ (size >> 63)) for size in sizes) + rest + body


# A struct with a number, a truth, a text, a double and a byte in it, as data pages have them.
FIELDS = b"\x2c\x15\x08\x11\x18\x03abc\x17" + b"\0" * 8 + b"\x13\x07\x00\x00"


def test_pages_one_after_the_other() -> None:
    data = b"PAR1" + page(5, b"hello", rest=FIELDS) + page(MOST_PAGE_BYTES, b"") + page(0, b"x" * 300)
    must_be_modest(data, 4, len(data))
    must_be_modest(data, 4, 4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (page(MOST_PAGE_BYTES + 1, b""), "more than 16 MiB"),
        (page(-1, b""), "more than 16 MiB"),
        (page(2**31 - 1, b"bomb"), "more than 16 MiB"),
        (page(1, b"", packed=-5), "more than 16 MiB"),
        (page(1, b"abc", packed=4), "longer than its column"),
        (b"\x25" + page(1, b"")[1:], "without its sizes"),
        (page(1, b"", rest=b"\x05\x04\x02\x00"), "not in order"),  # the second field again, by its number
        (page(1, b"", rest=b"\x19\x00"), "another kind"),
        (page(1, b"", rest=b"\x1c" * 40 + b"\x00" * 41), "another kind"),
        (page(1, b"", rest=b"\x15" + b"\xff" * 11 + b"\x00"), "more than 64 bits"),
        (page(1, b"", rest=b"\x18\xff\xff\x03a\x00"), "ends within"),
        (page(1, b"")[:-1], "ends within"),
    ],
)
def test_what_is_no_page(data: bytes, said: str) -> None:
    with pytest.raises(NotAPage, match=said):
        must_be_modest(data, 0, len(data))


@pytest.mark.parametrize(("begin", "end"), [(-1, 3), (5, 4), (0, 4)])
def test_pages_outside_the_file(begin: int, end: int) -> None:
    with pytest.raises(NotAPage, match="outside"):
        must_be_modest(b"abc", begin, end)


@given(st.binary(max_size=60))
def test_any_bytes_are_pages_or_refused(data: bytes) -> None:
    try:
        must_be_modest(data, 0, len(data))
    except NotAPage:
        return
    assert not data or data[0] == 0x15
