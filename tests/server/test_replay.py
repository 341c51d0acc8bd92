"""Every recorded answer of a real AIS 5.0, replayed and compared field by field."""

import pytest

from tests.server.differences import DIFFERENCES
from tests.server.replay import SECTIONS, Replay, load_cases
from tests.support.store import StoreProcess

CASES = [case.name for case in load_cases()]


@pytest.fixture(scope="module")
def replayed() -> dict[str, str]:
    with StoreProcess(extra=("--allow-etl",)) as process, StoreProcess() as origin:
        replay = Replay(process, origin)
        replay.run()
        return replay.differences


@pytest.mark.parametrize("case", CASES)
def test_answer_is_as_recorded(case: str, replayed: dict[str, str]) -> None:
    found = replayed[case]
    if case in DIFFERENCES:
        assert found, f"{case} no longer differs: take it out of the table"
    else:
        assert not found


def test_table_of_differences_names_recorded_cases() -> None:
    assert set(CASES) >= set(DIFFERENCES)


def test_every_section_is_replayed() -> None:
    assert {case.split("/")[0] for case in CASES} == SECTIONS
