"""The verbs of the cluster: one table, for control files, attributes and the command line alike.

Serves `consoles`, `commands`, and `cli/verb`. A verb's usage says what it takes, and is what it is
checked against: words in capitals are operands, `key=…` options, those in brackets may be left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, Flag
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from aisfs.control.grammar import Words
from aisfs.errors import Invalid
from aisfs.store.cluster_work import EtlSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aisfs.config import BucketName
    from aisfs.store.cluster_work import ClusterWork, Place

_OPERAND = re.compile(r"\[?\b([A-Z]+)\b\]?")
_OPTION = re.compile(r"(\[?)([a-z][a-z-]*)=")
_YES, _NO = {"yes", "true", "1"}, {"no", "false", "0"}


class Answer(NamedTuple):
    """What a command led to: a job that goes on, or nothing more."""

    job: str = ""

    def __str__(self) -> str:
        return f"ok\tjob\t{self.job}" if self.job else "ok"


class Resolve(Protocol):
    """Finds what an operand names."""

    async def __call__(self, operand: str) -> Place:
        """Return what `ais://BUCKET/NAME`, or a path, names; the cluster has all of it then.

        Raises:
            Invalid: it names nothing.
        """
        ...


class Arguments:
    """The operands and options of one command, read as what the verb takes.

    Attributes:
        places: what was named so far.
    """

    def __init__(self, words: Words, resolve: Resolve) -> None:
        self._words = words
        self._find = resolve
        self.places: list[Place] = []

    async def _resolve(self, text: str) -> Place:
        place = await self._find(text)
        self.places.append(place)
        return place

    def word(self, index: int, missing: str = "") -> str:
        """Return an operand as it is; `missing` where it was left out."""
        operands = self._words.operands
        return operands[index] if index < len(operands) else missing

    async def place(self, index: int) -> Place:
        """Return the object, directory or bucket that an operand names."""
        return await self._resolve(self.word(index))

    async def object(self, index: int) -> Place:
        """Return the object that an operand names."""
        place = await self.place(index)
        if not place.name or place.name.endswith("/"):
            raise Invalid(f"{self.word(index)} is no object")
        return place

    async def bucket(self, index: int) -> BucketName:
        """Return the bucket that an operand names."""
        place = await self.place(index)
        if place.name:
            raise Invalid(f"{self.word(index)} is not a whole bucket")
        return place.bucket

    @property
    def options(self) -> Mapping[str, str]:
        """All options, as they are."""
        return self._words.options

    def text(self, key: str) -> str:
        """Return an option as it is; "" where it was left out."""
        return self._words.options.get(key, "")

    async def place_of(self, key: str) -> Place:
        """Return the object, directory or bucket that an option names."""
        return await self._resolve(self.text(key))

    def number(self, key: str) -> int:
        """Return an option that is a whole number above 0."""
        if not re.fullmatch(r"[0-9]{1,9}", self.text(key)) or int(self.text(key)) == 0:
            raise Invalid(f"{key}={self.text(key)}: write a whole number, 1 at least")
        return int(self.text(key))

    def flag(self, key: str) -> bool:
        """Return an option that is yes or no; no where it was left out."""
        value = self._words.options.get(key, "no").lower()
        if value not in _YES | _NO:
            raise Invalid(f"{key}={value}: write {key}=yes or {key}=no")
        return value in _YES

    def endings(self, key: str) -> Mapping[str, str] | None:
        """Return new endings of names by old ones: `jpg:png,jpeg:png`."""
        text = self.text(key)
        if not text:
            return None
        pairs = [pair.partition(":") for pair in text.split(",")]
        if not all(old and colon and new for old, colon, new in pairs):
            raise Invalid(f"{key}={text}: write {key}=OLD:NEW, more of them after commas")
        return {old: new for old, _, new in pairs}


W = TypeVar("W")
"""Who carries a verb out."""


class Effect(Flag):
    """What a verb can do that a mount may be told not to let happen."""

    NONE = 0

    REPLACES = 1
    """It writes over objects that exist."""

    REMOVES = 2
    """Names go, and what was stored under them."""

    BUCKETS = 4
    """Buckets come, go, or change their names."""


class About(Enum):
    """What kind of thing a verb's own operand is; None of these for a verb that has none."""

    PLACE = "an object, directory or bucket"
    JOB = "a job"
    ETL = "a transformer"


