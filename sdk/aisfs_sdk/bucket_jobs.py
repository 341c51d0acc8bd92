"""What clusters do to a whole bucket: copies, transforms, summaries, renames, evictions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from aisfs_sdk import const, errors
from aisfs_sdk.bucket_base import BucketBase
from aisfs_sdk.copy_messages import CopyOptions, Transform
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_const import DEFAULT_ETL_TIMEOUT
from aisfs_sdk.job import text_of
from aisfs_sdk.urls import bucket_path, query_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aisfs_sdk.calls import Answer

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class BucketJobs(BucketBase):
    """Jobs on a whole bucket."""

    def rename(self, to_bck_name: str) -> str:
        """Rename the bucket, which takes the new name at once.

        Until the job has ended, objects may be found under either name.

        AIS: POST /v1/buckets/NAME, action "move-bck".

        Args:
            to_bck_name: new name, which must be free.

        Returns:
            Id of the job.

        Raises:
            InvalidBckProvider: it is not an AIS bucket.
            ErrBckNotFound: there is no such bucket.
            ErrBckAlreadyExists: the new name is taken.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the new name cannot be that of a bucket.
        """
        self._require_ais()
        bucket_path(to_bck_name)
        params = {const.QPARAM_BUCKET_TO: self._path_of(to_bck_name)}
        answer = self._act(const.HTTP_METHOD_POST, const.ACT_MOVE_BCK, None, params)
        self._name = to_bck_name
        return text_of(answer)

    def set_props(self, props: Mapping[str, Any]) -> str:
        """Change properties of the bucket; those that are not named stay.

        AIS: PATCH /v1/buckets/NAME, action "set-bprops".

        Args:
            props: a part of the tree that `Ais-Bucket-Props` shows, such as
                `{"mirror": {"enabled": True, "copies": 2}}`; `access` and `features` as text.

        Returns:
            Id of the job that what is stored needs now; "" for none.

        Raises:
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it; an unknown property is a refusal.
            requests.RequestException: the network failed.
        """
        return text_of(self._act(const.HTTP_METHOD_PATCH, const.ACT_SET_BPROPS, dict(props)))

    def make_copies(self, copies: int) -> str:
        """Keep so many copies of each object, on different disks of its target.

        AIS: POST /v1/buckets/NAME, action "make-n-copies".

        Args:
            copies: 1 for the object alone; at most the disks of a target.

        Returns:
            Id of the job.

        Raises:
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        return text_of(self._act(const.HTTP_METHOD_POST, const.ACT_MAKE_N_COPIES, copies))

    def evict(self, keep_md: bool = False) -> None:
        """Remove a remote bucket's objects from the cluster; the remote ones stay.

        AIS: DELETE /v1/buckets/NAME, action "evict-remote-bck".

        Args:
            keep_md: keep what the cluster knows of the bucket itself.

        Raises:
            InvalidBckProvider: the bucket is one of the cluster's own.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        self.verify_cloud_bucket()
        params = {const.QPARAM_KEEP_BCK_MD: str(keep_md)}
        self._act(const.HTTP_METHOD_DELETE, const.ACT_EVICT_REMOTE_BCK, None, params)

    def copy(  # noqa: PLR0917 - as documented
        self,
        to_bck: BucketBase,
        prefix_filter: str = "",
        prepend: str = "",
        dry_run: bool = False,
        force: bool = False,
        latest: bool = False,
        sync: bool = False,
        ext: Mapping[str, str] | None = None,
        num_workers: int | None = None,
    ) -> str:
        """Copy the bucket's objects into another bucket, which is made if it is an AIS bucket.

        AIS: POST /v1/buckets/NAME, action "copy-bck".

        Args:
            to_bck: where to.
            prefix_filter: copy only objects whose names begin with it.
            prepend: put in front of the new names, without anything between.
            dry_run: count, but write nothing.
            force: run although other jobs work on the same buckets.
            latest: look for newer versions at the remote backend first.
            sync: also delete what is gone at the remote backend.
            ext: new ending of names by old one, such as `{"jpg": "png"}`.
            num_workers: of each target.

        Returns:
            Id of the job.

        Raises:
            ErrBckNotFound: there is no such bucket.
            UnsupportedError: the cluster is too old for one of the options.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        options = CopyOptions(
            prefix_filter, prepend, dry_run, force, latest, sync, ext, num_workers
        )
        era, request = self.bound_client.era, f"copy of {self.uri} to {to_bck.uri}"
        value = options.value(era, request, ext_since=Feature.COPY_EXT)
        return self._to(to_bck, const.ACT_COPY_BCK, value)

    def transform(  # noqa: PLR0917 - as documented
        self,
        etl_name: str,
        to_bck: BucketBase,
        timeout: str = DEFAULT_ETL_TIMEOUT,
        prefix_filter: str = "",
        prepend: str = "",
        ext: Mapping[str, str] | None = None,
        force: bool = False,
        dry_run: bool = False,
        latest: bool = False,
        sync: bool = False,
        num_workers: int | None = None,
        cont_on_err: bool = False,
        etl_pipeline: Sequence[str] | None = None,
    ) -> str:
        """Send the bucket's objects through a transformer, and the results into another bucket.

        AIS: POST /v1/buckets/NAME, action "etl-bck".

        Args:
            etl_name: name of the transformer.
            to_bck: where to.
            timeout: for each object, such as "5m".
            prefix_filter: only objects whose names begin with it.
            prepend: put in front of the new names, without anything between.
            ext: new ending of names by old one, such as `{"jpg": "txt"}`.
            force: run although other jobs work on the same buckets.
            dry_run: transform and count, but write nothing.
            latest: look for newer versions at the remote backend first.
            sync: also delete what is gone at the remote backend.
            num_workers: of each target.
            cont_on_err: go on after an object that failed.
            etl_pipeline: transformers that the results go through next.

        Returns:
            Id of the job.

        Raises:
            ErrBckNotFound: there is no such bucket.
            ErrETLNotFound: there is no such transformer.
            UnsupportedError: the cluster runs no transformers, or is too old for an option.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        options = CopyOptions(
            prefix_filter, prepend, dry_run, force, latest, sync, ext, num_workers
        )
        era, request = self.bound_client.era, f"transform of {self.uri} by {etl_name}"
        value = options.value(era, request)
        value |= Transform(etl_name, timeout, etl_pipeline or ()).value(era, request)
        if cont_on_err:
            era.require(Feature.COPY_LATEST, request)
            value["coer"] = True
        return self._to(to_bck, const.ACT_ETL_BCK, value)

    def inspect(
        self, etl_name: str, timeout: str = DEFAULT_ETL_TIMEOUT, prefix_filter: str = ""
    ) -> str:
        """Send the bucket's objects through a transformer and drop the results.

        What failed is told by `Etl.view` with the job's id.

        AIS: POST /v1/buckets/NAME, action "etl-bck", onto the bucket itself.

        Args:
            etl_name: name of the transformer.
            timeout: for each object.
            prefix_filter: only objects whose names begin with it.

        Returns:
            Id of the job.

        Raises:
            AISError, requests.RequestException: see `transform`.
        """
        # Older clusters refuse a bucket as its own destination, dry run or not.
        self.bound_client.era.require(Feature.ETL_PIPELINE, f"inspection of {self.uri}")
        return self.transform(
            etl_name,
            self,
            timeout,
            prefix_filter,
            dry_run=True,
            cont_on_err=True,
        )

    def summary(
        self, uuid: str = "", prefix: str = "", cached: bool = True, present: bool = True
    ) -> dict[str, Any]:
        """Return how many objects the bucket holds, and how large they are.

        AIS: GET /v1/buckets/NAME, action "summary-bck", until it is done.

        Args:
            uuid: of a summary that was begun before.
            prefix: only objects whose names begin with it.
            cached: of a remote bucket, only what is in the cluster.
            present: only buckets that the cluster knows already.

        Returns:
            `ObjCount`, `ObjSize`, `TotalSize` and more, as AIS writes them.

        Raises:
            ErrBckNotFound: there is no such bucket.
            UnexpectedHTTPStatusCode: the cluster neither began it nor answered.
            Timeout: it took longer than 5 minutes.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        value = {"uuid": uuid, "prefix": prefix, "cached": cached, "present": present}
        if not uuid:
            begun = self._act(const.HTTP_METHOD_GET, const.ACT_SUMMARY_BCK, value)
            if begun.status != const.STATUS_ACCEPTED:
                raise errors.UnexpectedHTTPStatusCode([const.STATUS_ACCEPTED], begun.status)
            value["uuid"] = text_of(begun)
        pauses = _pauses(f"the summary of {self.uri}")
        while True:
            next(pauses)
            answer = self._act(const.HTTP_METHOD_GET, const.ACT_SUMMARY_BCK, value)
            if answer.status == 200:
                break
            _check_going_on(answer)
        found = msgspec.json.decode(answer.content, type=list[dict[str, Any]])
        return found[0] if found else {}

    def info(
        self, flt_presence: int = 0, bsumm_remote: bool = True, prefix: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """Return the bucket's properties and its summary.

        AIS: HEAD /v1/buckets/NAME with `bsumm_remote`, until it is done.

        Args:
            flt_presence: which buckets count: 0 all, 1 all (without details), 2 those that the
                cluster knows, 3 the same (without details), 4 known in any form, 5 not known.
            bsumm_remote: of a remote bucket, also what is not in the cluster.
            prefix: only objects whose names begin with it (newer clusters).

        Returns:
            Properties as JSON text, and the summary of `summary`.

        Raises:
            ValueError: there is no such `flt_presence`.
            ErrBckNotFound: there is no such bucket.
            Timeout: it took longer than 5 minutes.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        if flt_presence not in range(6):
            msg = f"flt_presence is 0 to 5, not {flt_presence!r}"
            raise ValueError(msg)
        params = {**self._qparam, const.QPARAM_FLT_PRESENCE: str(int(flt_presence))}
        client = self.bound_client
        if client.era.has(Feature.BUCKET_INFO):
            # Clusters of 2023 answer what they do not know with an empty success.
            params[const.QPARAM_BSUMM_REMOTE] = str(bsumm_remote)
            if prefix:
                params["prefix"] = prefix
        props = ""
        pauses = _pauses(f"the summary of {self.uri}")
        while True:
            next(pauses)
            call = self._call(const.HTTP_METHOD_HEAD)
            call.query = query_string(params)
            answer = client.send(call)
            props = props or answer.headers.get(const.HEADER_BUCKET_PROPS, "")
            if answer.status == 200:
                break
            _check_going_on(answer)
            params[const.QPARAM_UUID] = answer.headers.get(const.HEADER_XACTION_ID, "").strip('"')
        summary = answer.headers.get(const.HEADER_BUCKET_SUMM, "")
        return props, msgspec.json.decode(summary) if summary else {}

    def _to(self, to_bck: BucketBase, action: str, value: dict[str, Any]) -> str:
        params = {const.QPARAM_BUCKET_TO: to_bck.get_path()}
        return text_of(self._act(const.HTTP_METHOD_POST, action, value, params))


def _check_going_on(answer: Answer) -> None:
    if answer.status not in {const.STATUS_ACCEPTED, const.STATUS_PARTIAL_CONTENT}:
        raise errors.UnexpectedHTTPStatusCode([200, const.STATUS_ACCEPTED], answer.status)


def _pauses(what: str) -> Iterator[None]:
    """Yield at once, then after longer and longer pauses.

    Raises:
        Timeout: it took too long.
    """
    end = time.monotonic() + const.DEFAULT_SUMMARY_WAIT_S
    pause_s = _FIRST_PAUSE_S
    yield
    while time.monotonic() < end:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        yield
    raise errors.Timeout(what)
