"""The pages of what is promised and of what was shown are made of tests and of what was kept."""

from tests.conformance import evidence, semantics


def test_the_page_of_promises_is_what_the_tests_say() -> None:
    words = "'python -m tests.conformance.semantics' writes it anew"
    assert semantics.PAGE.read_text("utf-8") == semantics.page(), words


def test_the_page_of_evidence_is_what_was_kept() -> None:
    words = "'python -m tests.conformance.evidence' writes it anew"
    assert evidence.PAGE.read_text("utf-8") == evidence.page(), words


def test_every_clause_has_a_test_that_says_what_it_shows() -> None:
    said = semantics.promises()
    numbers = [number for part in semantics.SECTIONS.values() for number in part]
    assert sorted(said) == numbers == list(range(1, 41))
    assert not [number for number, sentences in said.items() if not any(sentences)]
