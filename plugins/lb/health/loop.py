"""An event loop in a thread of its own, which is there once there is something to do."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVarTuple

Arguments = TypeVarTuple("Arguments")


class LoopThread:
    """Calls functions in an event loop, in the order in which they were given by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
        """Call `function` soon."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(self._loop,), name=self._name, daemon=True
            )
            self._thread.start()
        self._loop.call_soon_threadsafe(function, *arguments)

    def stop(self, last: Callable[[], object] = lambda: None) -> None:
        """Call `last`, if there is a loop; end all tasks, and the thread. Repeatable."""
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(last)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.run_until_complete(_end_tasks())
        loop.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # connections that were aborted are closed with the next turn