@dataclass(frozen=True, slots=True)
class Verb(Generic[W]):
    """One verb.

    Attributes:
        usage: what stands behind its name.
        help: what it does, in a line.
        run: does it; the cluster goes on alone where the answer has a job.
        effects: what it can do to what is stored.
        own: where it takes what it is about, which whoever speaks to a file, bucket, job or
            transformer leaves out: the operand's index, or an option's key; None for nowhere.
        about: what that is.
        ends: its job ends by itself.
        free: it takes options of any name, one at least.
        local: the mount itself does it.
    """

    name: str
    usage: str
    help: str
    run: Callable[[W, Arguments], Awaitable[Answer]]
    effects: Effect = Effect.NONE
    own: int | str | None = 0
    about: About = About.PLACE
    ends: bool = True
    free: bool = False
    local: bool = False

    def of(self, subject: str, words: Words) -> Words:
        """Return the words of a command that leaves out what it is about, with that.

        Raises:
            Invalid: the option is given already.
        """
        operands, options = list(words.operands), dict(words.options)
        if self.own in options:
            raise Invalid(f"{self.own}= is {subject} here: leave it out")
        if isinstance(self.own, str):
            options[self.own] = subject
        elif self.own is not None:
            operands.insert(self.own, subject)
        return Words(words.verb, tuple(operands), options)

    @property
    def usage_of_own(self) -> str:
        """What stands behind its name where it leaves out what it is about."""
        words = re.findall(r"\[[^\]]*\]|\S+", self.usage)
        if isinstance(self.own, str):
            words = [word for word in words if not word.strip("[").startswith(f"{self.own}=")]
        elif self.own is not None:
            del words[self.own]
        return " ".join(words)

    def check(self, words: Words) -> None:
        """Compare a command with the usage.

        Raises:
            Invalid: it has too few or too many operands, or options that the verb does not take.
        """
        operands = _OPERAND.findall(re.sub(r"\S+=\S+", "", self.usage))
        optional = len(re.findall(r"\[[A-Z]+\]", self.usage))
        options = _OPTION.findall(self.usage)
        unknown = words.options.keys() - {key for _, key in options}
        if self.free and words.options:
            unknown = set()
        lacking = {key for bracket, key in options if not bracket} - words.options.keys()
        empty = {key for key, value in words.options.items() if not value}
        problem = ""
        if not len(operands) - optional <= len(words.operands) <= len(operands):
            problem = f"{len(words.operands)} operands"
        elif self.free and not words.options:
            problem = "no options"
        elif unknown:
            problem = f"{min(unknown)}= is unknown"
        elif lacking:
            problem = f"{min(lacking)}= is missing"
        elif empty:
            problem = f"{min(empty)}= has no value"
        if problem:
            raise Invalid(f"{self.name}: {problem}: write {self.name} {self.usage}")


async def _abort(work: ClusterWork, a: Arguments) -> Answer:
    await work.abort(a.word(0))
    return Answer()


async def _append(work: ClusterWork, a: Arguments) -> Answer:
    shard, file = await a.object(0), await a.object(1)
    await work.append(shard, file, a.text("as") or file.name.rpartition("/")[2])
    return Answer()


async def _archive(work: ClusterWork, a: Arguments) -> Answer:
    members, template = await a.place_of("from"), a.text("template")
    if template and members.name:
        raise Invalid("template= chooses among all objects: give the bucket alone as from=")
    return Answer(await work.archive(await a.object(0), members, template))


async def _copy(work: ClusterWork, a: Arguments) -> Answer:
    await work.copy(await a.object(0), await a.object(1), a.text("etl"))
    return Answer()


async def _copy_bucket(work: ClusterWork, a: Arguments) -> Answer:
    job = await work.copy_bucket(
        await a.bucket(0),
        await a.bucket(1),
        a.text("prefix"),
        a.text("prepend"),
        dry_run=a.flag("dry-run"),
    )
    return Answer(job)


async def _etl_init(work: ClusterWork, a: Arguments) -> Answer:
    if bool(a.text("code")) == bool(a.text("spec")):
        raise Invalid("a transformer is made of either code= or spec=")
    key = "code" if a.text("code") else "spec"
    source = EtlSource(await a.place_of(key), key == "code")
    job = await work.etl_init(a.word(0), source, a.text("comm"), a.text("timeout"))
    return Answer(job)


async def _etl_start(work: ClusterWork, a: Arguments) -> Answer:
    await work.etl_start(a.word(0))
    return Answer()


async def _etl_stop(work: ClusterWork, a: Arguments) -> Answer:
    await work.etl_stop(a.word(0))
    return Answer()


async def _etl_delete(work: ClusterWork, a: Arguments) -> Answer:
    await work.etl_delete(a.word(0))
    return Answer()


async def _evict(work: ClusterWork, a: Arguments) -> Answer:
    return Answer(await work.evict(await a.place(0), keep_md=a.flag("keep-md")))


async def _prefetch(work: ClusterWork, a: Arguments) -> Answer:
    return Answer(await work.prefetch(await a.place(0)))


