"""What a log is told of the repository's errors."""

import json
import logging

from chassis.telemetry.logging import JsonLines
from repository.errors import ObjectMissing
from vault.translation import facts


def test_log_names_the_object_that_an_error_is_about() -> None:
    """At night the log is what there is: which object, on which tier."""
    error = ObjectMissing("an index segment is not there", tier="local", object_key="index/3efb", path="/Anna & Ben")
    record = logging.getLogger("vault").makeRecord(
        "vault", logging.ERROR, "f", 1, "it failed", (), None, extra=facts(error)
    )
    line = json.loads(JsonLines("executor-worker").format(record))
    assert line["reason"] == "an index segment is not there"
    assert line["context"] == "tier local, object_key index/3efb"
