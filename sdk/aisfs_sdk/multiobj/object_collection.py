"""What every way of choosing objects can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectCollection(ABC):
    """A choice of object names."""

    @abstractmethod
    def get_value(self) -> dict[str, Any]:
        """Return the choice as it stands in control messages."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Yield the names, without asking the cluster whether they exist."""

    @property
    @abstractmethod
    def chooses_all(self) -> bool:
        """Whether a cluster takes the choice for every object of the bucket."""
