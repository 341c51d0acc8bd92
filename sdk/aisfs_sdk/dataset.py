"""Datasets from local files: samples, and the WebDataset shards that hold them.

A shard is a plain tar archive. The members of one sample stand together and share the part of their
names before the first dot: `sample_000007.image.jpg`, `sample_000007.label`. `Bucket.write_dataset`
stores shards; `pytorch.AISShardReader` reads them.
"""

from __future__ import annotations

import io
import logging
import tarfile
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

Value = bytes | str | int
"""What a sample can hold: bytes as they are, text in UTF-8, a number in decimal digits."""

MAX_COUNT = 100_000
"""Samples per shard, as AIS's own package has it."""

MAX_SIZE = 3_000_000_000
"""Bytes per shard, likewise."""


@dataclass
class Sample:
    """One sample.

    Attributes:
        name: that its members begin with.
        parts: value by key.
        missing: what it lacks, in texts `FILE - KEY`.
    """

    name: str
    parts: dict[str, Value]
    missing: list[str]


class ConfigAttribute(ABC):
    """One part of every sample."""

    @abstractmethod
    def get_data_for_entry(self, filename: str) -> tuple[str, Value | None]:
        """Return the part's key and its value for a sample.

        Args:
            filename: of the sample's primary file, without directory and ending.

        Returns:
            The key, and None in place of a value that the sample lacks.
        """


class DataAttribute(ConfigAttribute):
    """A part that is a file of its own: `PATH/SAMPLE.FILE_TYPE`.

    Args:
        path: directory of the files.
        name: of the part.
        file_type: ending of the files, without a dot; its key is `NAME.FILE_TYPE`.
    """

    def __init__(self, path: str | Path, name: str, file_type: str) -> None:
        self.path = Path(path)
        self.name = name
        self.file_type = file_type

    def get_data_for_entry(self, filename: str) -> tuple[str, bytes | None]:
        """Return the key and the content of the sample's file, None where there is none.

        Raises:
            OSError: the file is there and cannot be read.
        """
        key = f"{self.name}.{self.file_type}"
        try:
            return key, (self.path / f"{filename}.{self.file_type}").read_bytes()
        except FileNotFoundError:
            return key, None


class LabelAttribute(ConfigAttribute):
    """A part that follows from the name of the sample.

    Args:
        name: of the part, which is its key.
        label_identifier: returns the label for a file's name without directory and ending, or None.
    """

    def __init__(self, name: str, label_identifier: Callable[[str], Value | None]) -> None:
        self.name = name
        self.label_identifier = label_identifier

    def get_data_for_entry(self, filename: str) -> tuple[str, Value | None]:
        """Return the key and the label of a sample."""
        return self.name, self.label_identifier(filename)


@dataclass
class DatasetConfig:
    """What the samples of a dataset are made of.

    Attributes:
        primary_attribute: each of its files is a sample.
        secondary_attributes: further parts of the samples.
    """

    primary_attribute: DataAttribute
    secondary_attributes: Sequence[ConfigAttribute] = ()

    def samples(self, max_count: int = MAX_COUNT) -> Iterator[Sample]:
        """Yield the samples in the order of their files' names.

        Args:
            max_count: samples per shard; its digits are those of a sample's number.

        Raises:
            OSError: a file cannot be read.
        """
        primary = self.primary_attribute
        digits = len(str(max_count))
        for number, file in enumerate(sorted(primary.path.glob(f"*.{primary.file_type}"))):
            sample = Sample(f"sample_{number:0{digits}}", {}, [])
            for attribute in (primary, *self.secondary_attributes):
                key, value = attribute.get_data_for_entry(file.stem)
                if value is None:
                    sample.missing.append(f"{file.stem} - {key}")
                else:
                    sample.parts[key] = value
            yield sample

    def samples_to_write(self, skip_missing: bool, max_count: int = MAX_COUNT) -> Iterator[Sample]:
        """Yield the samples that shards get; what they lack is logged as a warning.

        Args:
            skip_missing: leave out samples that lack something.
            max_count: as of `samples`.

        Raises:
            OSError: a file cannot be read.
        """
        for sample in self.samples(max_count):
            if sample.missing:
                done = "left out" if skip_missing else "written without"
                log.warning("%s: missing %s", done, ", ".join(sample.missing))
            if not (sample.missing and skip_missing):
                yield sample


def write_shards(
    samples: Iterator[Sample], max_count: int, max_size: int
) -> Iterator[tuple[IO[bytes], int]]:
    """Yield shards as temporary files, each at its beginning, and their sizes in bytes.

    One file exists at a time, until the next shard is asked for.

    Args:
        samples: what they hold.
        max_count: samples per shard.
        max_size: bytes of content after which a shard is ended: its last sample may exceed them.

    Raises:
        ValueError: a limit is not positive.
        TypeError: a part is neither bytes nor text nor a number.
        OSError: there is no room for the file.
    """
    if max_count < 1 or max_size < 1:
        msg = f"a shard has one sample and one byte at least, not {max_count} and {max_size}"
        raise ValueError(msg)
    sample = next(samples, None)
    while sample is not None:
        with tempfile.TemporaryFile() as file:
            count = filled = 0
            with tarfile.open(fileobj=file, mode="w") as archive:
                while sample is not None and count < max_count and filled < max_size:
                    filled += _add(archive, sample)
                    count += 1
                    sample = next(samples, None)
            size = file.tell()
            file.seek(0)
            yield file, size


def _add(archive: tarfile.TarFile, sample: Sample) -> int:
    """Write the members of a sample, and return the bytes of their contents."""
    total = 0
    for key, value in sample.parts.items():
        data = _encoded(key, value)
        member = tarfile.TarInfo(f"{sample.name}.{key}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        total += len(data)
    return total


def _encoded(key: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str | int):
        return str(value).encode()
    msg = f"{key} is bytes, text or a number, not {type(value).__name__}"
    raise TypeError(msg)
