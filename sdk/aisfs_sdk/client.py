"""The way in: a client of one cluster makes everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs_sdk import const
from aisfs_sdk.batch import Batch, Objects
from aisfs_sdk.bucket import Bucket
from aisfs_sdk.cluster import Cluster
from aisfs_sdk.dsort import Dsort
from aisfs_sdk.enums import Colocation
from aisfs_sdk.etl import Etl
from aisfs_sdk.job import Job
from aisfs_sdk.request_client import RequestClient
from aisfs_sdk.urls import split_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs_sdk.eras import Era
    from aisfs_sdk.namespace import Namespace
    from aisfs_sdk.object import Object
    from aisfs_sdk.retry import RetryConfig


class Client:
    """A client of one AIS cluster. Thread-safe; can be pickled.

    Making one sends nothing. What is not given is taken from the environment, see `RequestClient`.

    Args:
        endpoint: URL of any gateway, `http://host:port` or `https://host:port`.
        skip_verify: trust any certificate.
        ca_cert: file of authorities to trust instead of the system's.
        client_cert: file of our own certificate and key, or a pair of files.
        timeout: seconds to connect and seconds without a byte, as a pair, or one number for both; 0
            switches a limit off. Default: 3 and 20.
        retry_config: how requests are repeated.
        token: proves who we are.
        max_pool_size: connections kept per node.
        direct_reads: once the cluster map is known (`cluster().get_info()`), read objects at the
            targets that own them, without asking a gateway.
        target_address_map: addresses of nodes as the cluster tells them, and as they are reached
            from here: of nodes (`http://10.0.0.5:51081`), of hosts with port, or of hosts.
        token_file: file that holds the token, read again when it changes; `token` goes before it.

    Raises:
        ValueError: the endpoint is no such URL.
        OSError: a certificate or token file cannot be read.
    """

    def __init__(  # noqa: PLR0917 - as documented
        self,
        endpoint: str,
        skip_verify: bool = False,
        ca_cert: str | None = None,
        client_cert: str | tuple[str, str] | None = None,
        timeout: float | tuple[float | None, float | None] | None = None,
        retry_config: RetryConfig | None = None,
        token: str | None = None,
        max_pool_size: int | None = None,
        direct_reads: bool = True,
        target_address_map: Mapping[str, str] | None = None,
        token_file: str | None = None,
    ) -> None:
        self._request_client = RequestClient(
            endpoint,
            skip_verify,
            ca_cert,
            client_cert,
            timeout,
            retry_config,
            token,
            max_pool_size,
            direct_reads,
            target_address_map,
            token_file,
        )

    def __repr__(self) -> str:
        return f"<Client {self._request_client.endpoint}>"

    @property
    def request_client(self) -> RequestClient:
        """What sends the requests."""
        return self._request_client

    @property
    def era(self) -> Era:
        """The release that the cluster runs; asked for once.

        AIS: GET /v1/daemon?what=node_status.

        Raises:
            NotAISError: what answers at the endpoint is not AIS.
            requests.RequestException: the network failed.
        """
        return self._request_client.era

    def bucket(
        self,
        bck_name: str,
        provider: str = const.PROVIDER_AIS,
        namespace: Namespace | None = None,
    ) -> Bucket:
        """Return a bucket. Sends nothing.

        Args:
            bck_name: name of the bucket, which need not exist.
            provider: whose bucket it is: `ais`, `aws`, `gcp`, `azure`, `oci`.
            namespace: of the bucket, None for the global one.
        """
        return Bucket(bck_name, self._request_client, provider, namespace)

    def get_object_from_url(self, url: str) -> Object:
        """Return the object that a URL such as `ais://bucket/name` means. Sends nothing.

        Args:
            url: scheme (`ais`, `aws` or `s3`, `gcp` or `gs`, `azure` or `az`, `oci` or `oc`),
                perhaps a namespace (`@uuid#name/`), bucket, and name.

        Raises:
            InvalidURLException: it is none.
        """
        provider, namespace, bucket, name = split_url(url)
        return self.bucket(bucket, provider, namespace).object(name)

    def cluster(self) -> Cluster:
        """Return the cluster. Sends nothing."""
        return Cluster(self._request_client)

    def job(self, job_id: str = "", job_kind: str = "") -> Job:
        """Return a job. Sends nothing.

        Args:
            job_id: id of one job; "" for all of a kind.
            job_kind: what it does, such as `lru`; "" for any.
        """
        return Job(self._request_client, job_id, job_kind)

    def etl(self, etl_name: str) -> Etl:
        """Return a transformer. Sends nothing.

        Args:
            etl_name: its name; it need not exist.
        """
        return Etl(self._request_client, etl_name)

    def batch(  # noqa: PLR0917 - as documented
        self,
        objects: Objects | None = None,
        bucket: Bucket | None = None,
        output_format: str = ".tar",
        cont_on_err: bool = True,
        only_obj_name: bool = False,
        streaming_get: bool = True,
        colocation: Colocation = Colocation.NONE,
    ) -> Batch:
        """Return a list of objects to be read in one request; see `Batch`. Sends nothing."""
        return Batch(
            self._request_client,
            objects,
            bucket,
            output_format,
            cont_on_err,
            only_obj_name,
            streaming_get,
            colocation,
        )

    def dsort(self, dsort_id: str = "") -> Dsort:
        """Return a dSort. Sends nothing.

        Args:
            dsort_id: of one that was started before.
        """
        return Dsort(self._request_client, dsort_id)

    def close(self) -> None:
        """Close idle connections. The client stays usable."""
        self._request_client.close()
