"""Consoles: which commands a control file takes, who carries them out, and what they are about.

Serves `commands`. That of the mount takes all verbs of the cluster; those of a bucket, job or
transformer take the verbs that are about one, which leave out what is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from aisfs.control.verbs import VERBS, About, Verb
from aisfs.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.control.grammar import Words
    from aisfs.store.cluster_work import ClusterWork, Place

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Console(Generic[W]):
    """What the commands of one control file may be.

    Attributes:
        verbs: by the word that they are written with.
        work: carries them out.
        subject: what all of them are about, as an operand; "" where each names that itself.
    """

    verbs: Mapping[str, Verb[W]]
    work: W
    subject: str = ""

    def complete(self, words: Words) -> tuple[Verb[W], Words]:
        """Return a command's verb, and all its words.

        Raises:
            Invalid: there is no such verb here, or it takes something else.
        """
        verb = self.verbs.get(words.verb)
        if verb is None:
            raise Invalid(f"there is no verb {words.verb!r}: {', '.join(self.verbs)} are known")
        if self.subject:
            words = verb.of(self.subject, words)
        verb.check(words)
        return verb, words

    def shown(self) -> str:
        """Render what can be written."""
        lines = (
            f"{word} {verb.usage_of_own if self.subject else verb.usage}".rstrip()
            + f"\t{verb.help}\n"
            for word, verb in self.verbs.items()
        )
        return "".join(lines)


def of_cluster(work: ClusterWork) -> Console[ClusterWork]:
    """Return the console that takes all verbs."""
    return Console(VERBS, work)


def of_place(work: ClusterWork, place: Place) -> Console[ClusterWork]:
    """Return the console of an object, directory or bucket."""
    return Console(_about(About.PLACE), work, str(place))


def of_job(work: ClusterWork, job_id: str) -> Console[ClusterWork]:
    """Return the console of a job."""
    return Console(_about(About.JOB), work, job_id)


def of_etl(work: ClusterWork, name: str) -> Console[ClusterWork]:
    """Return the console of a transformer, whose verbs need not say that it is one."""
    verbs = {word.removeprefix("etl-"): verb for word, verb in _about(About.ETL).items()}
    return Console(verbs, work, name)


def _about(kind: About) -> dict[str, Verb[ClusterWork]]:
    return {
        name: verb for name, verb in VERBS.items() if verb.about is kind and verb.own is not None
    }
