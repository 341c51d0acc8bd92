"""Every recorded answer of real AIS clusters, replayed and compared field by field."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.server import differences, differences_3_17
from tests.server.replay import SECTIONS, Replay, load_cases
from tests.support.store import StoreProcess

DIFFERENCES = {"5.0": differences.DIFFERENCES, "3.17": differences_3_17.DIFFERENCES}
CASES = {era: [case.name for case in load_cases(era)] for era in DIFFERENCES}


@pytest.fixture(scope="module")
def replayed() -> Callable[[str], dict[str, str]]:
    """Return how each answer of a release's recording differs from the store's."""

    @cache
    def replay(era: str) -> dict[str, str]:
        options, origin_options = ("--compat", era, "--allow-etl"), ("--compat", era)
        with StoreProcess(extra=options) as process, StoreProcess(extra=origin_options) as origin:
            played = Replay(process, era, origin)
            played.run()
            return played.differences

    return replay


@pytest.mark.parametrize(
    ("era", "case"), [(era, case) for era, cases in CASES.items() for case in cases]
)
def test_answer_is_as_recorded(
    era: str, case: str, replayed: Callable[[str], dict[str, str]]
) -> None:
    found = replayed(era)[case]
    if case in DIFFERENCES[era]:
        assert found, f"{case} no longer differs: take it out of the table"
    else:
        assert not found


@pytest.mark.parametrize("era", DIFFERENCES)
def test_table_of_differences_names_recorded_cases(era: str) -> None:
    assert set(CASES[era]) >= set(DIFFERENCES[era])


@pytest.mark.parametrize("era", DIFFERENCES)
def test_every_section_is_replayed(era: str) -> None:
    assert {case.split("/")[0] for case in CASES[era]} == SECTIONS
