"""The page that says what was shown is made of what was kept, and of nothing else."""

from tests.conformance.evidence import PAGE, clauses, page


def test_the_page_is_what_was_kept() -> None:
    assert PAGE.read_text("utf-8") == page()


def test_every_clause_has_a_row() -> None:
    assert len(clauses()) > 35
    assert len(set(clauses())) == len(clauses())
