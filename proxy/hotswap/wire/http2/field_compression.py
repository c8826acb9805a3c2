"""HPACK (RFC 7541): hpack's tables and Huffman codes, with a faster decoder and encoder of field blocks.

hpack writes a log record for every integer and every field, and searches its table from end to end; together that is
a third of what a small exchange over HTTP/2 costs. Here a block that is made of references only, as most are after the
first request of a connection, is looked up whole.

What is worth a place in the client's table is what comes again: values that differ from response to response are sent
as plain literals, and `Set-Cookie` as one that nobody on the way may index (RFC 7541 7.1.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKDecodingError, InvalidTableIndex, OversizedHeaderListError
from hpack.hpack import decode_integer, encode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from hotswap.core.http.messages import Field

FIELD_OVERHEAD: Final = 32
"""What each field counts beyond its bytes, in tables and in list sizes (RFC 7541 4.1)."""
BLOCKS: Final = 32
BLOCK_BYTES: Final = 2048
"""How many whole blocks are remembered for each connection and direction, and how large, decoded."""

_INTEGER_BYTES: Final = 8
"""As much of a block as an integer may need."""
UPDATES: Final = 8
"""Changes of the table's size that a block may begin with; there is no reason for more than two (RFC 7541 4.2)."""

_STATIC: Final = HeaderTable.STATIC_TABLE
_STATIC_LENGTH: Final = len(_STATIC)
_STATIC_FIELDS: Final = {field: index for index, field in reversed(tuple(enumerate(_STATIC, 1)))}
_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(tuple(enumerate(_STATIC, 1)))}

_PASSING: Final = frozenset(
    (
        b"age",
        b"content-length",
        b"content-range",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"retry-after",
        b"x-request-id",
        b"x-runtime",
    )
)
"""Names whose values rarely come twice."""
_SECRET: Final = frozenset((b"set-cookie", b"authorization", b"proxy-authorization"))


