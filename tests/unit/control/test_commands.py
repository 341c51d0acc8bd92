"""What a write of commands does, what of it is told, and who may read that."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio

from aisfs.config import BucketName
from aisfs.control.commands import LONGEST_WRITE, Commands, CommandSink
from aisfs.control.events import Events
from aisfs.control.files import Caller
from aisfs.control.verbs import VERBS, Effect
from aisfs.errors import (
    ArgumentsTooLong,
    FsError,
    Invalid,
    NoAttribute,
    NotFound,
    NotPermitted,
    WouldBlock,
)
from aisfs.store.cluster_work import Place
from aisfs.vfs.guards import Guards

B = BucketName("b")


def user(uid: int) -> Caller:
    return Caller(uid, uid, os.getpid())


class Work:
    """Notes what it is told, refuses what is named so, and takes its time for what is large."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.changed: list[Place] = []

    def __getattr__(self, name: str) -> Any:
        async def do(*arguments: Any, **options: Any) -> str:
            self.told.append((name, arguments, options))
            if any(isinstance(a, Place) and a.name == "absent" for a in arguments):
                raise NotFound("b/absent: there is no such object")
            if any(isinstance(a, Place) and a.name == "large" for a in arguments):
                await trio.sleep(60)
                raise NotFound("b/large: it went meanwhile")
            return "" if name in {"abort", "copy"} else "J1"

        return do


async def resolve(operand: str) -> Place:
    if operand.startswith("bad:"):
        raise Invalid(f"{operand} names nothing")
    return Place(B, operand.removeprefix(B.url_of("")).removeprefix("/"))


@pytest.fixture
def work() -> Work:
    return Work()


class Forgetful:
    """Knows no job."""

    async def job(self, job_id: str) -> None:
        raise NotFound(job_id)


class Cluster:
    """Work and facts of a cluster."""

    def __init__(self, work: Work) -> None:
        self.work, self.facts = work, Forgetful()


def made(
    work: Work,
    nursery: trio.Nursery,
    guards: Guards | None = None,
    events: Events | None = None,
) -> Commands:
    cluster: Any = Cluster(work)

    async def changed(place: Place) -> None:
        work.changed.append(place)

    check = (guards or Guards()).check_command
    return Commands(cluster, resolve, changed, check, nursery, events or Events())


def sink_of(commands: Commands, caller: Caller) -> CommandSink:
    """Return what takes the commands that a user writes to the mount's control file."""
    control = commands.files()[0]
    assert control.name == "ctl"
    assert control.accept is not None
    sink = control.accept(caller)
    assert isinstance(sink, CommandSink)
    return sink


async def run(commands: Commands, line: str, caller: Caller) -> None:
    """Carry one of them out."""
    await sink_of(commands, caller).write(line.encode())


@pytest.fixture
def commands(work: Work, nursery: trio.Nursery) -> Commands:
    return made(work, nursery)


async def test_lines_are_carried_out_in_order_and_answered(work: Work, commands: Commands) -> None:
    sink = sink_of(commands, user(7))
    data = b"evict /a\n\n# nothing\ncopy /a /b\nabort J9"
    assert await sink.write(data) == len(data)
    assert [name for name, _, _ in work.told] == ["evict", "copy", "abort"]
    assert sink.shown() == "ok\tjob\tJ1\nok\nok\n"
    assert commands.last(7) == "ok\tabort J9\t\n"


async def test_a_bad_first_line_is_an_errno(work: Work, commands: Commands) -> None:
    sink = sink_of(commands, user(7))
    with pytest.raises(Invalid):
        await sink.write(b"evictt /a\nevict /b\n")
    assert work.told == []
    assert sink.shown() == commands.last(7)
    assert commands.last(7).startswith("error\tEINVAL\tevictt /a\tthere is no verb 'evictt'")


