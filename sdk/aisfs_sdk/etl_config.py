"""A transformer for a read or a copy, with arguments for this one use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ETLConfig:
    """A transformer and what it is told.

    Attributes:
        name: of the transformer.
        args: text, or what is sent as compact JSON.
        pipeline: names of the transformers that the result goes through next.
    """

    name: str
    args: str | dict[str, Any] | None = None
    pipeline: tuple[str, ...] = ()

    def args_text(self) -> str:
        """Return the arguments as they are sent, "" for none."""
        if self.args is None or isinstance(self.args, str):
            return self.args or ""
        return json.dumps(self.args, separators=(",", ":"))
