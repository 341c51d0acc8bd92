"""The query parameters that reach into archives: `archpath`, `archregx`, `archmode`."""

from aisfs.server.archives import formats
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.naming import is_valid_object_name
from aisfs_sdk import const


def check_query(call: Call) -> None:
    """Refuse archive parameters that AIS 5.0 refuses as it parses the query.

    Of AIS 3.17 only those are refused that would put a member outside its place.

    Raises:
        AisError: 400.
    """
    if call.method == "GET" and not call.era.archpath_checked:
        return
    path, mode = call.query.text(const.QPARAM_ARCHPATH), call.query.text(const.QPARAM_ARCHMODE)
    if path and not is_valid_object_name(path):
        raise _bad_pair(call, const.QPARAM_ARCHPATH, f'invalid archpath "{path}"')
    if mode and not formats.is_mode(mode):
        expected = " ".join(formats.MODES)
        reason = f'invalid matching mode "{mode}", expecting one of: [{expected}]'
        raise _bad_pair(call, const.QPARAM_ARCHMODE, reason)
    if mode and path:
        raise _bad_pair(
            call,
            const.QPARAM_ARCHMODE,
            'dpq: archpath="archpath" (match one) and archregx="archregx" (match many) '
            "are mutually exclusive",
        )


def _bad_pair(call: Call, key: str, reason: str) -> AisError:
    pairs = call.query_text.split("&")
    pair = next(pair for pair in pairs if pair.partition("=")[0] == key)
    return AisError(400, f"dpq: '{pair}', err: {reason}")


def member_names(shard: str, path: str) -> list[str]:
    """Return the names under which a member may be asked for: with or without the shard's own."""
    plain = path.lstrip("/")
    prefixes = {f"{shard}/", f"{shard.rpartition('/')[2]}/"}
    return [plain, *(plain.removeprefix(text) for text in prefixes if plain.startswith(text))]