async def _promote(work: ClusterWork, a: Arguments) -> Answer:
    job = await work.promote(
        a.word(0),
        await a.place(1),
        recursive=a.flag("recursive"),
        overwrite=a.flag("overwrite"),
        delete_source=a.flag("delete-source"),
    )
    return Answer(job)


async def _start(work: ClusterWork, a: Arguments) -> Answer:
    bucket = await a.bucket(1) if a.word(1) else None
    return Answer(await work.start(a.word(0), bucket))


async def _transform_bucket(work: ClusterWork, a: Arguments) -> Answer:
    job = await work.transform_bucket(
        await a.bucket(0), await a.bucket(1), a.text("etl"), a.text("prefix"), a.endings("ext")
    )
    return Answer(job)


async def _create(work: ClusterWork, a: Arguments) -> Answer:
    await work.create_bucket(await a.bucket(0))
    return Answer()


async def _destroy(work: ClusterWork, a: Arguments) -> Answer:
    bucket = await a.bucket(0)
    if a.text("confirm") != bucket.name:
        raise Invalid(f"all objects of the bucket go: write confirm={bucket.name}")
    await work.destroy_bucket(bucket)
    return Answer()


async def _make_copies(work: ClusterWork, a: Arguments) -> Answer:
    return Answer(await work.make_copies(await a.bucket(0), a.number("n")))


async def _rename(work: ClusterWork, a: Arguments) -> Answer:
    return Answer(await work.rename_bucket(await a.bucket(0), await a.bucket(1)))


async def _set(work: ClusterWork, a: Arguments) -> Answer:
    return Answer(await work.set_props(await a.bucket(0), a.options))


VERBS: dict[str, Verb[ClusterWork]] = {
    verb.name: verb
    for verb in (
        Verb("abort", "JOB", "stop a job; what it did stays", _abort, about=About.JOB),
        Verb(
            "append", "SHARD FILE [as=NAME]",
            "put an object into an archive that exists, as one more member", _append,
            Effect.REPLACES,
        ),
        Verb(
            "archive", "SHARD from=PLACE [template=NAMES]",
            "put objects into a new archive", _archive, Effect.REPLACES, own="from",
        ),
        Verb(
            "copy", "SOURCE TARGET [etl=NAME]",
            "copy an object, through a transformer if one is named", _copy, Effect.REPLACES,
        ),
        Verb(
            "copy-bucket", "SOURCE TARGET [prefix=TEXT] [prepend=TEXT] [dry-run=yes]",
            "copy a bucket's objects into another one", _copy_bucket, Effect.REPLACES,
        ),
        Verb(
            "create", "BUCKET", "create a bucket", _create, Effect.BUCKETS, own=None,
        ),
        Verb(
            "destroy", "BUCKET confirm=NAME", "destroy a bucket and all objects in it", _destroy,
            Effect.BUCKETS | Effect.REMOVES,
        ),
        Verb(
            "etl-init", "NAME [code=FILE] [spec=FILE] [comm=hpush] [timeout=1m]",
            "start a transformer by a Python file's transform(data), or a pod's specification",
            _etl_init, own="code", ends=False,
        ),
        Verb(
            "etl-start", "NAME", "start a transformer again", _etl_start, about=About.ETL,
        ),
        Verb(
            "etl-stop", "NAME", "stop a transformer; its code stays", _etl_stop, about=About.ETL,
        ),
        Verb(
            "etl-delete", "NAME", "delete a transformer that was stopped", _etl_delete,
            about=About.ETL,
        ),
        Verb(
            "evict", "WHAT [keep-md=yes]",
            "remove what a remote bucket has from the cluster; the remote ones stay", _evict,
        ),
        Verb(
            "make-copies", "BUCKET n=COPIES",
            "keep copies of each object on different disks of its target", _make_copies,
        ),
        Verb("prefetch", "WHAT", "bring objects of a remote bucket into the cluster", _prefetch),
        Verb(
            "promote", "PATH WHERE [recursive=yes] [overwrite=yes] [delete-source=yes]",
            "make objects of files that the targets can read", _promote, Effect.REPLACES, own=1,
        ),
        Verb(
            "rename", "BUCKET NEW", "give a bucket another name", _rename,
            Effect.BUCKETS | Effect.REMOVES,
        ),
        Verb("set", "BUCKET KEY=VALUE…", "change a bucket's properties", _set, free=True),
        Verb("start", "KIND [BUCKET]", "start a job", _start, own=1),
        Verb(
            "transform-bucket", "SOURCE TARGET etl=NAME [prefix=TEXT] [ext=OLD:NEW]",
            "send a bucket's objects through a transformer into another one", _transform_bucket,
            Effect.REPLACES,
        ),
    )
}  # fmt: skip
