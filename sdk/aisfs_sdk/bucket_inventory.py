"""Stored listings of a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from aisfs_sdk import const
from aisfs_sdk.bucket_base import BucketBase
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import text_of

if TYPE_CHECKING:
    from aisfs_sdk.calls import Answer

_CREATE, _SHOW, _DESTROY = "create-inventory", "show-inventory", "destroy-inventory"


class InventoryInfo(msgspec.Struct, frozen=True):
    """A stored listing: `started` and `finished` in ns since the epoch, `ntotal` names."""

    bucket: str = ""
    name: str = ""
    obj_name: str = ""
    size: int = 0
    prefix: str = ""
    started: int = 0
    finished: int = 0
    ntotal: int = 0
    smap_ver: int = 0


class BucketInventory(BucketBase):
    """The stored listings of a bucket."""

    def create_inventory(
        self,
        name: str = "",
        prefix: str = "",
        props: str = "",
        names_per_chunk: int = 0,
        force: bool = False,
    ) -> str:
        """Let the cluster store the listing of a bucket that lies behind it.

        AIS: POST /v1/buckets/NAME, action "create-inventory".

        Args:
            name: of the inventory; the cluster makes one up for "".
            prefix: of the names that are stored.
            props: comma-separated properties; "" for name, size and presence.
            names_per_chunk: 0 for the cluster's own number.
            force: replace the inventories that there are.

        Returns:
            Id of the job that does it.

        Raises:
            ValueError: it is a bucket of the cluster's own: every target of AIS 5.0 ends when it is
                asked for an inventory of one.
            UnsupportedError: the cluster is too old.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        if not self.is_remote:
            msg = f"{self.uri}: an inventory of an AIS bucket ends all targets of the cluster"
            raise ValueError(msg)
        value = {"name": name, "prefix": prefix, "props": props}
        message = {**value, "names_per_chunk": names_per_chunk, "force": force}
        return text_of(self._ask_inventory(const.HTTP_METHOD_POST, _CREATE, value=message))

    def show_inventory(self, name: str = "") -> dict[str, InventoryInfo]:
        """Return the inventories of the bucket by the names of their objects.

        AIS: GET /v1/buckets/NAME, action "show-inventory".

        Args:
            name: of the only one wanted.

        Raises:
            UnsupportedError, AISError, requests.RequestException: see `create_inventory`.
        """
        found = self._ask_inventory(const.HTTP_METHOD_GET, _SHOW, name).content
        return msgspec.json.decode(found or b"{}", type=dict[str, InventoryInfo])

    def destroy_inventory(self, name: str = "") -> None:
        """Remove inventories.

        AIS: DELETE /v1/buckets/NAME, action "destroy-inventory".

        Args:
            name: of the one; "" for all of the bucket.

        Raises:
            UnsupportedError, AISError, requests.RequestException: see `create_inventory`.
        """
        self._ask_inventory(const.HTTP_METHOD_DELETE, _DESTROY, name)

    def _ask_inventory(
        self, method: str, action: str, name: str = "", value: object = None
    ) -> Answer:
        self.bound_client.era.require(Feature.INVENTORY, f"{action} {self.uri}")
        return self.bound_client.send(self._call(method, action, value, name=name))
