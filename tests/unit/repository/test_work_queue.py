"""The queue between walker and workers: bounded, failing as a whole, ending when all is done."""

import threading

import pytest

from repository.backup.work_queue import WorkQueue


def _in_thread(target: object) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_queue_gives_continuations_before_new_work() -> None:
    """Work that is begun goes on before other work is begun."""
    queue: WorkQueue[str] = WorkQueue(5)
    queue.put("new")
    queue.put_first("continued")
    assert [queue.get(), queue.get()] == ["continued", "new"]


def test_queue_ends_only_when_everything_is_done() -> None:
    """After `close`, a worker waits for what the others still do, because it may bring more work."""
    queue: WorkQueue[str] = WorkQueue(5)
    queue.put("one")
    assert queue.get() == "one"
    queue.close()
    got: list[str | None] = []
    thread = _in_thread(lambda: got.extend((queue.get(), queue.task_done(), queue.get())[::2]))
    queue.put_first("continued")
    queue.task_done()
    thread.join(10)
    assert got == ["continued", None]
    assert queue.get() is None


def test_put_waits_for_room() -> None:
    """New work waits while the queue is full; continuations never do."""
    queue: WorkQueue[int] = WorkQueue(1)
    queue.put(1)
    entered = threading.Event()
    done: list[int] = []

    def put() -> None:
        entered.set()
        queue.put(2)
        done.append(2)

    thread = _in_thread(put)
    assert entered.wait(60)
    queue.put_first(0)
    assert [queue.get(), done] == [0, []]
    assert queue.get() == 1
    thread.join(10)
    assert done == [2]


@pytest.mark.parametrize("waiting", ["put", "get"])
def test_failure_ends_all_waiting(waiting: str) -> None:
    """A failure wakes whoever waits, with the error; the first error counts."""
    queue: WorkQueue[int] = WorkQueue(1)
    if waiting == "put":
        queue.put(1)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            queue.put(2) if waiting == "put" else queue.get()
        except ValueError as error:
            caught.append(error)

    thread = _in_thread(wait)
    first = ValueError("first")
    queue.fail(first)
    queue.fail(KeyError("second"))
    thread.join(10)
    assert caught == [first]
    assert queue.error is first
    for call in (lambda: queue.put(1), lambda: queue.put_first(1), queue.get):
        with pytest.raises(ValueError, match="first"):
            call()
