"""Datasets of local files, stored as shards and read back."""

import io
import logging
import tarfile
from pathlib import Path

import pytest

from aisfs_sdk import Bucket
from aisfs_sdk.dataset import DataAttribute, DatasetConfig, LabelAttribute
from aisfs_sdk.pytorch import AISShardReader

LABELS = {"cat": 0, "dog": 1, "eel": 2}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in LABELS:
        (tmp_path / f"{name}.jpg").write_bytes(f"image of {name}".encode())
    for name in ("cat", "eel"):
        (tmp_path / f"{name}.txt").write_text(f"about a {name}")
    (tmp_path / "none.png").write_bytes(b"of another type")
    return tmp_path


def config(files: Path, *, texts: bool = False) -> DatasetConfig:
    label = LabelAttribute("cls", LABELS.__getitem__)
    more = [label, DataAttribute(files, "text", "txt")] if texts else [label]
    return DatasetConfig(DataAttribute(files, "image", "jpg"), more)


def members(bucket: Bucket, name: str) -> list[str]:
    data = bucket.object(name).get().read_all()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_what_is_written_is_read_back(bucket: Bucket, files: Path) -> None:
    assert bucket.write_dataset(config(files), pattern="animals/train") == [
        "animals/train-000000.tar"
    ]
    assert list(AISShardReader(bucket)) == [
        (f"sample_{number:06}", {".image.jpg": f"image of {name}".encode(), ".cls": b"%d" % number})
        for name, number in LABELS.items()
    ]


@pytest.mark.parametrize(("maxcount", "maxsize"), [(2, 1000), (9, 14)])
def test_full_shards_are_ended(bucket: Bucket, files: Path, maxcount: int, maxsize: int) -> None:
    names = bucket.write_dataset(config(files), maxcount=maxcount, maxsize=maxsize)
    assert names == ["dataset-0.tar", "dataset-1.tar"]
    assert [len(members(bucket, name)) // 2 for name in names] == [2, 1]
    assert members(bucket, names[1]) == ["sample_2.image.jpg", "sample_2.cls"]


def test_samples_that_lack_something_are_left_out(
    bucket: Bucket, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.write_dataset(config(files, texts=True))
    assert [stem for stem, _ in AISShardReader(bucket)] == ["sample_000000", "sample_000002"]
    assert [
        record.getMessage() for record in caplog.records if record.name.endswith("dataset")
    ] == ["left out: missing dog - text.txt"]
    assert caplog.records[0].levelno == logging.WARNING
    caplog.clear()


def test_samples_that_lack_something_are_written_without_it(bucket: Bucket, files: Path) -> None:
    (name,) = bucket.write_dataset(config(files, texts=True), skip_missing=False)
    assert members(bucket, name)[3:5] == ["sample_000001.image.jpg", "sample_000001.cls"]
    assert len(members(bucket, name)) == 8


def test_nothing_is_stored_for_nothing(bucket: Bucket, files: Path) -> None:
    nothing = DatasetConfig(DataAttribute(files, "sound", "wav"))
    assert bucket.write_dataset(nothing) == []
    assert bucket.list_all_objects() == []


def test_what_cannot_be_written_is_refused(bucket: Bucket, files: Path) -> None:
    with pytest.raises(ValueError, match="one sample"):
        bucket.write_dataset(config(files), maxcount=0)
    wrong = LabelAttribute("cls", lambda _: 0.5)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="cls is bytes, text or a number, not float"):
        bucket.write_dataset(DatasetConfig(DataAttribute(files, "image", "jpg"), [wrong]))
    assert bucket.list_all_objects() == []
