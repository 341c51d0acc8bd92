"""The SDK's client of a cluster, as a mount's settings want it.

Serves `aistore`, and the command line where it asks a gateway itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.errors import Invalid
from aisfs_sdk import Client

if TYPE_CHECKING:
    from aisfs.config import StoreConfig
    from aisfs_sdk import RetryConfig


def client_of(config: StoreConfig, retries: RetryConfig | None = None) -> Client:
    """Make a client of a store's cluster; sends nothing.

    Args:
        config: how the cluster is reached.
        retries: how requests are repeated; None for the SDK's own way.

    Raises:
        Invalid: the endpoint or a certificate file cannot be used.
    """
    cert: str | tuple[str, str] | None = config.client_cert or None
    if config.client_cert and config.client_key:
        cert = (config.client_cert, config.client_key)
    try:
        return Client(
            config.endpoint,
            skip_verify=config.skip_verify,
            ca_cert=config.ca_file or None,
            client_cert=cert,
            timeout=(config.connect_timeout_s, config.first_byte_timeout_s),
            retry_config=retries,
            token=config.token or None,
            max_pool_size=config.connections,
            token_file=config.token_file or None,
        )
    except (ValueError, OSError) as error:
        raise Invalid(f"{config.endpoint}: {error}") from error
