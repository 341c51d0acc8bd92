"""How an open file is being read, and so how far to read ahead. Pure arithmetic, no I/O.

Serves `reader`; one `AccessPattern` per open file. The kernel keeps several reads of one reader in
flight and they arrive out of order, so "sequential" means near the expected offset, not at it.
"""

from __future__ import annotations

REORDERED = 8
"""Requests that the kernel may have in flight for one reader: a read that misses the expected
offset by no more than so many of its own size is still sequential."""

FIRST_WINDOW = 1 << 20
"""Bytes asked for by the first read of a file: one page, so that looking into a file stays
cheap."""


class AccessPattern:
    """Classifies the reads of one open file.

    A file that is first read at its start is presumed sequential with a small window; each
    sequential read that uses the window up doubles it. A jump makes the pattern random until two
    reads follow each other again.

    Attributes:
        sequential: whether reading ahead pays.
        window: bytes to keep ahead of the reader.
        max_window: what `window` grows to.
    """

    __slots__ = ("_expected", "_streak", "max_window", "sequential", "window")

    def __init__(self, max_window: int) -> None:
        self.max_window = max(max_window, FIRST_WINDOW)
        self._expected = 0
        self._streak = 0
        self.sequential = True
        self.window = FIRST_WINDOW

    def continued_by(self, start: int, end: int) -> bool:
        """Tell whether a read of [start, end) follows the ones before."""
        return abs(start - self._expected) <= REORDERED * (end - start)

    def observe(self, start: int, end: int) -> None:
        """Take note of a read of [start, end)."""
        if self.continued_by(start, end):
            self._streak += 1
            self._expected = max(self._expected, end)
            if self._streak > 1:
                self.sequential = True
                self.window = min(self.window * 2, self.max_window)
        else:
            self._streak = 0
            self._expected = end
            self.sequential = False
            self.window = FIRST_WINDOW

    @property
    def established(self) -> bool:
        """Whether the reader has shown that it goes on, so that an open-ended GET is worth it."""
        return self._streak > 1


class OpeningGuess:
    """Whether a file that is opened is about to be read from its start.

    If so its first page is asked for while the kernel still hands the descriptor over, which hides
    most of a round-trip. Programs that open files for something else soon end it: a wrong guess
    weighs as much as `MISS` right ones.
    """

    MOST = 16
    MISS = 4

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit = self.MOST

    @property
    def likely(self) -> bool:
        """Whether the next file that is opened will be read from its start."""
        return self._credit > 0

    def observe(self, *, from_start: bool) -> None:
        """Take note of an opened file's first read, or that it was closed without any."""
        change = 1 if from_start else -self.MISS
        self._credit = max(-self.MOST, min(self._credit + change, self.MOST))
