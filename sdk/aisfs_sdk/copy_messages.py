"""The messages of copies and transforms, of buckets as of groups, in each release's own words.

Clusters refuse a message with a key that they do not know, whatever its value. So keys that came
after 2023 are sent only where the caller asks for what they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aisfs_sdk.eras import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aisfs_sdk.eras import Era


@dataclass(slots=True)
class CopyOptions:
    """How objects are copied.

    Attributes:
        prefix: only sources whose names begin with it.
        prepend: put in front of the new names, as it is.
        dry_run: look at the sources, write nothing.
        force: run although other jobs are at work on the same buckets.
        latest: look for newer versions at the remote backend first.
        sync: also delete what is gone at the remote backend.
        ext: new ending of names by old one, without dots.
        num_workers: of each target; None leaves it to the cluster.
    """

    prefix: str = ""
    prepend: str = ""
    dry_run: bool = False
    force: bool = False
    latest: bool = False
    sync: bool = False
    ext: Mapping[str, str] | None = None
    num_workers: int | None = None

    def value(self, era: Era, request: str, *, ext_since: Feature | None = None) -> dict[str, Any]:
        """Return the message's value.

        Args:
            era: of the cluster that gets it.
            request: for error texts.
            ext_since: what the cluster has to be able to do for `ext`.

        Raises:
            UnsupportedError: the cluster is too old for one of the options.
        """
        value: dict[str, Any] = {
            "prefix": self.prefix,
            "prepend": self.prepend,
            "dry_run": self.dry_run,
            "force": self.force,
        }
        if self.latest or self.sync:
            era.require(Feature.COPY_LATEST, request)
            value |= {"latest-ver": self.latest, "synchronize": self.sync}
        if self.ext is not None:
            if ext_since is not None:
                era.require(ext_since, request)
            value["ext"] = dict(self.ext)
        if self.num_workers is not None:
            era.require(Feature.NUM_WORKERS, request)
            value["num-workers"] = self.num_workers
        return value


@dataclass(slots=True)
class Transform:
    """What objects go through on their way.

    Attributes:
        etl_name: transformer, "" where there is a pipeline only.
        timeout: for each object, such as "5m".
        pipeline: names of further transformers.
    """

    etl_name: str
    timeout: str
    pipeline: Sequence[str] = field(default_factory=tuple)

    def value(self, era: Era, request: str) -> dict[str, Any]:
        """Return the keys that a transform adds to a copy's value.

        Raises:
            UnsupportedError: the cluster is too old for pipelines.
        """
        value: dict[str, Any] = {"id": self.etl_name, "request_timeout": self.timeout}
        if self.pipeline:
            era.require(Feature.ETL_PIPELINE, request)
            value["pipeline"] = list(self.pipeline)
        return value
