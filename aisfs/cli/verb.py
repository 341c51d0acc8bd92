"""`aisfs evict`, `aisfs copy` and so on: the verbs of `control/verbs`, each as a command.

The words are those of the control file `ctl`. A job is followed until it ends, unless told not to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from aisfs.cli.cluster import connection_options, resolve, run
from aisfs.cli.job import follow, report
from aisfs.control.grammar import words_of
from aisfs.control.verbs import VERBS, Answer, Arguments

if TYPE_CHECKING:
    from aisfs.store.aistore import AISStore
    from aisfs.store.cluster_facts import JobFacts


def command_of(name: str, title: str = "") -> click.Command:
    """Return the command of a verb, under another title if one is given."""
    verb = VERBS[name]

    @click.argument("words", nargs=-1, metavar=verb.usage)
    @click.option("--no-wait", is_flag=True, help="only start the job, and print its id")
    @click.option("--json", "as_json", is_flag=True, help="print one JSON object")
    @connection_options
    def command(words: tuple[str, ...], no_wait: bool, as_json: bool, **connection: Any) -> int:
        async def work(store: AISStore) -> tuple[Answer, JobFacts | None]:
            parsed = words_of([name, *words])
            verb.check(parsed)
            answer = await verb.run(store.work, Arguments(parsed, resolve))
            job = None
            if answer.job and verb.ends and not no_wait:
                job = await follow(store.facts, answer.job, quiet=as_json)
            return answer, job

        answer, job = run(work, **connection)
        if job is not None:
            return report(job, as_json=as_json)
        if as_json:
            print(json.dumps({"job": answer.job or None}))
        elif answer.job:
            print(answer.job)
        return 0

    made = click.command(title or name, help=f"{verb.help[0].upper()}{verb.help[1:]}.")(command)
    assert isinstance(made, click.Command)
    return made
