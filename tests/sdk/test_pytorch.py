"""Datasets against a cluster; a loader of torch, where it is installed, is one more way to read."""

import io
import tarfile
from types import SimpleNamespace

import pytest

from aisfs_sdk import Bucket, Client, pytorch
from aisfs_sdk.data_shard import DataShard
from aisfs_sdk.pytorch import (
    AISBatchIterDataset,
    AISIterDataset,
    AISMapDataset,
    AISMultiShardStream,
    AISParallelMapDataset,
    AISShardReader,
    DynamicBatchSampler,
)

CONTENTS = {f"d{number % 2}/{number}": str(number).encode() * number for number in range(1, 9)}


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name, data in CONTENTS.items():
        bucket.object(name).put_content(data)
    return bucket


def shard(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def test_objects_by_number(filled: Bucket) -> None:
    dataset = AISMapDataset(filled)
    assert len(dataset) == len(CONTENTS)
    assert dict(dataset[i] for i in range(len(dataset))) == CONTENTS
    wanted = [3, 0, 5]
    assert dataset.__getitems__(wanted) == [dataset[index] for index in wanted]
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    large = AISParallelMapDataset(filled, num_workers=2)
    assert [(name, bytes(data)) for name, data in (large[0], large[1])] == [dataset[0], dataset[1]]


def test_prefixes_choose(filled: Bucket) -> None:
    group = filled.objects(obj_names=["d1/1", "d0/2"])
    assert [name for name, _ in AISIterDataset(group)] == ["d1/1", "d0/2"]
    dataset = AISIterDataset([filled], {filled: ["d1/", "d0/2"]})
    assert [name for name, _ in dataset] == ["d1/1", "d1/3", "d1/5", "d1/7", "d0/2"]
    assert len(dataset) == 5
    with pytest.raises(ValueError, match="one bucket or group"):
        AISIterDataset([])


def test_batches(filled: Bucket, client: Client) -> None:
    assert dict(AISBatchIterDataset(filled, client, max_batch_size=3)) == CONTENTS


@pytest.mark.parametrize("by_source", [True, False])
def test_workers_share_the_objects(
    filled: Bucket, monkeypatch: pytest.MonkeyPatch, by_source: bool
) -> None:
    dataset = AISIterDataset([filled, filled], None, None, False, by_source)
    seen = []
    for number in range(2):
        info = SimpleNamespace(id=number, num_workers=2)
        monkeypatch.setattr(pytorch, "get_worker_info", lambda info=info: info)
        mine = [name for name, _ in dataset]
        assert len(mine) == len(CONTENTS)
        seen += mine
    assert sorted(seen) == sorted([*CONTENTS, *CONTENTS])


def test_samples_of_shards(bucket: Bucket) -> None:
    bucket.object("s/1.tar").put_content(
        shard(("x/a.png", b"A"), ("x/a.cls", b"1"), ("x/b.png", b"B"), ("x/b.cls", b"2"))
    )
    bucket.object("s/2.tar").put_content(shard(("c.png", b"C"), ("c.seg.png", b"S")))
    bucket.object("s/readme").put_content(b"no shard")
    dataset = AISShardReader(bucket)
    assert len(dataset) == 3
    samples = list(dataset)
    assert samples[0] == ("x/a", {".png": b"A", ".cls": b"1"})
    assert samples[2] == ("c", {".png": b"C", ".seg.png": b"S", ".cls": b""})


def test_series_of_shards(bucket: Bucket, client: Client, endpoint: str) -> None:
    bucket.object("images/1.tar").put_content(shard(("1", b"i1"), ("2", b"i2")))
    bucket.object("images/2.tar").put_content(shard(("3", b"i3")))
    bucket.object("labels/1.tar").put_content(shard(("1", b"l1"), ("2", b"l2"), ("3", b"l3")))
    images = DataShard(client, bucket.name, prefix="images/")
    labels = DataShard(endpoint, bucket.name, prefix="labels/")
    stream = AISMultiShardStream([images, labels])
    assert list(stream) == [(b"i1", b"l1"), (b"i2", b"l2"), (b"i3", b"l3")]


def test_batches_by_size(filled: Bucket) -> None:
    dataset = AISMapDataset(filled)
    sizes = [len(data) for _, data in (dataset[i] for i in range(len(dataset)))]
    for batch in (batches := list(DynamicBatchSampler(dataset, 7))):
        assert sum(sizes[index] for index in batch) <= 7
    assert sorted(index for batch in batches for index in batch) == [
        index for index, size in enumerate(sizes) if size <= 7
    ]
    all_of_them = list(DynamicBatchSampler(dataset, 7, allow_oversized_samples=True, shuffle=True))
    assert sorted(index for batch in all_of_them for index in batch) == list(range(8))
    with pytest.raises(ValueError, match="saturation_factor"):
        DynamicBatchSampler(dataset, 7, saturation_factor=2)


def test_a_loader_of_torch(filled: Bucket) -> None:
    data = pytest.importorskip("torch.utils.data")
    loader = data.DataLoader(AISIterDataset(filled), batch_size=None, num_workers=2)
    assert dict(loader) == CONTENTS
