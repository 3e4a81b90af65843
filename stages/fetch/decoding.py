"""Bodies that a host compresses although it was asked not to; one that ends before its stream does is not whole."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from .remote import TransientError

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
ENCODINGS = tuple(_WINDOW_BITS)


def inflated(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The content of a body of one of ENCODINGS. Raises TransientError where its stream is damaged or cut short, which
    a connection that closes without a length does not tell.
    """
    decoder, begun = zlib.decompressobj(_WINDOW_BITS[encoding]), False
    for chunk in chunks:
        left = chunk
        while left:
            if decoder.eof:  # a gzip file may have several members
                decoder = zlib.decompressobj(_WINDOW_BITS[encoding])
            begun = True
            try:
                yield decoder.decompress(left)
            except zlib.error as error:
                raise TransientError(f"the {encoding} body is damaged: {error}") from None
            left = decoder.unused_data
    if not begun or not decoder.eof:
        raise TransientError(f"the connection closed before the {encoding} body ended")
