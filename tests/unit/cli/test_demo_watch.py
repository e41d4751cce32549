"""How the demo follows a run."""

from cli.api import Document
from cli.demo_watch import SOURCE, Watch, label

RUN = "0199a0f2-0000-7000-8000-000000000001"


def _fact(event: str, **fields: object) -> Document:
    return {"type": "fact", "event": f"executor.{event}.v1", "executionId": RUN, "fields": fields}


def test_progress_moves_the_bars() -> None:
    """Source and tiers are shown as far as they are; what waits for a tier is part of its whole."""
    watch = Watch(RUN)
    assert set(watch.gauges) == {SOURCE, "local", "cloud primary", "cloud secondary", "offsite"}
    tiers = [{"tier": "cloudPrimary", "state": "uploading", "uploadedBytes": 3, "queuedBytes": 4}]
    progress = {"executionId": RUN, "filesDone": 1, "filesTotal": 9, "bytesDone": 5, "bytesTotal": 50, "tiers": tiers}
    watch.take({"type": "progress", "progress": progress})
    source, cloud = watch.gauges[SOURCE], watch.gauges["cloud primary"]
    assert (source.done, source.total, source.words) == (5, 50, "1 of 9 files")
    assert (cloud.done, cloud.total, cloud.words) == (3, 7, "uploading")
    assert watch.progress_messages == 1


def test_facts_end_the_watch() -> None:
    """A tier's fact completes its bar, the run's last fact ends the watch; both are remembered."""
    watch = Watch(RUN)
    watch.take(_fact("tier-uploaded", tier="offsite", uploadedBytes=10))
    watch.take(_fact("tier-failed", tier="local", code="tier-full"))
    watch.take(_fact("backup-verifying"))
    assert (watch.gauges["offsite"].done, watch.gauges["offsite"].total) == (10, 10)
    assert watch.gauges["local"].words == "failed: tier-full"
    assert watch.gauges[SOURCE].words == "verifying"
    assert not watch.ended.is_set()
    watch.take(_fact("backup-completed"))
    assert watch.ended.is_set()
    assert len(watch.facts) == 4


def test_bars_of_a_run_that_was_completed_are_full() -> None:
    """What was last told of a run is seldom its very end; the run itself says what it has done."""
    watch = Watch(RUN)
    progress = {"executionId": RUN, "filesDone": 1, "filesTotal": 9, "bytesDone": 54, "bytesTotal": 100, "tiers": []}
    watch.take({"type": "progress", "progress": progress})
    tiers = [
        {"tier": "cloudPrimary", "state": "uploaded", "uploadedBytes": 7},
        {"tier": "local", "state": "failed", "uploadedBytes": None},
    ]
    watch.finish({"state": "completed", "sourceBytes": 100, "files": 9, "tiers": tiers})
    source, cloud = watch.gauges[SOURCE], watch.gauges["cloud primary"]
    assert (source.done, source.total, source.words) == (100, 100, "9 files")
    assert (cloud.done, cloud.total, cloud.words) == (7, 7, "uploaded")
    assert watch.gauges["local"].words == "waiting"


def test_other_runs_are_not_shown() -> None:
    """What is told of another run moves nothing."""
    watch = Watch(RUN)
    other = {**_fact("backup-completed"), "executionId": "another"}
    watch.take(other)
    watch.take({"type": "progress", "progress": {"executionId": "another"}})
    assert not watch.ended.is_set()
    assert watch.gauges[SOURCE].done == 0


def test_snapshot_of_a_run_that_has_ended_ends_the_watch() -> None:
    """A run that was over before the socket was open is not waited for."""
    watch = Watch(RUN)
    watch.take({"type": "snapshot", "progress": [], "executions": [{"id": RUN, "state": "backing_up"}]})
    assert not watch.ended.is_set()
    watch.take({"type": "snapshot", "progress": [], "executions": [{"id": RUN, "state": "failed"}]})
    assert watch.ended.is_set()


def test_labels_are_words() -> None:
    """Tiers are called as a person would."""
    assert [label(tier) for tier in ("local", "cloudPrimary", "offsite")] == ["local", "cloud primary", "offsite"]
