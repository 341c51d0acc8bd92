import json
import pickle
from pathlib import Path

import pytest
import requests

from aisfs_sdk import errors
from aisfs_sdk.refusals import refusal

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "recorded" / "errors.jsonl")
    .read_text("utf-8")
    .splitlines()
]


def answer(method: str, path: str, status: int, text: str = "") -> errors.AISError:
    response = requests.Response()
    response.status_code = status
    response.reason = "Reason"
    return refusal(method, f"http://h:1{path}", status, text.encode(), response)


def body(message: str, status: int, tcode: str = "") -> str:
    return json.dumps({"tcode": tcode, "message": message, "status": status})


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['server']}-{case['case']}")
def test_answers_of_real_clusters(case: dict[str, str]) -> None:
    error = answer(case["method"], case["path"], int(case["status"]), case["text"])
    assert type(error).__name__ == case["error"]
    assert error.status_code == int(case["status"])


def test_a_missing_object_whose_name_sounds_like_a_bucket() -> None:
    name = 'bucket "ais://x" does not exist'
    for text in (body(f"t[t1]: ais://b/{name} does not exist", 404, "ErrNotFound"), ""):
        assert type(answer("GET", "/v1/objects/b/o", 404, text)) is errors.ErrObjNotFound


def test_missing_things_are_http_errors_too() -> None:
    error = answer("HEAD", "/v1/objects/b/o", 404)
    assert isinstance(error, requests.HTTPError)
    assert error.response is not None
    assert error.response.status_code == 404
    assert isinstance(answer("HEAD", "/v1/buckets/b", 404), errors.ErrBckNotFound)
    assert isinstance(answer("GET", "/v1/buckets/b", 503), requests.HTTPError)


def test_two_errors_in_a_row_are_the_first() -> None:
    text = body("first", 400) + "\n" + body("second", 400)
    assert answer("PUT", "/v1/buckets/b", 400, text).message == "first"


def test_what_is_no_error_of_ais_is_told_in_short() -> None:
    error = answer("GET", "/v1/objects/b/o", 500, "<html>\n<p>Bad\tgateway " + "x" * 5000)
    assert error.message.startswith("<html> <p>Bad gateway xx")
    assert len(str(error)) < 500
    assert answer("GET", "/v1/objects/b/o", 500).message == "Reason"


def test_texts_say_what_was_asked() -> None:
    error = answer("GET", "/v1/objects/b/o", 403, body("no", 403))
    assert str(error) == "STATUS:403, MESSAGE:no (GET /v1/objects/b/o)"


def test_the_side_of_a_collision() -> None:
    for message, existing in (
        ("destination contains an object in its path", "object"),
        ("destination exists and is a virtual directory", "directory"),
    ):
        error = answer("PUT", "/v1/objects/b/o", 400, body(message, 400, "ErrMv"))
        assert isinstance(error, errors.PathCollisionError)
        assert error.existing == existing


def all_classes(kind: type[errors.AISError]) -> set[type[errors.AISError]]:
    return {kind}.union(*map(all_classes, kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(all_classes(errors.AISError), key=str))
def test_errors_survive_pickling_and_stand_in_the_tree(kind: type[errors.AISError]) -> None:
    copy = pickle.loads(pickle.dumps(kind(404, "gone", "GET ais://b/o", "T")))
    assert type(copy) is kind
    assert (copy.status_code, copy.message, copy.tcode) == (404, "gone", "T")
    assert str(copy) == "STATUS:404, MESSAGE:gone (GET ais://b/o)"
    assert kind.__name__ in (errors.__doc__ or "")


def test_documented_texts() -> None:
    assert str(errors.InvalidBckProvider("aws")) == "Invalid bucket provider aws"
    assert str(errors.Timeout("job", "Late.")) == "Timed out while waiting for job. Late."
    assert "received 200" in str(errors.UnexpectedHTTPStatusCode([202], 200))


def test_a_node_that_another_one_cannot_call() -> None:
    words = 't[t1] [control-plane], err: Get "http://h:1/v1": connect: connection refused'
    text = body(f"p[p1]: failed to call {words}", 400, "ErrFailedTo")
    assert type(answer("GET", "/v1/buckets/b", 400, text)) is errors.NodeAwayError
    text = body("t[t1]: cannot handle bucket request: Smap v0", 400)
    assert type(answer("GET", "/v1/buckets/b", 400, text)) is errors.NodeAwayError
    text = body('bad name "p[p1]: failed to call t[t1]"', 400)
    assert type(answer("GET", "/v1/buckets/b", 400, text)) is errors.InvalidRequestError
