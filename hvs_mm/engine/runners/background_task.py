"""One task at a time in a thread, whose errors reach the caller."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundTask:
    """Runs a function in a thread; the next one starts when it is done.

    A process that ends, with whatever error, waits for the thread first.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, 'background')
        self._future: Future | None = None

    def start(self, function: Callable[[], None]) -> None:
        """Start a function after the one before; raise the error of that, if it had one."""
        self.finish()
        self._future = self._executor.submit(function)

    def check(self) -> None:
        """Raise the error of a function that has ended with one."""
        if self._future is not None and self._future.done():
            self.finish()

    def finish(self) -> None:
        """Wait for the function; raise its error, if it had one."""
        future, self._future = self._future, None
        if future is not None:
            future.result()