async def test_a_bad_line_ends_a_write_and_the_rest_is_refused(
    work: Work, commands: Commands
) -> None:
    sink, good = sink_of(commands, user(7)), b"evict /a\nevict /c\n"
    assert await sink.write(good + b"evict /absent\nevict /d\n") == len(good)
    assert [arguments[0].name for _, arguments, _ in work.told] == ["a", "c", "absent"]
    assert sink.shown().splitlines()[:2] == ["ok\tjob\tJ1"] * 2
    assert sink.shown().splitlines()[2].startswith("error\tENOENT\tevict /absent\t")
    with pytest.raises(NotFound):
        await sink.write(b"evict /absent\nevict /d\n")
    assert len(work.told) == 4


async def test_only_the_verbs_that_a_mount_passes_on_are(work: Work, nursery: trio.Nursery) -> None:
    commands = made(work, nursery, Guards(verbs={"copy"}))
    await run(commands, "copy /a /b", user(1))
    with pytest.raises(NotPermitted):
        await run(commands, "evict /a", user(1))
    assert [name for name, _, _ in work.told] == ["copy"]


async def test_too_much_at_once_does_nothing(work: Work, commands: Commands) -> None:
    with pytest.raises(ArgumentsTooLong):
        await sink_of(commands, user(7)).write(b"evict /a\n" * LONGEST_WRITE)
    assert work.told == []


async def test_a_command_that_takes_long_goes_on_by_itself(
    work: Work, commands: Commands, autojump_clock: object
) -> None:
    sink, lines = sink_of(commands, user(1)), b"copy /large /b\ncopy /a /b\n"
    assert await sink.write(lines) == len(lines)
    assert sink.shown() == "ok\tgoes on\nok\n"
    assert [arguments[0].name for _, arguments, _ in work.told] == ["large", "a"]
    await trio.sleep(60)
    assert commands.last(1).startswith("error\tENOENT\tcopy /large /b\t")


async def test_each_user_has_a_last_command(commands: Commands) -> None:
    await sink_of(commands, user(1)).write(b"evict /a\n")
    assert commands.last(2) == ""
    with pytest.raises(FsError):
        await sink_of(commands, user(2)).write(b"evict /absent\n")
    assert commands.last(1) == "ok\tevict /a\tjob\tJ1\n"
    assert commands.last(2).startswith("error\tENOENT\t")


async def test_what_is_not_text_is_told_in_one_line(commands: Commands) -> None:
    with pytest.raises(FsError):
        await sink_of(commands, user(1)).write(b"evict \xff\x01\tabsent\n")
    assert commands.last(1).count("\n") == 1
    assert commands.last(1).count("\t") == 3


async def test_listeners_are_told_what_becomes_of_commands(
    work: Work, nursery: trio.Nursery, autojump_clock: object
) -> None:
    events = Events()
    listener = events.listen(user(0), waits=False)
    commands = made(work, nursery, events=events)
    sink = sink_of(commands, user(7))
    await sink.write(b"evict '/a b'\n\nabort J9\ncopy /large /b\n")
    with pytest.raises(NotFound):
        await sink.write(b"evict /absent\n")
    await trio.sleep(60)
    told = [(await listener.read(4096)).decode().rstrip().split("\t")[1:] for _ in range(5)]
    with pytest.raises(WouldBlock):
        await listener.read(4096)
    assert {tuple(fields[:3]) for fields in told} == {("command", "uid=7", f"pid={os.getpid()}")}
    absent = "message=b/absent: there is no such object"
    assert [fields[3:] for fields in told] == [
        ["command=evict '/a b'", "result=ok", "job=J1"],
        ["command=abort J9", "result=ok"],
        ["command=copy /large /b", "result=goes-on"],
        ["command=evict /absent", "result=error", "error=ENOENT", absent],
        [
            "command=copy /large /b", "result=error", "error=ENOENT",
            "message=b/large: it went meanwhile",
        ],
    ]  # fmt: skip


REPLACING = [verb for verb in VERBS.values() if Effect.REPLACES in verb.effects]


