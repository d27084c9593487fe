"""TFRECORD framing and the protocol-buffer wire."""

from __future__ import annotations

import numpy as np
import pytest

from semanticvla_jax.data import examples, tfrecord
from semanticvla_jax.errors import InputError
from tests.data.tfds_writer import example, record


def test_checksum_of_the_standard_vector():
    crc = 0xE3069283  # CRC-32C of "123456789"
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert tfrecord.masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_records_and_features_are_found_in_place():
    long = bytes(range(256)) * 3
    payload = example({"names": [b"one", long, b""], "numbers": np.array([1.5, -2.0])})
    buffer = record(b"first") + record(payload)
    first, second = tfrecord.record_spans(buffer, "file")
    assert buffer[slice(*first)] == b"first"
    features = examples.example_features(buffer, second)
    spans = examples.byte_strings(buffer, features["names"])
    assert [buffer[slice(*span)] for span in spans] == [b"one", long, b""]
    assert len(examples.byte_strings(buffer, features["names"], limit=1)) == 1
    assert examples.floats(buffer, features["numbers"]).tolist() == [1.5, -2.0]


def test_an_empty_list_has_no_values():
    payload = example({"names": [], "numbers": np.zeros(0)})
    features = examples.example_features(payload, (0, len(payload)))
    assert examples.byte_strings(payload, features["names"]) == []
    assert examples.floats(payload, features["numbers"]).shape == (0,)


@pytest.mark.parametrize("missing", [1, 4, 8, 15])
def test_truncation_is_reported_with_sizes(missing):
    whole = record(b"first") + record(b"")
    cut = whole[: len(whole) - missing]
    with pytest.raises(InputError, match=f"truncated.*part.*found {len(cut)} bytes"):
        list(tfrecord.record_spans(cut, "part"))


def test_a_wrong_length_is_caught_by_its_checksum():
    damaged = bytearray(record(b"payload"))
    damaged[0] ^= 1
    with pytest.raises(InputError, match="wrong length checksum at byte 0"):
        list(tfrecord.record_spans(bytes(damaged), "file"))


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        tfrecord.map_file(tmp_path / "absent")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="0 bytes"):
        tfrecord.map_file(tmp_path / "empty")
