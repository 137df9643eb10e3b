import hashlib
import io

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HashError, InvalidInputError
from holdfast.hashing import (
    ALGORITHMS,
    BLOCK_BYTES,
    Digest,
    MultiHasher,
    copy_hashed,
    hash_blocks,
    hash_bytes,
    hash_file,
    hash_stream,
)


class Dribble(io.RawIOBase):
    """Give a few bytes at a time, as pipes and sockets do."""

    def __init__(self, data):
        self.rest = memoryview(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), len(self.rest), 70_001)
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


@given(st.binary(max_size=2000))
def test_digests_agree_with_the_libraries(data):
    hasher = MultiHasher(ALGORITHMS)
    hasher.update(data[:7])
    hasher.update(data[7:])
    found = hasher.digests()
    assert found["blake3"].hex == blake3(data).hexdigest()
    for name in ("sha256", "sha512", "sha1", "md5"):
        assert found[name].hex == hashlib.new(name, data).hexdigest()
        assert hash_bytes(data, name) == found[name]
    assert hasher.size_bytes == len(data)


@pytest.mark.parametrize(
    "size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES, 4 * 1024 * 1024 + 3]
)
def test_block_digests_do_not_depend_on_how_the_stream_reads(size):
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    plain, dribbled = hash_blocks(io.BytesIO(data)), hash_blocks(Dribble(data))
    assert plain == dribbled
    assert plain.whole == hash_bytes(data)
    assert plain.size_bytes == size
    assert len(plain.blocks) == 32 * -(-size // BLOCK_BYTES)
    for index in range(len(plain.blocks) // 32):
        plain.check(index, data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES], "x")


def test_a_flipped_bit_is_found_in_its_block():
    data = bytearray(3 * BLOCK_BYTES)
    blocks = hash_blocks(io.BytesIO(data))
    data[BLOCK_BYTES + 5] ^= 1
    with pytest.raises(HashError, match="'run' is damaged in block 1") as caught:
        blocks.check(1, data[BLOCK_BYTES : 2 * BLOCK_BYTES], "'run'")
    assert caught.value.details["block"] == 1


def test_copy_hashes_in_one_pass_and_tells_its_progress():
    data, out, steps = bytes(3_000_000), io.BytesIO(), []
    hasher = copy_hashed(io.BytesIO(data), out.write, ("blake3", "md5"), steps.append)
    assert out.getvalue() == data
    assert hasher.digests()["md5"].hex == hashlib.md5(data).hexdigest()
    assert steps[-1] == hasher.size_bytes == len(data)


def test_text_streams_are_refused():
    with pytest.raises(InvalidInputError, match="binary mode"):
        hash_stream(io.StringIO("text"))


def test_files_are_hashed_whole(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc" * 1_000_000)
    assert hash_file(path, ["sha256"])["sha256"].hex == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("d41d8cd98f00b204e9800998ecf8427e", "md5"),
        ("D41D8CD98F00B204E9800998ECF8427E", "md5"),
        (" sha256:" + "0" * 64, "sha256"),
        ("BLAKE3:" + "A" * 64, "blake3"),
        ("0" * 40, "sha1"),
        ("0" * 128, "sha512"),
    ],
)
def test_digests_are_read_in_any_form(text, algorithm):
    digest = Digest.parse(text)
    assert digest.algorithm == algorithm
    assert Digest.parse(str(digest)) == digest
    assert digest.raw.hex() == digest.hex


@pytest.mark.parametrize(
    "text", ["", "zz", "md5:12", "crc32:00", "0" * 64, "md5:" + "g" * 32, "sha256:" + "0" * 63]
)
def test_bad_digests_are_refused(text):
    with pytest.raises(InvalidInputError):
        Digest.parse(text)


def test_bare_digest_takes_the_default_algorithm():
    assert Digest.parse("0" * 64, "blake3").algorithm == "blake3"


def test_check_names_both_digests():
    expected, found = hash_bytes(b"a"), hash_bytes(b"b")
    expected.check(expected, "x")
    with pytest.raises(HashError) as caught:
        expected.check(found, "entry 'x'")
    assert str(expected) in str(caught.value)
    assert str(found) in str(caught.value)
    with pytest.raises(HashError):
        expected.check(hash_bytes(b"a", "md5"), "x")


def test_unknown_algorithm_is_refused():
    with pytest.raises(InvalidInputError, match="crc"):
        MultiHasher(["crc"])