@pytest.mark.parametrize("verb", REPLACING)
async def test_nothing_is_replaced_where_content_is_kept(
    work: Work, nursery: trio.Nursery, verb: Any
) -> None:
    commands = made(work, nursery, Guards(no_overwrite=True))
    usage = {"archive": "/s from=/d/", "transform-bucket": "/ / etl=E"}.get(verb.name, "/ /")
    with pytest.raises(NotPermitted):
        await run(commands, f"{verb.name} {usage}", user(1))
    assert work.told == []


@pytest.mark.parametrize(
    ("line", "name", "arguments", "options"),
    [
        ("abort J", "abort", ("J",), {}),
        ("create /", "create_bucket", (B,), {}),
        ("destroy / confirm=b", "destroy_bucket", (B,), {}),
        ("make-copies / n=2", "make_copies", (B, 2), {}),
        ("rename / /", "rename_bucket", (B, B), {}),
        ("set / mirror.copies=2 a=b", "set_props", (B, {"mirror.copies": "2", "a": "b"}), {}),
        ("archive /s from=/d/", "archive", (Place(B, "s"), Place(B, "d/"), ""), {}),
        ("archive /s from=/ template=x", "archive", (Place(B, "s"), Place(B, ""), "x"), {}),
        ("copy /a /b etl=E", "copy", (Place(B, "a"), Place(B, "b"), "E"), {}),
        ("copy-bucket / / prepend=p", "copy_bucket", (B, B, "", "p"), {"dry_run": False}),
        ("evict /a/ keep-md=yes", "evict", (Place(B, "a/"),), {"keep_md": True}),
        ("prefetch /a", "prefetch", (Place(B, "a"),), {}),
        (
            "promote /p /q/ recursive=yes",
            "promote",
            ("/p", Place(B, "q/")),
            {"recursive": True, "overwrite": False, "delete_source": False},
        ),
        ("start lru", "start", ("lru", None), {}),
        ("start lru /", "start", ("lru", B), {}),
        (
            "transform-bucket / / etl=E ext=a:b,c:d",
            "transform_bucket",
            (B, B, "E", "", {"a": "b", "c": "d"}),
            {},
        ),
    ],
)
async def test_verbs(
    work: Work, nursery: trio.Nursery, line: str, name: str, arguments: Any, options: Any
) -> None:
    await run(made(work, nursery, Guards(bucket_ops=True)), line, user(1))
    assert work.told == [(name, arguments, options)]


@pytest.mark.parametrize(
    "line",
    [
        "abort",
        "abort a b",
        "archive /s",
        "archive /s/ from=/a",
        "archive /s from=/d/ template=x",
        "create /a",
        "destroy /",
        "destroy / confirm=other",
        "make-copies / n=0",
        "make-copies / n=two",
        "set /",
        "set / mirror.copies=",
        "copy /a",
        "copy /a /b/",
        "copy /a /b etl=E more=1",
        "copy /a /b etl=",
        "copy-bucket /a /",
        "evict",
        "evict /a keep-md=perhaps",
        "evict bad:a",
        "prefetch",
        "promote /p",
        "start",
        "transform-bucket / /",
        "transform-bucket / / etl=E ext=a",
    ],
)
async def test_what_a_verb_does_not_take(work: Work, nursery: trio.Nursery, line: str) -> None:
    commands = made(work, nursery, Guards(bucket_ops=True))
    with pytest.raises(Invalid) as refused:
        await run(commands, line, user(1))
    assert str(refused.value)
    assert work.told == []


@pytest.mark.parametrize(
    ("line", "guards"),
    [
        ("create /", Guards()),
        ("destroy / confirm=b", Guards()),
        ("rename / /", Guards()),
        ("destroy / confirm=b", Guards(bucket_ops=True, no_delete=True)),
        ("rename / /", Guards(bucket_ops=True, no_delete=True)),
    ],
)
async def test_buckets_come_and_go_only_where_a_mount_lets_them(
    work: Work, nursery: trio.Nursery, line: str, guards: Guards
) -> None:
    with pytest.raises(NotPermitted):
        await run(made(work, nursery, guards), line, user(1))
    assert work.told == []


