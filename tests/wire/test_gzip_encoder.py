"""gzip, as Python's own decoder reads it."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.wire.gzip_encoder import GzipEncoder, compress_gzip, write_gzip_header


@given(st.binary(max_size=5000), st.integers(0, 100))
def test_a_whole_body_comes_back(data: bytes, padding: int) -> None:
    """Whatever the padding, which is exactly as long as it was to be."""
    padded = compress_gzip(data, padding)
    assert gzip.decompress(padded) == data
    assert len(padded) == len(compress_gzip(data)) + padding


@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(0, 100), st.booleans())
def test_pieces_come_back(pieces: list[bytes], padding: int, flushed: bool) -> None:
    """Each as soon as it was flushed, to a decoder that is fed byte by byte."""
    encoder = GzipEncoder(padding)
    decoder = zlib.decompressobj(31)
    got = sent = b""
    for piece in pieces:
        out = encoder.encode(piece)
        sent += piece
        if flushed:
            out += encoder.flush()
        got += b"".join(decoder.decompress(out[place : place + 1]) for place in range(len(out)))
        assert got == sent or not flushed
    got += decoder.decompress(encoder.end())
    assert got == sent
    assert decoder.eof
    assert not decoder.unused_data


@pytest.mark.parametrize("padding", [0, 1, 2, 100])
def test_padding_is_a_name_that_ends(padding: int) -> None:
    """Of so many bytes with its NUL (RFC 1952 2.3.1)."""
    header = write_gzip_header(padding)
    assert len(header) == 10 + padding
    assert header[3] == (8 if padding else 0)
    assert header[10:].find(b"\0") == padding - 1
