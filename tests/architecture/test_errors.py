"""The errno table is complete and has each condition once."""

import errno
import logging
import re

from aisfs import errors
from aisfs.errors import FsError


def children(parent: type[FsError]) -> list[type[FsError]]:
    found = []
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            found += [child, *children(child)]
    return found


def test_every_failure_has_an_errno_that_the_kernel_takes() -> None:
    for child in FsError.__subclasses__():
        assert "errno" in vars(child), f"{child} would silently be EIO"
    for child in children(FsError):
        assert child.errno in errno.errorcode, child
        assert 1 <= child.errno <= 511, child


def test_each_condition_has_one_class() -> None:
    direct = [child.errno for child in FsError.__subclasses__()]
    assert len(direct) == len(set(direct))


def test_drawn_tree_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+) +(E[A-Z0-9]+)\b", errors.__doc__ or ""))
    real = {child.__name__: errno.errorcode[child.errno] for child in children(FsError)}
    assert {name: errno.errorcode[getattr(errno, code)] for name, code in drawn.items()} == real


def test_bytes_at_risk_are_logged_as_errors() -> None:
    assert errors.IoFailure.log_level == logging.ERROR
    assert errors.NoSpace.log_level == logging.ERROR
    assert errors.NotFound.log_level == logging.DEBUG
