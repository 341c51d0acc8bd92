"""One object of a bucket: writing, copying and deleting it; reading comes from beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from aisfs_sdk import const
from aisfs_sdk.calls import JSON_HEADERS, Call
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import text_of
from aisfs_sdk.multipart_upload import MultipartUpload
from aisfs_sdk.object_read import ReadableObject, etl_params
from aisfs_sdk.object_writer import ObjectWriter, refuse_mangled_name, refuse_miscopied_name
from aisfs_sdk.types import ActionMsg, encode_message
from aisfs_sdk.urls import object_path, objects_path, query_string

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs_sdk.etl_config import ETLConfig


class Object(ReadableObject):
    """An object of a bucket. Making one sends nothing.

    Args:
        bucket: that holds it.
        name: as listings show it; may hold "/".
    """

    def get_writer(self) -> ObjectWriter:
        """Return what writes the object. Sends nothing."""
        return ObjectWriter(self)

    def put_content(self, content: bytes) -> requests.structures.CaseInsensitiveDict[str]:
        """Store bytes as the object, replacing what there is.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            AISError, requests.RequestException, ValueError: see `ObjectWriter.put`.
        """
        return self.get_writer().put_content(content)

    def put_file(
        self, path: str | Path | None = None
    ) -> requests.structures.CaseInsensitiveDict[str]:
        """Store a local file as the object; it is streamed, never held in memory.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            ValueError: there is no path, or it names no file.
            AISError, requests.RequestException: see `ObjectWriter.put`.
        """
        if path is None:
            msg = f"{self.uri}: no path of a file to store"
            raise ValueError(msg)
        return self.get_writer().put_file(path)

    def promote(
        self,
        path: str,
        target_id: str = "",
        recursive: bool = False,
        overwrite_dest: bool = False,
        delete_source: bool = False,
        src_not_file_share: bool = False,
    ) -> requests.structures.CaseInsensitiveDict[str]:
        """Make objects of a file or directory that the cluster's targets can read.

        The files go below this object's name, as below a directory, on every release; a single file
        keeps its own name there. An object whose name is "" stands for the bucket's top.

        AIS: POST /v1/objects/BUCKET, action "promote".

        Args:
            path: absolute, on the machines of the cluster; newer clusters take only paths below
                their promote directory.
            target_id: only what this target has at the path.
            recursive: also what lies in directories below.
            overwrite_dest: replace objects that exist; else they stay, silently.
            delete_source: delete the files afterwards.
            src_not_file_share: the path is not the same on all targets; skips finding that out.

        Returns:
            The headers of the answer. The id of the job, where one was started, is under
            `Ais-Xaction-Id`.

        Raises:
            AISError: there is no such path, or the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        # Newer clusters glue the name and that of a file in the directory together.
        below = f"{self._name.rstrip('/')}/" if self._name else ""
        value = {
            "tid": target_id,
            "src": path,
            "obj": below,
            "rcr": recursive,
            "ovw": overwrite_dest,
            "dls": delete_source,
            "notshr": src_not_file_share,
        }
        bucket = self._bucket
        call = Call(const.HTTP_METHOD_POST, objects_path(bucket.name), bucket.query, self.uri)
        call.headers = JSON_HEADERS
        call.body = encode_message(ActionMsg(const.ACT_PROMOTE, path, value))
        call.slow = True
        answer = self.client.send(call)
        headers = requests.structures.CaseInsensitiveDict(answer.headers)
        if job_id := text_of(answer):
            headers[const.HEADER_XACTION_ID] = job_id
        return headers

    def delete(self) -> None:
        """Delete the object.

        Where an answer was lost, the request is repeated; the object being gone then is success.

        AIS: DELETE /v1/objects/BUCKET/NAME.

        Raises:
            ErrObjNotFound: there is no such object; it is a `requests.HTTPError`, too.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self.client.send(self.call(const.HTTP_METHOD_DELETE))

    def copy(
        self,
        to_obj: Object,
        etl: ETLConfig | None = None,
        latest: bool = False,
        sync: bool = False,
    ) -> requests.Response:
        """Copy the object within the cluster, custom metadata included, replacing the target.

        The bytes do not pass through here. The wait for the answer has no limit but the deadline
        (60 s by default, see `retry.deadline`): the cluster is silent while it copies.

        AIS: PUT /v1/objects/BUCKET/NAME?object_to=….

        Args:
            to_obj: what to make; its bucket has to exist.
            etl: transformer that the bytes go through.
            latest: ask the remote backend for a newer version first.
            sync: also delete the target if the remote object is gone.

        Returns:
            The cluster's answer.

        Raises:
            UnsupportedError: the cluster is too old, or would copy to another name; read and
                write instead.
            ErrObjNotFound: there is no such object.
            ErrBckNotFound: there is no such bucket.
            PathCollisionError: other objects stand in the way of the new name.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the new name cannot be stored as it is.
        """
        call = self.call_to_copy(to_obj, etl, latest, sync)
        return self.client.as_response(call, self.client.send(call))

    def call_to_copy(
        self,
        to_obj: Object,
        etl: ETLConfig | None = None,
        latest: bool = False,
        sync: bool = False,
    ) -> Call:
        """Return the request of `copy`, for who sends it by other means. Sends nothing.

        Raises:
            UnsupportedError, ValueError: see `copy`.
        """
        call = self.call(const.HTTP_METHOD_PUT)
        call.subject = f"{self.uri} to {to_obj.uri}"
        # Older clusters answer 200 and copy nothing, or cut the source to 0 bytes.
        self.client.era.require(Feature.OBJECT_COPY, str(call))
        object_path(to_obj.bucket.name, to_obj.name)
        refuse_mangled_name(to_obj, str(call))
        refuse_miscopied_name(to_obj, str(call))
        params = {const.QPARAM_OBJECT_TO: to_obj.uname}
        if latest or sync:
            params |= {
                const.QPARAM_LATEST: str(latest).lower(),
                const.QPARAM_SYNC: str(sync).lower(),
            }
        if etl is not None:
            params |= etl_params(self.client, etl, str(call))
        call.query += "&" + query_string(params)
        call.slow = True
        return call

    def set_custom_props(
        self, custom_metadata: dict[str, str], replace_existing: bool = False
    ) -> None:
        """Set custom metadata: see `ObjectWriter.set_custom_props`."""
        self.get_writer().set_custom_props(custom_metadata, replace_existing)

    def multipart_upload(self, upload_id: str = "", parts: int = 0) -> MultipartUpload:
        """Return what stores the object in parts. Sends nothing.

        Args:
            upload_id: of an upload that was begun before and is to go on, or to be aborted.
            parts: how many were sent of it: 1 to this.
        """
        return MultipartUpload(self, upload_id, parts)

    def blob_download(
        self,
        chunk_size: int | None = None,
        num_workers: int | None = None,
        latest: bool = False,
    ) -> str:
        """Bring a remote object into the cluster, in parts, in the background.

        AIS: POST /v1/objects/BUCKET, action "blob-download".

        Args:
            chunk_size: bytes per part.
            num_workers: of the target.
            latest: also if the cluster has an older version.

        Returns:
            Id of the job, for `Job.wait_single_node`; "" if the cluster has the object already.

        Raises:
            InvalidBckProvider: the bucket is not remote.
            UnsupportedError: the cluster is too old.
            ErrObjNotFound: there is no such object.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        bucket = self._bucket
        bucket.verify_cloud_bucket()
        call = Call(const.HTTP_METHOD_POST, objects_path(bucket.name), bucket.query, self.uri)
        self.client.era.require(Feature.BLOB_DOWNLOAD, str(call))
        value: dict[str, Any] = {"latest-ver": latest}
        if chunk_size is not None:
            value["chunk-size"] = chunk_size
        if num_workers is not None:
            value["num-workers"] = num_workers
        call.headers = JSON_HEADERS
        call.body = encode_message(ActionMsg(const.ACT_BLOB_DOWNLOAD, self._name, value))
        return text_of(self.client.send(call))
