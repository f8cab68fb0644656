"""TFRecord files: every byte is checked, the index is made once and never trusted."""

import functools
import os
import random
import shutil
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.imagenet import tfrecord_frame

from train.data.images.decode import BadImage
from train.data.records import tfrecord
from train.data.records import tfrecord as record_index
from train.data.records.tfrecord import TFRecordShards, masked_crc, open_tfrecords, scan

DATA = [b"first", b"", b"the third record", bytes(range(256))]
LIMIT = 1 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(record_index, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path) -> Path:
    """Two files of four records; the test's own is the first."""
    content = b"".join(map(tfrecord_frame, DATA))
    (tmp_path / "one").write_bytes(content)
    (tmp_path / "two").write_bytes(content)
    return tmp_path / "one"


def opened(path: Path, **options) -> TFRecordShards:
    paths = [str(path), str(path.with_name("two"))]
    return open_tfrecords(paths, [4, 4], **{"max_bytes": LIMIT, **options})


def outcome(shards: TFRecordShards, index: int) -> bytes | str:
    try:
        return shards.read(index)
    except BadImage as error:
        return str(error)


def test_records_are_read_in_any_order(path):
    shards = opened(path)
    assert len(shards) == 8
    order = [7, 0, 3, 3, 4, 1, 6, 2, 5]
    assert [shards.read(i) for i in order] == [DATA[i % 4] for i in order]
    assert shards.place(6) == f"record 2 of {path.with_name('two')}"
    for outside in (-1, 8):
        with pytest.raises(IndexError, match=f"from 0 to 7: got {outside}"):
            shards.read(outside)


def test_the_checksum_is_the_published_one():
    # CRC-32C's check value is e3069283 for these nine bytes.
    crc = 0xE3069283
    rotated = (crc >> 15 | crc << 17) % 2**32
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_another_writers_files_are_read(tmp_path):
    writers = pytest.importorskip("tensorboardX.record_writer")
    target = tmp_path / "events"
    writer = writers.RecordWriter(str(target))
    for data in DATA:
        writer.write(data)
    writer.close()
    shards = open_tfrecords([str(target)], [4], LIMIT)
    assert [shards.read(i) for i in range(4)] == DATA


def test_every_flipped_byte_is_noticed(path):
    content = path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            shards = opened(path)
        except ValueError as error:
            assert str(path) in str(error) and "has a damaged length" in str(error)
            continue
        got = [outcome(shards, i) for i in range(4)]
        wrong = [i for i in range(4) if got[i] != DATA[i]]
        assert len(wrong) == 1 and "differ from their checksum" in str(got[wrong[0]])


def test_every_cut_is_noticed(path):
    content = path.read_bytes()
    ends = np.cumsum([len(tfrecord_frame(data)) for data in DATA]).tolist()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        rule = "4 instead|instead of 4" if length in (0, *ends) else "at byte .* copied"
        with pytest.raises(ValueError, match=rule) as caught:
            opened(path)
        assert str(path) in str(caught.value)


def test_a_wrong_length_names_file_and_place(path):
    content = bytearray(path.read_bytes())
    second = len(tfrecord_frame(DATA[0]))
    content[second] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"one: the record at byte {second} of "):
        opened(path)


def test_a_length_of_exabytes_costs_no_memory(path):
    head = struct.pack("<Q", 2**63)
    path.write_bytes(head + struct.pack("<I", masked_crc(head)) + bytes(100))
    with pytest.raises(ValueError, match="has 9,223,372,036,854,775,808 bytes"):
        opened(path)


