"""Compression with zstd, as a stream. The frames carry a checksum, so that stock `zstd -t` finds damage too."""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from backup_playbook.core.errors import VerificationError
from backup_playbook.streams.blocks import BLOCK_BYTES, Blocks


def compress(blocks: Blocks, level: int) -> Iterator[bytes]:
    """One zstd frame; `level` from -7 (fastest) to 19."""
    # at the fast levels a table that fits into a core's first cache, and a window to go with it, save a sixth of the
    # time for about the same size
    cached = {"window_log": 17, "hash_log": 13} if level <= 1 else {}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, write_checksum=True, **cached)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for block in blocks:
        if packed := compressor.compress(block):
            yield packed
    yield compressor.flush()


def decompress(blocks: Blocks, name: str) -> Iterator[bytes]:
    """The content of one zstd frame. Raises VerificationError when it is damaged, cut off, or followed by something."""
    remedy = "Use another backup, or the off-site copy."
    frame = zstandard.ZstdDecompressor().decompressobj()
    step = _FIRST_STEP
    try:
        for block in blocks:
            start = 0
            while start < len(block):
                if frame.eof:
                    raise VerificationError(f"{name} has data after the end of its zstd frame.", remedy)
                content = frame.decompress(block[start : start + step])
                start += step
                step = _next_step(step, len(content))
                if content:
                    yield content
    except zstandard.ZstdError as error:
        raise VerificationError(f"{name} is not intact zstd data: {error}.", remedy) from None
    if not frame.eof or frame.unused_data:
        raise VerificationError(
            f"{name} is cut off, or has data after its end: the zstd frame is not complete.", remedy
        )


_FIRST_STEP = 512


def _next_step(step: int, produced: int) -> int:
    """Bytes to unpack at once for about a block of content: repetitive data grows by up to 30,000 times."""
    return max(_FIRST_STEP, min(BLOCK_BYTES, step * BLOCK_BYTES // max(produced, 1), 4 * step))
