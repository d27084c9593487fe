"""`tf.train.Example` messages, read in place on the protocol-buffer wire without TensorFlow.

Long byte strings (images) are never copied, only located.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Span = tuple[int, int]  # start and stop offset in a buffer


def _varint(buffer, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _fields(buffer, span: Span) -> Iterator[tuple[int, Span]]:
    """(field number, value span) of one message."""
    position, stop = span
    while position < stop:
        tag, position = _varint(buffer, position)
        wire = tag & 7
        if wire == 2:
            length, position = _varint(buffer, position)
        elif wire == 0:
            length = _varint(buffer, position)[1] - position
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"protocol-buffer wire type {wire}")
        yield tag >> 3, (position, position + length)
        position += length
    if position != stop:
        raise ValueError("protocol-buffer field runs past its message")


def example_features(buffer, span: Span) -> dict[str, Span]:
    """Name -> where its `Feature` message lies, of one `tf.train.Example`."""
    features = {}
    for _, example in _fields(buffer, span):
        for _, entry in _fields(buffer, example):
            parts = dict(_fields(buffer, entry))
            if 1 in parts:
                start, stop = parts[1]
                features[bytes(buffer[start:stop]).decode()] = parts.get(2, (stop, stop))
    return features


def byte_strings(buffer, feature: Span, limit: int | None = None) -> list[Span]:
    """Where the (first `limit`) byte strings of a `BytesList` feature lie."""
    spans = []
    for _, values in _fields(buffer, feature):
        for _, span in _fields(buffer, values):
            spans.append(span)
            if len(spans) == limit:
                return spans
    return spans


def floats(buffer, feature: Span) -> np.ndarray:
    """f32[n]: the values of a `FloatList` feature."""
    parts = [
        np.frombuffer(buffer, "<f4", (stop - start) // 4, start)
        for _, values in _fields(buffer, feature)
        for _, (start, stop) in _fields(buffer, values)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