def test_a_record_too_large_is_refused_before_it_is_read(path):
    size = 50_000_000
    head = struct.pack("<Q", size)
    with path.open("wb") as file:
        file.write(head + struct.pack("<I", masked_crc(head)))
        file.truncate(size + 16)
    shards = open_tfrecords([str(path)], [1], LIMIT)
    tracemalloc.start()
    with pytest.raises(BadImage, match="1,048,576 bytes, got a record of 50,000,000"):
        shards.read(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def never(path: str):
    raise AssertionError(f"{path} was scanned")


def test_unchanged_files_are_scanned_once(path, monkeypatch):
    first = opened(path)
    monkeypatch.setattr(tfrecord, "scan", never)
    again = opened(path)
    assert [again.read(i) for i in range(8)] == DATA * 2
    for one, other in zip(first.index, again.index, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_index_serves_a_copy_elsewhere(path, tmp_path, monkeypatch):
    opened(path)
    monkeypatch.setattr(tfrecord, "scan", never)
    (tmp_path / "moved").mkdir()
    for name in ("one", "two"):
        shutil.copy2(tmp_path / name, tmp_path / "moved")
    assert opened(tmp_path / "moved" / "one").read(5) == DATA[1]


def test_changed_files_are_scanned_again(path):
    opened(path)
    path.write_bytes(b"".join(map(tfrecord_frame, reversed(DATA))))
    assert opened(path).read(0) == DATA[3]


def test_a_file_changed_in_secret_gives_no_wrong_record(path):
    opened(path)
    before = path.stat()
    path.write_bytes(b"".join(map(tfrecord_frame, reversed(DATA))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BadImage, match="no record of 5 bytes lies at byte 0"):
        opened(path).read(0)


def save(file: Path, **arrays) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


RIGHT = {
    "starts": np.array([0, 4, 8]),
    "offsets": np.arange(8),
    "lengths": np.arange(8),
}
DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_bytes(b"not a zip file" * 10),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "huge": lambda file: os.truncate(file, 1 << 30),
    "missing": lambda file: save(file, starts=RIGHT["starts"]),
}
WRONG_ARRAYS = {
    "objects": {"offsets": np.array([{}] * 8, dtype=object)},
    "floats": {"offsets": np.ones(8)},
    "short": {"lengths": np.arange(7)},
    "few": {"starts": np.array([0, 8])},
    "scalar": {"starts": np.array(8)},
    "backwards": {"starts": np.array([0, 9, 8])},
    "negative": {"lengths": -np.arange(8)},
}


@pytest.mark.parametrize("kind", [*DAMAGE, *WRONG_ARRAYS])
def test_a_damaged_cache_is_made_again(path, cache, monkeypatch, caplog, kind):
    damage = DAMAGE.get(kind)
    if damage is None:
        damage = functools.partial(save, **{**RIGHT, **WRONG_ARRAYS[kind]})
    opened(path)
    (file,) = cache.iterdir()
    damage(file)
    assert [opened(path).read(i) for i in range(8)] == DATA * 2
    assert "is damaged and made again" in caplog.text
    monkeypatch.setattr(tfrecord, "scan", never)
    opened(path)
    assert os.listdir(cache) == [file.name]


def test_every_damaged_byte_of_the_cache_costs_the_cache_alone(path, cache):
    opened(path)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    chance = random.Random(0)
    for at in chance.sample(range(len(content)), 150):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert [opened(path).read(i) for i in range(8)] == DATA * 2


def test_an_unwritable_cache_costs_the_cache_alone(path, cache, caplog):
    cache.write_bytes(b"a file where the folder should be")
    assert opened(path).read(4) == DATA[0]
    assert "the next run scans again" in caplog.text


def test_many_files_share_few_open_ones(tmp_path, monkeypatch):
    paths = [str(tmp_path / f"{number}") for number in range(40)]
    for number, name in enumerate(paths):
        Path(name).write_bytes(tfrecord_frame(b"%d" % number))
    few = functools.lru_cache(maxsize=3)(tfrecord._open.__wrapped__)
    monkeypatch.setattr(tfrecord, "_open", few)
    shards = open_tfrecords(paths, [1] * 40, LIMIT)
    before = len(os.listdir("/dev/fd"))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: shards.read(i % 40), range(2000)))
    assert read == [b"%d" % (i % 40) for i in range(2000)]
    assert len(os.listdir("/dev/fd")) <= before + 3


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "empty").touch()
    assert scan(str(tmp_path / "empty")).shape == (0, 2)
    assert len(open_tfrecords([str(tmp_path / "empty")], [0], LIMIT)) == 0
