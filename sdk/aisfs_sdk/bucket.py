"""One bucket: the bucket itself and its objects; its listings and jobs come from beside."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs_sdk import const, errors
from aisfs_sdk.bucket_inventory import BucketInventory
from aisfs_sdk.bucket_jobs import BucketJobs
from aisfs_sdk.bucket_listing import BucketListing
from aisfs_sdk.dataset import MAX_COUNT, MAX_SIZE, write_shards
from aisfs_sdk.multiobj.object_group import ObjectGroup
from aisfs_sdk.object import Object
from aisfs_sdk.urls import check_object_name
from aisfs_sdk.utils import validate_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from aisfs_sdk.dataset import DatasetConfig
    from aisfs_sdk.multiobj.object_range import ObjectRange

log = logging.getLogger(__name__)


class Bucket(BucketListing, BucketJobs, BucketInventory):
    """A bucket. Making one sends nothing.

    Args:
        name: of the bucket.
        client: sends its requests.
        provider: whose it is: `ais`, `aws`, `gcp`, `azure`, `oci` or an alias (`s3`, `gs` …).
        namespace: of the bucket, None for the global one.
    """

    def object(self, obj_name: str) -> Object:
        """Return an object of this bucket. Sends nothing.

        Args:
            obj_name: name of the object, which need not exist.
        """
        return Object(self, obj_name)

    def create(self, exist_ok: bool = False) -> Bucket:
        """Create the bucket.

        AIS: POST /v1/buckets/NAME, action "create-bck".

        Args:
            exist_ok: a bucket of this name is no error.

        Returns:
            The bucket itself.

        Raises:
            InvalidBckProvider: it is not an AIS bucket.
            ErrBckAlreadyExists: the name is taken.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self._require_ais()
        try:
            self._act(const.HTTP_METHOD_POST, const.ACT_CREATE_BCK)
        except errors.ErrBckAlreadyExists:
            if not exist_ok:
                raise
        return self

    def delete(self, missing_ok: bool = False) -> None:
        """Destroy the bucket and everything in it.

        AIS: DELETE /v1/buckets/NAME, action "destroy-bck".

        Args:
            missing_ok: no such bucket is no error.

        Raises:
            InvalidBckProvider: it is not an AIS bucket.
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self._require_ais()
        try:
            self._act(const.HTTP_METHOD_DELETE, const.ACT_DESTROY_BCK)
        except errors.ErrBckNotFound:
            if not missing_ok:
                raise

    def head(self) -> requests.structures.CaseInsensitiveDict[str]:
        """Return the headers that describe the bucket; `Ais-Bucket-Props` holds JSON.

        AIS: HEAD /v1/buckets/NAME.

        Raises:
            ErrBckNotFound: there is no such bucket; it is a `requests.HTTPError`, too.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        call = self._call(const.HTTP_METHOD_HEAD)
        return self.bound_client.as_response(call, self.bound_client.send(call)).headers

    def objects(
        self,
        obj_names: list[str] | None = None,
        obj_range: ObjectRange | None = None,
        obj_template: str | None = None,
    ) -> ObjectGroup:
        """Return several objects of this bucket. Sends nothing. Give one of the arguments.

        Args:
            obj_names: their names.
            obj_range: a range that their names follow.
            obj_template: a template that their names follow, such as `shard-{000..127}.tar`.

        Raises:
            ValueError: not exactly one argument is given.
            TypeError: the range is no `ObjectRange`.
        """
        return ObjectGroup(self, obj_names, obj_range, obj_template)

    def list_urls(self, prefix: str = "", etl_name: str | None = None) -> Iterator[str]:
        """Yield the URL of every object, page after page.

        AIS: GET /v1/buckets/NAME, action "list".

        Args:
            prefix: only objects whose names begin with it.
            etl_name: transformer that their bytes go through when the URL is read.

        Raises:
            AISError, requests.RequestException: see `list_objects`.
        """
        for entry in self.list_objects_iter(prefix, "name"):
            yield self.object(entry.name).get_url(etl_name=etl_name)

    def list_all_objects_iter(
        self, prefix: str = "", props: str = "", *, start_after: str = ""
    ) -> Iterator[Object]:
        """Yield every object, page after page; arguments and errors are those of `list_objects`."""
        for entry in self.list_objects_iter(prefix, props, start_after=start_after):
            yield self.object(entry.name)

    def put_files(  # noqa: PLR0917 - as documented
        self,
        path: str | Path,
        prefix_filter: str = "",
        pattern: str = "*",
        basename: bool = False,
        prepend: str | None = None,
        recursive: bool = False,
        dry_run: bool = False,
        verbose: bool = True,
    ) -> list[str]:
        """Store the files of a local directory as objects.

        AIS: PUT /v1/objects/BUCKET/NAME, for each file.

        Args:
            path: of the directory.
            prefix_filter: only files whose own names begin with it.
            pattern: only files that match it; `*` and `?` as in shells.
            basename: name objects after the file alone, without the directories on the way.
            prepend: put in front of every name, without anything between.
            recursive: also files in directories below.
            dry_run: store nothing.
            verbose: log, at level INFO, what is stored.

        Returns:
            Names of the objects that were stored, or would be.

        Raises:
            ValueError: the path names no directory, or no cluster can store one of the names; then
                nothing is stored.
            AISError, requests.RequestException: see `ObjectWriter.put`. Files before stay stored.
        """
        validate_directory(path)
        root = Path(path)
        found = root.rglob(pattern) if recursive else root.glob(pattern)
        files = [file for file in found if file.is_file() and file.name.startswith(prefix_filter)]
        names = [
            (prepend or "") + (file.name if basename else file.relative_to(root).as_posix())
            for file in files
        ]
        for name in names:
            check_object_name(name)
        level = logging.INFO if verbose else logging.DEBUG
        for file, name in zip(files, names, strict=True):
            log.log(level, "%s%s to %s/%s", "dry run: " * dry_run, file, self.uri, name)
            if not dry_run:
                self.object(name).put_file(file)
        return names

    def write_dataset(
        self,
        config: DatasetConfig,
        skip_missing: bool = True,
        *,
        pattern: str = "dataset",
        maxcount: int = MAX_COUNT,
        maxsize: int = MAX_SIZE,
    ) -> list[str]:
        """Store a dataset of local files as shards in the WebDataset format.

        Shards are named `PATTERN-000000.tar` and so on, and replace objects of these names. What
        samples lack is logged as a warning.

        AIS: PUT /v1/objects/BUCKET/NAME, for each shard.

        Args:
            config: what the samples are made of.
            skip_missing: leave out samples that lack a part; else they are written without it.
            pattern: names of shards up to their number.
            maxcount: samples per shard; its digits are those of the numbers.
            maxsize: bytes of content after which a shard is ended.

        Returns:
            Names of the shards.

        Raises:
            ValueError: a limit is not positive, or no cluster can store such names.
            TypeError: a part is neither bytes nor text nor a number.
            OSError: a file cannot be read, or there is no room for a temporary file of one shard.
            AISError, requests.RequestException: see `ObjectWriter.put`. Shards before stay stored.
        """
        names: list[str] = []
        samples = config.samples_to_write(skip_missing, maxcount)
        for shard, size in write_shards(samples, maxcount, maxsize):
            name = f"{pattern}-{len(names):0{len(str(maxcount))}}.tar"
            self.object(name).get_writer().put(shard, size)
            names.append(name)
        return names