@pytest.mark.parametrize(
    ("file", "line", "name", "arguments"),
    [
        ("bucket", "set a=b", "set_props", (B, {"a": "b"})),
        ("bucket", "start lru", "start", ("lru", B)),
        ("bucket", "copy-bucket /", "copy_bucket", (B, B, "", "")),
        ("job", "abort", "abort", ("J7",)),
        ("etl", "stop", "etl_stop", ("etl-x7",)),
        ("etl", "delete", "etl_delete", ("etl-x7",)),
    ],
)
async def test_who_speaks_to_one_thing_leaves_it_out(
    work: Work, commands: Commands, file: str, line: str, name: str, arguments: Any
) -> None:
    files = {
        "bucket": commands.of_bucket(B),
        "job": commands.of_job("J7"),
        "etl": commands.of_etl("etl-x7"),
    }
    control = files[file]
    assert control.private
    assert control.accept is not None
    assert line.partition(" ")[0] in await control.show(user(1))
    sink = control.accept(user(1))
    await sink.write(line.encode())
    assert work.told[0][:2] == (name, arguments)
    assert f"\t{line} (" in commands.last(1)
    with pytest.raises(Invalid, match="there is no verb"):
        await sink.write(b"etl-init aaaaaa code=/f" if file == "job" else b"abort J7")
    assert len(work.told) == 1


async def test_a_control_file_lists_what_it_takes(commands: Commands) -> None:
    shown = await commands.of_bucket(B).show(user(1))
    assert "copy-bucket TARGET [prefix=TEXT] [prepend=TEXT] [dry-run=yes]\t" in shown
    assert "archive SHARD [template=NAMES]\t" in shown
    assert "start KIND\t" in shown
    assert "create" not in shown
    assert await commands.of_job("J").show(user(1)) == "abort\tstop a job; what it did stays\n"


async def test_what_was_named_is_looked_at_again_also_after_a_failure(
    work: Work, commands: Commands
) -> None:
    await run(commands, "copy /a /b", user(1))
    with pytest.raises(NotFound):
        await run(commands, "copy /a /absent", user(1))
    assert [place.name for place in work.changed] == ["a", "b", "a", "absent"]


@pytest.mark.parametrize(
    ("value", "name", "arguments"),
    [
        ("evict", "evict", ("PLACE",)),
        ("copy /b", "copy", ("PLACE", Place(B, "b"), "")),
        ("promote /p", "promote", ("/p", "PLACE")),
        ("archive /s", "archive", (Place(B, "s"), "PLACE", "")),
    ],
)
async def test_a_command_as_an_attribute_is_of_the_file_itself(
    work: Work, commands: Commands, value: str, name: str, arguments: Any
) -> None:
    place = Place(B, "f=1 'x")
    await commands.run_on(place, value, user(1))
    (told,) = work.told
    assert told[0] == name
    assert told[1] == tuple(place if each == "PLACE" else each for each in arguments)


async def test_the_job_of_an_attribute_is_told_and_stopped(work: Work, commands: Commands) -> None:
    place = Place(B, "f")
    with pytest.raises(NoAttribute):
        await commands.job_of(place)
    with pytest.raises(NotFound):
        await commands.run_on(place, "abort", user(1))
    await commands.run_on(place, "evict", user(1))
    await commands.run_on(place, "copy /b", user(1))  # starts none
    await commands.run_on(place, "abort", user(1))
    assert work.told[-1] == ("abort", ("J1",), {})


@pytest.mark.parametrize("value", ["", "# evict", "abort J1", "archive /s from=/x", "nothing"])
async def test_what_no_attribute_does(work: Work, commands: Commands, value: str) -> None:
    with pytest.raises(Invalid):
        await commands.run_on(Place(B, "f"), value, user(1))
    assert work.told == []
