"""Zstandard, as a decoder that takes one frame reads it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.wire.zstd_encoder import EMPTY_BLOCK, ZstdEncoder, compress_zstd, find_blocks

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdCompressor, ZstdDecompressor
else:
    from backports.zstd import DecompressionParameter, ZstdCompressor, ZstdDecompressor


@given(st.binary(max_size=5000), st.integers(0, 100))
def test_a_whole_body_comes_back(data: bytes, padding: int) -> None:
    """In one frame, whatever the padding."""
    padded = compress_zstd(data, padding)
    decoder = ZstdDecompressor()
    assert decoder.decompress(padded) == data
    assert decoder.eof
    assert not decoder.unused_data
    assert len(padded) == len(compress_zstd(data)) + padding // len(EMPTY_BLOCK) * len(EMPTY_BLOCK)


@given(st.lists(st.binary(max_size=3000), max_size=8), st.integers(0, 100), st.booleans())
def test_pieces_come_back(pieces: list[bytes], padding: int, flushed: bool) -> None:
    """Each as soon as it was flushed, to a decoder that is fed byte by byte."""
    encoder = ZstdEncoder(padding)
    decoder = ZstdDecompressor()
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


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 70000, 300000])
def test_the_header_of_a_frame_is_measured(size: int) -> None:
    """With and without the size of its content, of each width."""
    data = b"x" * size
    for frame in (ZstdCompressor().compress(data, ZstdCompressor.FLUSH_FRAME), ZstdCompressor().compress(data)):
        if frame:
            place = find_blocks(frame)
            padded = frame[:place] + EMPTY_BLOCK * 40 + frame[place:]
            assert ZstdDecompressor().decompress(padded) == ZstdDecompressor().decompress(frame)


def test_a_small_window_is_enough_to_decode() -> None:
    """128 KiB, of the 8 MiB that a client must have for it (RFC 9659 3)."""
    encoder = ZstdEncoder()
    data = b"".join(b"%d," % number for number in range(200_000))
    frame = encoder.encode(data) + encoder.end()
    assert ZstdDecompressor(options={DecompressionParameter.window_log_max: 17}).decompress(frame) == data
