"""Refusals that all parts of ETL share."""

from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs_sdk import const

OFF = "this store was started without --allow-etl"


def refuse_when_off(call: Call, status: int = 501) -> None:
    """Refuse everything about ETL where the store does not allow it, as a cluster without does.

    Args:
        call: The request.
        status: What AIS 5.0 answers here.

    Raises:
        AisError: with the words that say how to allow it.
    """
    if call.store.etls.allowed:
        return
    if call.era.transformers.newer_words:
        raise AisError(status, f"cannot use ETL: {OFF} - operation not supported", "ErrUnsupp")
    raise AisError(400, f"the operation requires Kubernetes: {OFF}")


def missing(call: Call, name: str, *, at_target: bool = False, url_path: str = "") -> AisError:
    """Return the 404 for a transformer that does not exist, or is not up."""
    if not call.era.transformers.newer_words:
        text = f"{{node}}: etl[{name}] does not exist"
    elif at_target:
        text = f"{{node}}: {name} does not exist"
    else:
        text = f"{{node}}: etl job {name} does not exist"
    return AisError(404, text, "ErrNotFound", at_target=at_target, url_path=url_path)


def check_copy(call: Call) -> None:
    """Refuse to copy an object through a transformer that nobody defined; the gateway does it.

    Raises:
        AisError: 400 in AIS's words, 501 when the store allows no ETL.
    """
    refuse_when_off(call)
    name = call.query.text(const.QPARAM_ETL_NAME)
    if call.store.etls.find(name) is None:
        raise AisError(400, f"ETL {name} doesn't exist")


def bad_path(call: Call) -> AisError:
    """Return the refusal of a path that means nothing."""
    if not call.era.transformers.newer_words:
        return AisError(400, f'{{node}}: empty protocol scheme for URL path "{call.path}"')
    peer = call.request.transport and call.request.transport.get_extra_info("peername")
    shown = f"{peer[0]}:{peer[1]}" if peer else ""
    return AisError(400, f"invalid request URI: '{call.method} {call.path}' from {shown}")
