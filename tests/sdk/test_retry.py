import threading
import time

from aisfs_sdk.retry import Deadline, RetryConfig, current, deadline


def left(limit: Deadline) -> float:
    remaining = limit.remaining_s()
    assert remaining is not None
    return remaining


def test_a_nested_deadline_can_only_be_earlier() -> None:
    with deadline(100):
        with deadline(1000):
            assert 99 < left(current()) <= 100
        with deadline(10):
            assert 9 < left(current()) <= 10
        assert 99 < left(current()) <= 100


def test_without_one_the_default_holds() -> None:
    assert 59 < left(current()) <= 60
    assert current(None).remaining_s() is None


def test_a_deadline_without_limit_lifts_the_default_only() -> None:
    with deadline(None):
        assert current().remaining_s() is None
    with deadline(5), deadline(None):
        assert left(current()) <= 5


def test_it_belongs_to_its_thread() -> None:
    seen: list[float] = []
    with deadline(5):
        thread = threading.Thread(target=lambda: seen.append(left(current())))
        thread.start()
        thread.join()
    assert seen[0] > 5


def test_who_waits_to_keep_a_pace_has_his_deadline_put_off() -> None:
    def pace(size: int) -> int:
        time.sleep(1)
        return size // 2

    with deadline(100), deadline(5, pace=pace):
        before = left(current())
        assert current().let_pass(8) == 4
        assert left(current()) > before - 0.7
        with deadline(None):
            assert current().let_pass(2) == 1
    assert current().let_pass(8) == 8


def test_timeouts_are_cut_to_what_is_left() -> None:
    limit = Deadline(5)
    assert limit.limit(1) == 1
    assert 4 < (limit.limit(20) or 0) <= 5
    assert 4 < (limit.limit(None) or 0) <= 5
    assert Deadline(None).limit(None) is None
    assert Deadline(0).limit(3) == 0.001
    assert Deadline(0).over


def test_a_pause_that_outlasts_the_deadline_is_not_begun() -> None:
    began = time.monotonic()
    assert not Deadline(5).pause(6)
    assert time.monotonic() - began < 1
    assert Deadline(5).pause(0.001)


def test_an_event_ends_the_pause() -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.05, cancelled.set)
    timer.start()
    began = time.monotonic()
    with deadline(None, cancelled), deadline(60):
        assert not current().pause(30)
        assert current().over
    assert time.monotonic() - began < 10
    timer.join()


def test_waits_grow_up_to_their_limit() -> None:
    config = RetryConfig(attempts=9, first_wait_s=0.1, max_wait_s=2.0)
    for failures, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (8, 2.0), (100, 2.0)):
        assert longest / 2 <= config.wait_s(failures) <= longest
