import asyncio
import threading

import pytest

from qubeward.host.threads import Threads


async def test_work_runs_off_the_loop_and_returns() -> None:
    threads = Threads("test", 1)
    name = await threads.run(lambda: threading.current_thread().name)
    assert name.startswith("test")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    threads.close()


async def test_no_more_threads_than_its_size() -> None:
    threads, most, now, lock = Threads("test", 2), 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        both.wait(timeout=5)
        with lock:
            now -= 1

    await asyncio.gather(*(threads.run(work) for _ in range(6)))
    assert most == 2
    threads.close()


async def test_a_cancelled_wait_does_not_stop_the_work() -> None:
    threads, go, done = Threads("test", 1), threading.Event(), threading.Event()

    def work() -> None:
        go.wait(timeout=5)
        done.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(threads.run(work), 0.01)
    go.set()
    assert await asyncio.to_thread(done.wait, 5)
    threads.close()
