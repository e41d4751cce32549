"""The reading half of a backup: its workers' threads over what they share.

Promise: `finish` returns when everything that the walker handed over is stored and its pages know it, or raises what
failed first, on whatever thread; no thread is left then.
"""

import threading
from collections.abc import Callable

from repository.backup.problems import ProblemLog
from repository.backup.reading import Reading
from repository.backup.session import ChunkSession, ClassCount, FrameCompressor, new_counts
from repository.backup.worker import Worker
from repository.stored.chunker import ChunkerParameters
from repository.stored.memory_budget import SharePool
from repository.stored.tree_builder import TreeBuilder


class Pipeline(Reading):
    """The threads of one backup's reading half. `check` may raise to end it."""

    def __init__(
        self,
        session: ChunkSession,
        tree: TreeBuilder,
        problems: ProblemLog,
        *,
        workers: int,
        blocks: SharePool,
        parameters: ChunkerParameters,
        compressor: FrameCompressor,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            session,
            tree,
            problems,
            workers=workers,
            blocks=blocks,
            parameters=parameters,
            compressor=compressor,
            check=check,
        )
        self.workers = [Worker(self) for _ in range(workers)]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the workers."""
        for number, worker in enumerate(self.workers):
            thread = threading.Thread(target=self._run, args=(worker,), name=f"backup-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finish(self) -> None:
        """No new work will come: wait until everything is done. Raises what failed."""
        self.queue.close()
        self.join()
        if self.queue.error is not None:
            raise self.queue.error

    def join(self) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join()

    def counts(self) -> list[ClassCount]:
        """The counts of all workers and of the tree, summed up, by class."""
        total = new_counts()
        for counts in (*(worker.counts for worker in self.workers), self.session.tree_counts):
            for sum_, count in zip(total, counts, strict=True):
                sum_.add(count)
        return total

    def _run(self, worker: Worker) -> None:
        try:
            while (task := self.queue.get()) is not None:
                worker.do(task)
                self.queue.task_done()
            worker.flush()
        except BaseException as error:  # noqa: BLE001 - whatever it was, it ends the backup on all threads
            self.fail(error)
