"""The releases of AIS whose behaviour this store can have (`--compat`), and how they differ."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Era:
    """A release.

    Attributes:
        name: What `--compat` takes.
        version: What the cluster says of itself; the dot is part of AIS's answer.
    """

    name: str
    version: str


ERAS = {era.name: era for era in (Era("3.17", "3.17."), Era("5.0", "5.0."))}
NEWEST = ERAS["5.0"]
