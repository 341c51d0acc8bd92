"""Recorded requests about jobs, storage and nodes of a real AIS 3.17, replayed."""

import pytest

from tests.server.differences_3_17 import JOB_DIFFERENCES
from tests.server.job_replay_3_17 import SECTIONS, JobReplay, load_rows
from tests.server.storage_replay import sections
from tests.support.store import StoreProcess

ROWS = load_rows()


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("replay") / "promote"
    root.mkdir()
    extra = ("--compat", "3.17", "--promote-root", str(root))
    with StoreProcess(extra=extra) as process, StoreProcess(targets=1) as origin:
        play = JobReplay(process, origin, root)
        play.run()
        return play.differences


@pytest.mark.parametrize("case", [row["case"] for row in ROWS])
def test_answer_is_as_recorded(case: str, replayed: dict[str, str]) -> None:
    if case in JOB_DIFFERENCES:
        assert replayed[case], f"{case} no longer differs: take it out of the table"
    else:
        assert not replayed[case]


def test_table_of_differences_names_recorded_cases() -> None:
    assert {row["case"] for row in ROWS} >= set(JOB_DIFFERENCES)


def test_every_section_is_replayed() -> None:
    assert set(sections(ROWS)) == SECTIONS