def list_size(fields: Iterable[Field]) -> int:
    """Size of a field list in bytes, as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 6.5.2)."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


class FieldDecoder(Decoder):
    """Decoder of the field blocks of one peer.

    `max_list_bytes` limits a decoded list, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.
    """

    def __init__(self, max_list_bytes: int) -> None:
        super().__init__(max_list_bytes)
        self._blocks: dict[bytes, list[Field]] = {}

    def read(self, block: bytes) -> list[Field]:
        """Decode one block; the list is shared with later calls and must not be changed.

        Raises:
            HPACKError: the block cannot be read, and neither can what follows on the connection.
            OversizedHeaderListError: the list is longer than allowed; decoding stopped there.
        """
        known = self._blocks.get(block)
        if known is not None:
            return known
        fields: list[Field] = []
        dynamic = self.header_table.dynamic_entries
        size = index = updates = 0
        end = len(block)
        changed = False
        while index < end:
            first = block[index]
            if first & 0x80:
                number = first & 0x7F
                if number == 0x7F:
                    number, used = decode_integer(block[index : index + _INTEGER_BYTES], 7)
                    index += used
                else:
                    index += 1
                if 0 < number <= _STATIC_LENGTH:
                    field = _STATIC[number - 1]
                else:
                    try:
                        field = dynamic[number - _STATIC_LENGTH - 1] if number else _no_entry(0)
                    except IndexError:
                        _no_entry(number)
            elif first & 0xE0 == 0x20:
                updates += 1
                if fields or updates > UPDATES:
                    raise HPACKDecodingError("a table size update behind a field, or too many")
                index += self._update_encoding_context(block[index : index + _INTEGER_BYTES])
                changed = True
                continue
            else:
                field, index = self._read_literal(block, index, first)
                if first & 0x40:
                    self.header_table.add(*field)
                    changed = True
            fields.append(field)
            size += len(field[0]) + len(field[1]) + FIELD_OVERHEAD
            if size > self.max_header_list_size:
                raise OversizedHeaderListError("the fields are too large together")
        self._assert_valid_table_size()
        if changed:
            self._blocks.clear()
        elif size <= BLOCK_BYTES:
            if len(self._blocks) >= BLOCKS:
                self._blocks.clear()
            self._blocks[block] = fields
        return fields

    def _read_literal(self, block: bytes, index: int, first: int) -> tuple[Field, int]:
        """Read a field that is spelled out (RFC 7541 6.2); hpack copies the rest of the block for each, three times."""
        bits, mask = (6, 0x3F) if first & 0x40 else (4, 0x0F)
        number = first & mask
        if number == mask:
            number, used = decode_integer(block[index : index + _INTEGER_BYTES], bits)
            index += used
        else:
            index += 1
        if number:
            name = bytes(self.header_table.get_by_index(number)[0])
        else:
            name, index = _read_string(block, index)
        value, index = _read_string(block, index)
        return (name, value), index


def _read_string(block: bytes, index: int) -> tuple[bytes, int]:
    """Read a string (RFC 7541 5.2), and tell where it ends."""
    first = block[index]
    length = first & 0x7F
    if length == 0x7F:
        length, used = decode_integer(block[index : index + _INTEGER_BYTES], 7)
        index += used
    else:
        index += 1
    end = index + length
    if end > len(block):
        raise HPACKDecodingError("a string goes beyond the block")
    text = block[index:end]
    return decode_huffman(text) if first & 0x80 else text, end


def _no_entry(number: int) -> Field:
    raise InvalidTableIndex(f"no entry {number}")


class FieldEncoder:
    """Encoder of the field blocks to one peer.

    `table_bytes` is what the client's decoder keeps; more than 4096 is not used.
    """

    __slots__ = ("_blocks", "_entries", "_inserted", "_names", "_places", "_resized", "_size", "table_bytes")

    def __init__(self) -> None:
        self.table_bytes = HeaderTable.DEFAULT_SIZE
        self._entries: deque[Field] = deque()  # oldest first
        self._places: dict[Field, int] = {}  # the number of its insertion
        self._names: dict[bytes, int] = {}
        self._inserted = 0
        self._size = 0
        self._resized: list[int] = []
        self._blocks: dict[tuple[Field, ...], bytes] = {}

    @property
    def header_table_size(self) -> int:
        """As hpack's encoder calls it, for h2, which sets it when the client's settings say so."""
        return self.table_bytes

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        value = min(value, HeaderTable.DEFAULT_SIZE)
        if value != self.table_bytes:
            self.table_bytes = value
            # The smallest since the last block, and the last: more is not told (RFC 7541 4.2).
            self._resized = [min(*self._resized[:1], value), value] if self._resized else [value, value]
            self._blocks.clear()
            self._evict(0)

    def write(self, fields: list[Field]) -> bytes:
        """Encode one block; names are in lower case."""
        key = tuple(fields)
        known = self._blocks.get(key)
        if known is not None:
            return known
        inserted = self._inserted
        block = bytearray()
        if self._resized:
            for value in sorted(set(self._resized)):
                block += _integer(value, 5, 0x20)
            self._resized.clear()
            inserted = -1  # not to be remembered
        for field in fields:
            self._write_field(block, field)
        encoded = bytes(block)
        if inserted == self._inserted and sum(len(name) + len(value) for name, value in key) <= BLOCK_BYTES:
            if len(self._blocks) >= BLOCKS:
                self._blocks.clear()
            self._blocks[key] = encoded
        return encoded

    def _write_field(self, block: bytearray, field: Field) -> None:
        place = _STATIC_FIELDS.get(field)
        if place is None:
            number = self._places.get(field)
            if number is not None:
                place = _STATIC_LENGTH + self._inserted - number
        if place is not None:
            if place < 0x7F:
                block.append(0x80 | place)
            else:
                block += _integer(place, 7, 0x80)
            return
        name, value = field
        place = _STATIC_NAMES.get(name, 0)
        if not place:
            number = self._names.get(name)
            if number is not None:
                place = _STATIC_LENGTH + self._inserted - number
        size = len(name) + len(value) + FIELD_OVERHEAD
        if name in _SECRET:
            block += _integer(place, 4, 0x10)
        elif name in _PASSING or size > self.table_bytes // 4:
            block += _integer(place, 4, 0x00)
        else:
            block += _integer(place, 6, 0x40)
            self._insert(field, size)
        if not place:
            block += _integer(len(name), 7, 0)
            block += name
        block += _integer(len(value), 7, 0)
        block += value

    def _insert(self, field: Field, size: int) -> None:
        self._blocks.clear()
        self._evict(size)
        self._entries.append(field)
        self._places[field] = self._names[field[0]] = self._inserted
        self._inserted += 1
        self._size += size

    def _evict(self, room: int) -> None:
        while self._entries and self._size + room > self.table_bytes:
            oldest = self._inserted - len(self._entries)
            field = self._entries.popleft()
            self._size -= len(field[0]) + len(field[1]) + FIELD_OVERHEAD
            if self._places.get(field) == oldest:
                del self._places[field]
            if self._names.get(field[0]) == oldest:
                del self._names[field[0]]


def _integer(number: int, prefix_bits: int, pattern: int) -> bytes | bytearray:
    if number < (1 << prefix_bits) - 1:
        return bytes((pattern | number,))
    encoded = encode_integer(number, prefix_bits)
    encoded[0] |= pattern
    return encoded
