"""Objects as PyTorch datasets: map-style, iterable, in batches, and samples within shards.

The classes have the names and arguments of AIS's own package. They work as plain sequences and
iterables where torch is not installed (`pip install aisfs[torch]` brings it); nothing here needs
more of it than its base classes and the number of the worker.
"""

from __future__ import annotations

import random
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aisfs_sdk.archive_config import ArchiveConfig
from aisfs_sdk.batch import Batch
from aisfs_sdk.bucket import Bucket
from aisfs_sdk.data_shard import DataShard  # noqa: TC001 - can be imported from here as well
from aisfs_sdk.etl_config import ETLConfig
from aisfs_sdk.multiobj.object_group import ObjectGroup
from aisfs_sdk.tar_stream import tar_members

try:
    from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info
except ImportError:
    Dataset = IterableDataset = Sampler = object

    def get_worker_info() -> None:
        """Return nothing: without torch there are no workers."""


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aisfs_sdk.client import Client
    from aisfs_sdk.object import Object

    Source = Bucket | ObjectGroup
    Prefixes = Mapping[Source, str | list[str]]

_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.lz4", ".zip")


def _sources(given: Source | Iterable[Source]) -> list[Source]:
    sources = [given] if isinstance(given, Bucket | ObjectGroup) else list(given)
    if not sources:
        msg = "a dataset is made of one bucket or group of objects at least"
        raise ValueError(msg)
    return sources


def _objects(sources: Iterable[Source], prefixes: Prefixes | None) -> Iterator[Object]:
    """Yield the objects of all sources, in their order."""
    for source in sources:
        wanted = (prefixes or {}).get(source)
        if wanted is None:
            yield from source.list_all_objects_iter()
        else:
            for prefix in [wanted] if isinstance(wanted, str) else wanted:
                yield from source.list_all_objects_iter(prefix=prefix)


def _content(obj: Object, etl_name: str | None) -> bytes:
    return obj.get(etl=ETLConfig(etl_name) if etl_name else None).read_all()


class AISBaseMapDataset(Dataset):  # type: ignore[misc]
    """Objects by number. The names are listed once, when it is made.

    Args:
        ais_source_list: buckets and groups of objects, or one.
        prefix_map: source → prefixes of the objects that are wanted of it.

    Raises:
        ValueError: there is no source.
        AISError, requests.RequestException: listing failed.
    """

    def __init__(
        self, ais_source_list: Source | Iterable[Source], prefix_map: Prefixes | None = None
    ) -> None:
        self._obj_list = list(_objects(_sources(ais_source_list), prefix_map))

    def get_obj_list(self) -> list[Object]:
        """Return the objects in their order."""
        return self._obj_list

    def __len__(self) -> int:
        return len(self._obj_list)


class AISMapDataset(AISBaseMapDataset):
    """Name and content of objects by number.

    Args:
        ais_source_list: see `AISBaseMapDataset`.
        prefix_map: see there.
        etl_name: transformer that contents go through.
    """

    def __init__(
        self,
        ais_source_list: Source | Iterable[Source],
        prefix_map: Prefixes | None = None,
        etl_name: str | None = None,
    ) -> None:
        super().__init__(ais_source_list, prefix_map)
        self._etl_name = etl_name

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        obj = self._obj_list[index]
        return obj.name, _content(obj, self._etl_name)

    def __getitems__(self, indices: list[int]) -> list[tuple[str, bytes]]:
        """Return several at once: in one request of the cluster, where that can be."""
        if self._etl_name or len(indices) < 2:
            return [self[index] for index in indices]
        wanted = [self._obj_list[index] for index in indices]
        return [(out.obj_name, data) for out, data in Batch(wanted[0].client, wanted).get()]


class AISParallelMapDataset(AISBaseMapDataset):
    """Large objects by number, each read by several ranged requests at once.

    Args:
        ais_source_list: see `AISBaseMapDataset`.
        prefix_map: see there.
        num_workers: requests at a time for one object.
    """

    def __init__(
        self,
        ais_source_list: Source | Iterable[Source],
        prefix_map: Prefixes | None = None,
        num_workers: int = 16,
    ) -> None:
        super().__init__(ais_source_list, prefix_map)
        self.num_workers = num_workers

    def __getitem__(self, index: int) -> tuple[str, memoryview]:
        obj = self._obj_list[index]
        return obj.name, obj.get_parallel(self.num_workers).read_all()


