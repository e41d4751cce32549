"""Requests whose message is given up, against the executor's real record."""

import pytest

from chassis.record.statements import AlreadyHandled
from chassis.record.unanswered import Unanswered
from contracts.envelope import encode
from contracts.event import Event
from contracts.gateway_events import BackupCancellationRequested, BackupRequested
from services.executor.bootstrap import REFUSED
from services.executor.domain import BackupRun
from tests.support.executor import CONFIGURATION, EVIDENCE, ORGANISATION, ExecutorBench
from tests.support.messages import envelope_of

pytestmark = pytest.mark.stack

REQUEST = BackupRequested(
    request_id="request of run-2",
    execution_id="run-2",
    configuration_id=CONFIGURATION,
    configuration_version=1,
    evidence=EVIDENCE,
)
CANCELLATION = BackupCancellationRequested(request_id="cancel-1", execution_id="run-1", evidence=EVIDENCE)


async def _give_up(bench: ExecutorBench, request: Event) -> bool:
    act = Unanswered(bench.store, "executor", BackupRun, REFUSED).giving_up(type(request))
    assert act is not None
    body = encode(envelope_of(request, organisation=ORGANISATION, id=f"event of {request.NAME}"))
    return await act(body, request.TAKEN_BY[0])


async def test_request_that_was_carried_out_is_never_called_refused(bench: ExecutorBench) -> None:
    """The fact is in the record and only the acknowledgement was lost: by this message, or another of the request."""
    await bench.configure()
    await bench.hear(CANCELLATION, event_id=f"event of {CANCELLATION.NAME}")
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"
    assert not await _give_up(bench, CANCELLATION)
    assert await bench.store.history("cancel-1") == []
    await bench.request("run-2", event_id="another message")
    assert not await _give_up(bench, REQUEST)
    assert await bench.names("run-2") == ["backup-accepted"]


async def test_request_that_was_refused_is_not_carried_out_by_a_replay(bench: ExecutorBench) -> None:
    """Whoever asked was told that nothing will be done, and a run goes on."""
    assert await _give_up(bench, CANCELLATION)
    assert await bench.names("cancel-1") == ["backup-cancellation-refused"]
    with pytest.raises(AlreadyHandled):
        await bench.hear(CANCELLATION, event_id=f"event of {CANCELLATION.NAME}")
    assert "backup-cancelled" not in await bench.names("run-1")
    assert not await _give_up(bench, CANCELLATION)
