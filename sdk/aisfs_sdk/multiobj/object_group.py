"""Jobs on several objects of one bucket."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aisfs_sdk import const
from aisfs_sdk.copy_messages import CopyOptions, Transform
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_const import DEFAULT_ETL_TIMEOUT
from aisfs_sdk.multiobj.live_jobs import refuse_joining, remember
from aisfs_sdk.multiobj.object_names import ObjectNames
from aisfs_sdk.multiobj.object_range import ObjectRange
from aisfs_sdk.multiobj.object_template import ObjectTemplate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.multiobj.object_collection import ObjectCollection
    from aisfs_sdk.object import Object

log = logging.getLogger(__name__)


class ObjectGroup:
    """Several objects of one bucket. Making a group sends nothing.

    Clusters take an empty choice for every object of the bucket. That is never what a list that
    happens to be empty means, so all jobs here refuse it.

    Args:
        bck: bucket of the objects.
        obj_names: their names.
        obj_range: a range that their names follow.
        obj_template: a template that their names follow.

    Raises:
        ValueError: not exactly one of the last three is given.
        TypeError: the range is no `ObjectRange`.
    """

    def __init__(
        self,
        bck: Bucket,
        obj_names: list[str] | None = None,
        obj_range: ObjectRange | None = None,
        obj_template: str | None = None,
    ) -> None:
        if sum(given is not None for given in (obj_names, obj_range, obj_template)) != 1:
            msg = "a group of objects is given by names, or by a range, or by a template"
            raise ValueError(msg)
        self.bck = bck
        self._collection: ObjectCollection
        if obj_range is not None:
            given: object = obj_range
            if not isinstance(given, ObjectRange):
                msg = f"a range of objects is an ObjectRange, not {type(given).__name__}"
                raise TypeError(msg)
            self._collection = obj_range
        elif obj_template is not None:
            self._collection = ObjectTemplate(obj_template)
        else:
            self._collection = ObjectNames(list(obj_names or ()))

    def __repr__(self) -> str:
        return f"<ObjectGroup {self._collection} of {self.bck.uri}>"

    def list_names(self) -> list[str]:
        """Return the names in the group, whether or not such objects exist. Sends nothing.

        Raises:
            RuntimeError: the group is all objects with a prefix, given as a range without bounds.
            ValueError: the braces of the template do not pair.
        """
        return list(self._collection)

    def list_all_objects_iter(self, prefix: str = "", props: str = "") -> Iterator[Object]:
        """Yield the objects in the group, whether or not such exist. Sends nothing.

        Args:
            prefix: of the names that are wanted.
            props: without effect; it is there because buckets have it.

        Raises:
            RuntimeError, ValueError: see `list_names`.
        """
        del props
        return (self.bck.object(name) for name in self._collection if name.startswith(prefix))

    def list_urls(self, prefix: str = "", etl_name: str | None = None) -> Iterator[str]:
        """Yield the URL of each object. Sends nothing.

        Args:
            prefix: without effect; it is there because buckets have it.
            etl_name: transformer that the bytes go through when the URL is read.
        """
        del prefix
        for name in self._collection:
            yield self.bck.object(name).get_url(etl_name=etl_name)

    def delete(self) -> str:
        """Delete the objects.

        AIS: DELETE /v1/buckets/NAME, action "delete-listrange".

        Returns:
            Id of the job.

        Raises:
            ValueError: the group is empty.
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        return self._send(const.HTTP_METHOD_DELETE, const.ACT_DELETE_OBJECTS, self._selection())

    def evict(self) -> str:
        """Remove objects of a remote bucket from the cluster; the remote ones stay.

        AIS: DELETE /v1/buckets/NAME, action "evict-listrange".

        Returns:
            Id of the job.

        Raises:
            InvalidBckProvider: the bucket is one of the cluster's own.
            ValueError, AISError, requests.RequestException: see `delete`.
        """
        value = self._selection()
        self.bck.verify_cloud_bucket()
        return self._send(const.HTTP_METHOD_DELETE, const.ACT_EVICT_OBJECTS, value)

    def prefetch(
        self,
        latest: bool = False,
        continue_on_error: bool = False,
        blob_threshold: int | None = None,
        num_workers: int | None = None,
    ) -> str:
        """Bring objects of a remote bucket into the cluster.

        AIS: POST /v1/buckets/NAME, action "prefetch-listrange".

        Args:
            latest: also those of which the remote backend has a newer version.
            continue_on_error: go on after an object that failed.
            blob_threshold: load objects from this many bytes on in parts.
            num_workers: of each target.

        Returns:
            Id of the job.

        Raises:
            InvalidBckProvider: the bucket is one of the cluster's own.
            UnsupportedError: the cluster is too old for one of the options.
            ValueError, AISError, requests.RequestException: see `delete`.
        """
        value = self._selection()
        self.bck.verify_cloud_bucket()
        era, request = self.bck.bound_client.era, f"prefetch from {self.bck.uri}"
        if continue_on_error:
            value["coer"] = True
        if latest:
            era.require(Feature.COPY_LATEST, request)
            value["latest-ver"] = True
        if blob_threshold is not None:
            era.require(Feature.BLOB_DOWNLOAD, request)
            value["blob-threshold"] = blob_threshold
        if num_workers is not None:
            era.require(Feature.NUM_WORKERS, request)
            value["num-workers"] = num_workers
        return self._send(const.HTTP_METHOD_POST, const.ACT_PREFETCH_OBJECTS, value)

    def copy(  # noqa: PLR0917 - as documented
        self,
        to_bck: Bucket,
        prepend: str = "",
        continue_on_error: bool = False,
        dry_run: bool = False,
        force: bool = False,
        latest: bool = False,
        sync: bool = False,
        num_workers: int | None = None,
    ) -> str:
        """Copy the objects into another bucket, which is made if it is an AIS bucket.

        While a job still lives for the same buckets, which it does for minutes after its work,
        newer clusters would use its options; requests with other options are refused then.

        AIS: POST /v1/buckets/NAME, action "copy-listrange".

        Args:
            to_bck: where to.
            prepend: put in front of the new names, without anything between.
            continue_on_error: go on after an object that failed.
            dry_run: count, log the names, but write nothing.
            force: run although other jobs work on the same buckets.
            latest: look for newer versions at the remote backend first.
            sync: also delete what is gone at the remote backend.
            num_workers: of each target.

        Returns:
            Id of the job.

        Raises:
            ConflictError: a job with other options lives for the same buckets.
            UnsupportedError: the cluster is too old for one of the options.
            ValueError, AISError, requests.RequestException: see `delete`.
        """
        options = CopyOptions("", prepend, dry_run, force, latest, sync, None, num_workers)
        if dry_run:
            self._log_names("copied", to_bck)
        value = self._transfer(to_bck, options, continue_on_error)
        return self._send_apart(const.ACT_COPY_OBJECTS, to_bck, value)

    def transform(  # noqa: PLR0917 - as documented
        self,
        to_bck: Bucket,
        etl_name: str,
        timeout: str = DEFAULT_ETL_TIMEOUT,
        prepend: str = "",
        continue_on_error: bool = False,
        dry_run: bool = False,
        force: bool = False,
        latest: bool = False,
        sync: bool = False,
        ext: Mapping[str, str] | None = None,
        num_workers: int | None = None,
        etl_pipeline: Sequence[str] | None = None,
    ) -> str:
        """Send the objects through a transformer, and the results into another bucket.

        While a job still lives for the same buckets, which it does for minutes after its work,
        newer clusters would use its options; requests with other options are refused then.

        AIS: POST /v1/buckets/NAME, action "etl-listrange".

        Args:
            to_bck: where to.
            etl_name: name of the transformer.
            timeout: for each object, such as "5m".
            prepend: put in front of the new names, without anything between.
            continue_on_error: go on after an object that failed.
            dry_run: transform, count, log the names, but write nothing.
            force: run although other jobs work on the same buckets.
            latest: look for newer versions at the remote backend first.
            sync: also delete what is gone at the remote backend.
            ext: new ending of names by old one, such as `{"jpg": "txt"}`.
            num_workers: of each target.
            etl_pipeline: transformers that the results go through next.

        Returns:
            Id of the job.

        Raises:
            ErrETLNotFound: there is no such transformer.
            ConflictError: a job with other options lives for the same buckets.
            UnsupportedError: the cluster runs no transformers, or is too old for an option.
            ValueError, AISError, requests.RequestException: see `delete`.
        """
        options = CopyOptions("", prepend, dry_run, force, latest, sync, ext, num_workers)
        if dry_run:
            self._log_names(f"transformed by {etl_name}", to_bck)
        value = self._transfer(to_bck, options, continue_on_error)
        request = f"transform of {self!r} by {etl_name}"
        transform = Transform(etl_name, timeout, etl_pipeline or ())
        value |= transform.value(self.bck.bound_client.era, request)
        return self._send_apart(const.ACT_TRANSFORM_OBJECTS, to_bck, value)

    def archive(
        self,
        archive_name: str,
        mime: str = "",
        to_bck: Bucket | None = None,
        include_source_name: bool = False,
        allow_append: bool = False,
        continue_on_err: bool = False,
    ) -> str:
        """Put the objects into an archive, which is made or, if wanted, appended to.

        AIS: PUT /v1/buckets/NAME, action "archive".

        Args:
            archive_name: name of the archive's object; its ending tells the format: `.tar`, `.tgz`,
                `.tar.gz`, `.zip`, on newer clusters `.tar.lz4`.
            mime: format, where the name does not tell it; best left out.
            to_bck: bucket of the archive, None for this one.
            include_source_name: begin the names of members with the bucket's name.
            allow_append: keep the members of an archive that exists.
            continue_on_err: go on after an object that failed.

        Returns:
            Id of the job.

        Raises:
            ValueError, AISError, requests.RequestException: see `delete`.
        """
        value = self._selection()
        value |= {
            "archname": archive_name,
            "isbn": include_source_name,
            "aate": allow_append,
            "coer": continue_on_err,
            "tobck": (to_bck or self.bck).as_model().as_dict(),
        }
        if mime:
            value["mime"] = mime
        return self._send(const.HTTP_METHOD_PUT, const.ACT_ARCHIVE_OBJECTS, value)

    def _selection(self) -> dict[str, Any]:
        """Return the choice as it stands in messages.

        Raises:
            ValueError: a cluster would take it for the whole bucket.
        """
        if self._collection.chooses_all:
            msg = f"the group is empty, which the cluster would take for all of {self.bck.uri}"
            raise ValueError(msg)
        return self._collection.get_value()

    def _transfer(
        self, to_bck: Bucket, options: CopyOptions, continue_on_error: bool
    ) -> dict[str, Any]:
        value = self._selection()
        value |= options.value(self.bck.bound_client.era, f"copy of {self!r} to {to_bck.uri}")
        value |= {"tobck": to_bck.as_model().as_dict(), "coer": continue_on_error}
        return value

    def _log_names(self, done: str, to_bck: Bucket) -> None:
        log.info("dry run: would be %s to %s: %s", done, to_bck.uri, self._collection)

    def _send_apart(self, action: str, to_bck: Bucket, value: dict[str, Any]) -> str:
        """Send a copy or transform, so that no job with other options serves it."""
        client = self.bck.bound_client
        refuse_joining(client, action, self.bck, to_bck, value)
        job_id = self._send(const.HTTP_METHOD_POST, action, value)
        remember(client, job_id, value)
        return job_id

    def _send(self, method: str, action: str, value: dict[str, Any]) -> str:
        return self.bck.make_request(method, action, value).text.strip().strip('"')