class AISBaseIterDataset(IterableDataset):  # type: ignore[misc]
    """Objects in the order of their listing, shared out among the workers of a loader.

    Args:
        ais_source_list: buckets and groups of objects, or one.
        prefix_map: source → prefixes of the objects that are wanted of it.
        partition_sources_by_worker: each worker lists sources of its own, instead of every nth
            object of all.

    Raises:
        ValueError: there is no source.
    """

    def __init__(
        self,
        ais_source_list: Source | Iterable[Source],
        prefix_map: Prefixes | None = None,
        partition_sources_by_worker: bool = False,
    ) -> None:
        self._source_list = _sources(ais_source_list)
        self._prefix_map = prefix_map
        self._by_source = partition_sources_by_worker

    def _mine(self) -> Iterator[Object]:
        """Yield the objects of the worker that runs this."""
        info: Any = get_worker_info()
        if info is None:
            return _objects(self._source_list, self._prefix_map)
        if self._by_source:
            mine = self._source_list[info.id :: info.num_workers]
            return _objects(mine, self._prefix_map)
        every = _objects(self._source_list, self._prefix_map)
        return islice(every, info.id, None, info.num_workers)

    def __len__(self) -> int:
        """Count by listing all."""
        return sum(1 for _ in _objects(self._source_list, self._prefix_map))


class AISIterDataset(AISBaseIterDataset):
    """Name and content of one object after the other.

    Args:
        ais_source_list: see `AISBaseIterDataset`, as the others.
        prefix_map: see there.
        etl_name: transformer that contents go through.
        show_progress: without effect; loaders show their own.
        partition_sources_by_worker: see there.
    """

    def __init__(
        self,
        ais_source_list: Source | Iterable[Source],
        prefix_map: Prefixes | None = None,
        etl_name: str | None = None,
        show_progress: bool = False,  # noqa: ARG002 - as documented
        partition_sources_by_worker: bool = False,
    ) -> None:
        super().__init__(ais_source_list, prefix_map, partition_sources_by_worker)
        self._etl_name = etl_name

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return ((obj.name, _content(obj, self._etl_name)) for obj in self._mine())


class AISBatchIterDataset(AISBaseIterDataset):
    """Name and content of objects that are read many in one request.

    Args:
        ais_source_list: see `AISBaseIterDataset`.
        client: sends the requests.
        prefix_map: see there.
        show_progress: without effect; loaders show their own.
        max_batch_size: objects of one request.
        output_format: archive that the cluster sends.
        streaming: start before the cluster has all of it.
        partition_sources_by_worker: see there.
        cont_on_err: a missing object is left out instead of ending it.
    """

    def __init__(  # noqa: PLR0917 - as documented
        self,
        ais_source_list: Source | Iterable[Source],
        client: Client,
        prefix_map: Prefixes | None = None,
        show_progress: bool = False,  # noqa: ARG002 - as documented
        max_batch_size: int = 32,
        output_format: str = ".tar",
        streaming: bool = True,
        partition_sources_by_worker: bool = False,
        cont_on_err: bool = False,
    ) -> None:
        super().__init__(ais_source_list, prefix_map, partition_sources_by_worker)
        self._client = client
        self._size = max_batch_size
        self._options: dict[str, Any] = {
            "output_format": output_format, "cont_on_err": cont_on_err, "streaming_get": streaming,
        }  # fmt: skip

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        mine = self._mine()
        while wanted := list(islice(mine, self._size)):
            for out, data in self._client.batch(wanted, **self._options).get():
                if out.is_ok:
                    yield out.obj_name, data


