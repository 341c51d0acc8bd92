"""A trio loop in a thread, for tests that are not asynchronous themselves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

T = TypeVar("T")


class Hosted(Generic[T]):
    """A context that a task of its own holds open.

    Attributes:
        value: what entering it gave.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._leave = trio.Event()
        self._left = trio.Event()
        self.value: T

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the context open; started by `Portal.enter`."""
        async with self._manager as self.value:
            task_status.started()
            await self._leave.wait()
        self._left.set()

    async def leave(self) -> None:
        """Leave the context."""
        self._leave.set()
        await self._left.wait()


class Portal:
    """`with Portal() as portal: … portal.call(function, …) …`."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="portal")
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.call(self._stop)
        self._thread.join()

    async def _stop(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def call(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run a coroutine function in the loop and return what it returns."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> Hosted[T]:
        """Enter an asynchronous context in a task of its own, which can leave it again."""
        hosted = Hosted(manager)
        assert self._nursery is not None
        self.call(self._nursery.start, hosted.run)
        return hosted

    def leave(self, hosted: Hosted[T]) -> None:
        """Leave a context, and wait until it is left."""
        self.call(hosted.leave)
