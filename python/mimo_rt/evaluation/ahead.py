"""Work done in threads ahead of whoever needs it, in order, and never more than a little ahead: so that a
model does not wait for decoders, and a folder of images does not fill the memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, depth: int
) -> Generator[Future[Result], None, None]:
    """`function` of every item, in order, as done futures (its exceptions are in them). At most `depth` items
    are under way or done and not yet taken. Leaving the loop ends the work after what is running."""
    source = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for item in itertools.islice(source, depth):
            waiting.append(pool.submit(function, item))
        while waiting:
            future = waiting.popleft()
            future.exception()  # waits
            yield future
            for item in itertools.islice(source, 1):
                waiting.append(pool.submit(function, item))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
