"""Look at the pages of a Parquet file of somebody else before a library unpacks them.

pyarrow reserves as much memory for a page as its header says, up to 2 GiB, and a small file can have many
such pages. The headers are structs in Thrift's compact protocol
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, ``PageHeader``), whose
first fields are the type of the page, its size unpacked and its size in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.formatting import MIB

MOST_PAGE_BYTES = 16 * MIB  # unpacked; pyarrow begins another page after 1 MiB
_I32 = 0x15  # the next field, and a whole number
_DEEPEST, _LONGEST = 8, 1 << 16  # structs in each other; bytes of a header
_TRUE, _FALSE, _BYTE, _I16, _INT, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class NotAPage(ValueError):
    """There is no page with a header of this kind, or it is too large; the message is a phrase."""


def must_be_modest(data: bytes, begin: int, end: int) -> None:
    """Raise NotAPage unless ``data[begin:end]`` is nothing but pages of a modest size."""
    if not 0 <= begin <= end <= len(data):
        raise NotAPage("names pages outside itself")
    while begin < end:
        header = _Header(data, begin, min(end, begin + _LONGEST))
        unpacked, packed = header.sizes()
        if not (0 <= unpacked <= MOST_PAGE_BYTES and packed >= 0):
            raise NotAPage(f"has a page of more than {MOST_PAGE_BYTES // MIB} MiB")
        begin = header.at + packed
    if begin != end:
        raise NotAPage("has a page that is longer than its column")


class _Header:
    """Step over one header; ``at`` is the next byte."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end

    def sizes(self) -> tuple[int, int]:
        """Return the sizes of the page, unpacked and in the file. ``at`` is then where it begins."""
        _kind, unpacked, packed = (self._first_field() for _ in range(3))
        self._struct(_DEEPEST)
        return unpacked, packed

    def _first_field(self) -> int:
        if self._byte() != _I32:
            raise NotAPage("has a page without its sizes")
        zigzag = self._varint()
        return (zigzag >> 1) ^ -(zigzag & 1)

    def _byte(self) -> int:
        if self.at >= self._end:
            raise NotAPage("ends within the header of a page")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise NotAPage("has a number of more than 64 bits in the header of a page")

    def _struct(self, depth: int) -> None:
        """Step over the fields of a struct. Each must follow the last one: a field that comes twice would
        replace what was read."""
        for kind in self._fields():
            self._value(kind, depth)

    def _fields(self) -> Iterator[int]:
        while field := self._byte():
            if field >> 4 == 0:
                raise NotAPage("has a page whose header is not in order")
            yield field & 0x0F

    def _value(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            return
        if kind in (_I16, _INT, _I64):
            self._varint()
        elif kind == _BINARY:
            length = self._varint()  # which moves ``at``
            self.at += length
        elif kind in (_BYTE, _DOUBLE):
            self.at += 1 if kind == _BYTE else 8
        elif kind == _STRUCT and depth:
            self._struct(depth - 1)
        else:  # no header of a page has a list or a map
            raise NotAPage("has a page with a header of another kind")
