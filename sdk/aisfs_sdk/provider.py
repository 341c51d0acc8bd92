"""Whose buckets there are."""

from __future__ import annotations

from enum import StrEnum

from aisfs_sdk import const


class Provider(StrEnum):
    """Whose bucket it is; a member serves wherever its text does."""

    AIS = const.PROVIDER_AIS
    AMAZON = const.PROVIDER_AMAZON
    AZURE = const.PROVIDER_AZURE
    GOOGLE = const.PROVIDER_GOOGLE
    OCI = const.PROVIDER_ORACLE

    @property
    def is_remote(self) -> bool:
        """Whether such buckets lie in a cloud."""
        return self is not Provider.AIS

    @classmethod
    def parse(cls, text: str | Provider) -> Provider:
        """Return the provider of a name or alias (`s3`, `gs`, `az`, `oc`).

        Raises:
            ValueError: there is none of that name.
        """
        return cls(const.PROVIDER_ALIASES.get(str(text), str(text)))
