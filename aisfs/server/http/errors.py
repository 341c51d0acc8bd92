"""What the store answers when it refuses: one exception, turned into AIS's error JSON in app.py."""


class AisError(Exception):
    """An answer other than success.

    Attributes:
        status: HTTP status.
        message: Text for `message`; clients match on its literal phrases.
        tcode: AIS's name of the error type, empty for generic errors.
        headers: Extra reply headers (`Content-Range` of a 416).
        at_target: True when a gateway reports what one of its targets refused; the JSON then
            names that target as `node` and the gateway as `caller`. `{node}` in the message
            stands for the node that refuses.
        url_path: Path to report instead of the request's own.
        method: Method to report instead of the request's own.
        node: Node to report instead of the one that was asked: one of another cluster.
    """

    def __init__(self, status: int, message: str, tcode: str = "", **details: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.tcode = tcode
        self.headers: dict[str, str] = {}
        self.at_target = bool(details.get("at_target", False))
        self.url_path = str(details.get("url_path", ""))
        self.method = str(details.get("method", ""))
        self.node = str(details.get("node", ""))
        headers = details.get("headers")
        if isinstance(headers, dict):
            self.headers.update(headers)


class PlainError(Exception):
    """A refusal of the HTTP layer itself: text/plain, and the connection closes.

    Attributes:
        status: HTTP status; the body is its number and reason.
    """

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


def not_implemented(what: str) -> AisError:
    """Return the 501 for a part of AIS that this store does not have."""
    return AisError(501, f"{what} is not implemented by this embedded store", "ErrNotImpl")


def no_space(detail: str) -> AisError:
    """Return the 507 for a full disk; nothing stored before is touched by the refused request."""
    return AisError(507, f"{{node}}: out of space: {detail}", "ErrCapExceeded")
