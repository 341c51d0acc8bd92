"""Inventories of buckets: stored listings, of which this store has none.

AIS 5.0: `create-inventory`, `show-inventory`, `destroy-inventory` of `/v1/buckets/{bucket}`. Making
one ends every target of a real cluster, so here it is refused; there is none to show or destroy.
"""

from typing import Never

from aisfs.server.http.call import Call
from aisfs.server.http.errors import not_implemented
from aisfs.server.http.replies import Reply, json_reply

CREATE, SHOW, DESTROY = "create-inventory", "show-inventory", "destroy-inventory"


async def create_inventory(call: Call, name: str, _: object) -> Never:
    """Refuse to make an inventory.

    Raises:
        AisError: 501; 404 for a missing bucket.
    """
    await call.store.open_bucket(call.bucket_name(name))
    raise not_implemented(CREATE)


async def show_inventories(call: Call, name: str) -> Reply:
    """Answer with no inventory."""
    await call.store.open_bucket(call.bucket_name(name))
    return json_reply({})


async def destroy_inventory(call: Call, name: str, _: object) -> Reply:
    """Answer as AIS does for an inventory that does not exist."""
    await call.store.open_bucket(call.bucket_name(name))
    return Reply()
