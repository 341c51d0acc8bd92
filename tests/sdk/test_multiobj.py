import pytest

from aisfs_sdk import Bucket, errors
from aisfs_sdk.multiobj import ObjectNames, ObjectRange, ObjectTemplate
from aisfs_sdk.utils import expand_braces


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("plain", ["plain"]),
        ("a{1..3}", ["a1", "a2", "a3"]),
        ("{1..10..4}x", ["1x", "5x", "9x"]),
        ("{01..3}", ["01", "02", "03"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{a..c}", ["a", "b", "c"]),
        ("{x,y}{1..2}", ["x1", "x2", "y1", "y2"]),
        ("{a,b{1..2}}", ["a", "b1", "b2"]),
        ("{}", ["{}"]),
        ("{1..2..3..4}", ["{1..2..3..4}"]),
        ("{only}", ["{only}"]),
    ],
)
def test_braces(template: str, texts: list[str]) -> None:
    assert list(expand_braces(template)) == texts


@pytest.mark.parametrize("template", ["a}", "{1..2}}", "{a", "}{"])
def test_braces_that_do_not_pair_are_told_at_once(template: str) -> None:
    with pytest.raises(ValueError, match="do not pair"):
        expand_braces(template)


def test_a_template_pads_as_the_cluster_does() -> None:
    assert list(ObjectTemplate("{08..100..46}")) == ["08", "54", "100"]
    assert list(expand_braces("{08..100..46}")) == ["008", "054", "100"]


def test_ranges() -> None:
    found = ObjectRange("p-", 8, 11, 3, 1, ".x")
    assert str(found) == "p-{008..011..1}.x"
    assert list(found) == ["p-008.x", "p-009.x", "p-010.x", "p-011.x"]
    assert found.get_value() == {"template": "p-{008..011..1}.x"}
    assert str(ObjectRange("p-")) == "p-"
    assert list(ObjectRange("", 1, 5, step=2)) == ["1", "3", "5"]
    assert list(ObjectRange.from_string(str(found))) == list(found)
    assert list(ObjectRange.from_string("a{0..2}")) == ["a0", "a1", "a2"]
    with pytest.raises(ValueError, match="no template"):
        ObjectRange.from_string("a{b,c}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"min_index": 1},
        {"max_index": 1},
        {"min_index": 2, "max_index": 1},
        {"min_index": 1, "max_index": 1},
        {"min_index": 100, "max_index": 200, "pad_width": 2},
        {"min_index": -1, "max_index": 1},
        {"min_index": 1, "max_index": 3, "step": 0},
    ],
)
def test_ranges_that_are_none(arguments: dict[str, int]) -> None:
    with pytest.raises(errors.InvalidObjectRangeIndex):
        ObjectRange("p", **arguments)  # type: ignore[arg-type]


def test_ranges_without_bounds() -> None:
    with pytest.raises(ValueError, match="suffix"):
        ObjectRange("p", suffix="s")
    with pytest.raises(RuntimeError, match="known to the cluster only"):
        iter(ObjectRange("p"))


def test_names_of_groups() -> None:
    bucket = Bucket("b")
    assert bucket.objects(["a", "b"]).list_names() == ["a", "b"]
    assert bucket.objects(obj_template="a{1..2}").list_names() == ["a1", "a2"]
    assert bucket.objects(obj_range=ObjectRange("a", 1, 2)).list_names() == ["a1", "a2"]
    assert ObjectNames(["a"]).get_value() == {"objnames": ["a"]}