class AISShardReader(AISBaseIterDataset):
    """Samples within archives: the members that share a name up to the first dot of its last part.

    Args:
        bucket_list: buckets of archives, or one.
        prefix_map: see `AISBaseIterDataset`.
        etl_name: transformer that archives go through.
        show_progress: without effect; loaders show their own.
        partition_sources_by_worker: see there.
    """

    def __init__(
        self,
        bucket_list: Bucket | Iterable[Bucket],
        prefix_map: Prefixes | None = None,
        etl_name: str | None = None,
        show_progress: bool = False,  # noqa: ARG002 - as documented
        partition_sources_by_worker: bool = False,
    ) -> None:
        super().__init__(bucket_list, prefix_map, partition_sources_by_worker)
        self._etl_name = etl_name
        self._endings: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield a sample's name and its contents by ending.

        All samples have all endings that were seen so far, so that loaders can collate them.
        """
        for obj in self._mine():
            if not obj.name.endswith(_ARCHIVES):
                continue
            samples: dict[str, dict[str, bytes]] = {}
            for name, data in _members(obj, self._etl_name):
                stem, ending = _sample_of(name)
                samples.setdefault(stem, {})[ending] = data
                self._endings.add(ending)
            for stem, contents in samples.items():
                yield stem, dict.fromkeys(sorted(self._endings), b"") | contents

    def __len__(self) -> int:
        """Count the samples by listing all archives."""
        count = 0
        for obj in _objects(self._source_list, self._prefix_map):
            if obj.name.endswith(_ARCHIVES):
                count += len({_sample_of(name)[0] for name in _member_names(obj)})
        return count


class AISMultiShardStream(IterableDataset):  # type: ignore[misc]
    """Samples whose parts lie in several series of archives: the nth members of each together.

    Args:
        data_sources: the series; it ends with the shortest.
    """

    def __init__(self, data_sources: Iterable[DataShard]) -> None:
        self._data_sources = list(data_sources)

    def __iter__(self) -> Iterator[tuple[bytes, ...]]:
        return zip(*map(_contents, self._data_sources), strict=False)


class DynamicBatchSampler(Sampler):  # type: ignore[misc]
    """Numbers of objects, in batches that hold up to so many bytes.

    Args:
        data_source: whose objects they are.
        max_batch_size: bytes of a batch.
        drop_last: leave out a last batch that is not filled to `saturation_factor`.
        allow_oversized_samples: an object larger than a batch is one by itself, not left out.
        saturation_factor: from 0 to 1.
        shuffle: in random order.

    Raises:
        ValueError: the factor is not from 0 to 1.
    """

    def __init__(
        self,
        data_source: AISBaseMapDataset,
        max_batch_size: float,
        drop_last: bool = False,
        allow_oversized_samples: bool = False,
        saturation_factor: float = 0.8,
        shuffle: bool = False,
    ) -> None:
        if not 0 <= saturation_factor <= 1:
            msg = f"saturation_factor is from 0 to 1, not {saturation_factor}"
            raise ValueError(msg)
        self._objects = data_source.get_obj_list()
        self._limit = max_batch_size
        self._least = saturation_factor * max_batch_size if drop_last else 0
        self._oversized = allow_oversized_samples
        self._shuffle = shuffle

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(len(self._objects)))
        if self._shuffle:
            random.shuffle(order)
        batch: list[int] = []
        filled = 0
        for index in order:
            size = self._size(index)
            if size > self._limit:
                if self._oversized:
                    yield [index]
                continue
            if batch and filled + size > self._limit:
                yield batch
                batch, filled = [], 0
            batch.append(index)
            filled += size
        if batch and filled >= self._least:
            yield batch

    def _size(self, index: int) -> int:
        """Return an object's bytes; asks the cluster once for each."""
        obj = self._objects[index]
        return (obj.props_cached or obj.props).size

    def __len__(self) -> int:
        """Return the number of objects, the most batches that there can be."""
        return len(self._objects)


def _sample_of(name: str) -> tuple[str, str]:
    """Return name and ending of a member: `d/a.seg.png` is `d/a` and `.seg.png`."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, dot + ending


def _members(obj: Object, etl_name: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield the regular files of an archive; those of plain tar as they arrive."""
    etl = ETLConfig(etl_name) if etl_name else None
    if obj.name.endswith(".tar"):
        with obj.get(etl=etl).as_file() as file:
            yield from tar_members(file)
        return
    for name in _member_names(obj):
        yield name, obj.get(archive_config=ArchiveConfig(name), etl=etl).read_all()


def _member_names(obj: Object) -> Iterator[str]:
    for entry in obj.bucket.list_archive(obj.name):
        yield entry.name.removeprefix(f"{obj.name}/")


def _contents(shard: DataShard) -> Iterator[bytes]:
    for obj in shard.bucket.list_all_objects_iter(prefix=shard.prefix):
        if obj.name.endswith(_ARCHIVES):
            for _, data in _members(obj, shard.etl_name):
                yield data
