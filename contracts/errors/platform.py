"""What may be wrong with the platform's own parts: the bus, the record, settings and keys."""

from contracts.errors.catalogue import Retry, entered

MALFORMED_MESSAGE = entered(
    "malformed-message",
    500,
    Retry.NEVER,
    "A message could not be read",
    "Look at it with wedsync-backup deadletters show NUMBER; correct its publisher.",
)
UNKNOWN_EVENT_VERSION = entered(
    "unknown-event-version",
    500,
    Retry.LATER,
    "A message is of a version that this build does not know",
    "Update this service, then replay the message from the dead letters.",
)
HANDLER_FAILED = entered(
    "handler-failed",
    500,
    Retry.LATER,
    "A handler failed again and again",
    "Look at the cause with wedsync-backup deadletters show NUMBER, mend it, and replay.",
)
DEAD_LETTERS_LOST = entered(
    "dead-letters-lost",
    503,
    Retry.AFTER_OPERATOR,
    "The dead letters are gone",
    "Look for handler-failed in the logs; then run wedsync-backup deadletters accept-loss --reason TEXT.",
)
STREAM_MISSING = entered(
    "stream-missing",
    503,
    Retry.AFTER_OPERATOR,
    "A stream is gone",
    "Run wedsync-backup refill SERVICE: it makes the stream anew where it is gone, and publishes the record again.",
)
STREAM_OF_ANOTHER_LOG = entered(
    "stream-of-another-log",
    503,
    Retry.AFTER_OPERATOR,
    "The stream was filled from another log",
    "Restore the matching pair of record and stream, or run wedsync-backup refill SERVICE --new-incarnation.",
)
STREAM_FULL = entered(
    "stream-full",
    507,
    Retry.AFTER_OPERATOR,
    "The stream has no space left",
    "Give JetStream more space: the disk, the server's max_file_store, the stream's max_bytes. It goes on by itself.",
)
TOPOLOGY_DRIFT = entered(
    "topology-drift",
    503,
    Retry.AFTER_OPERATOR,
    "The server's streams differ from what is declared",
    "Run wedsync-backup topology apply.",
)
PUBLISH_REFUSED = entered(
    "publish-refused",
    500,
    Retry.AFTER_OPERATOR,
    "NATS refused a publish",
    "Check the identity's permissions; a refusal may be an intrusion.",
)
EVENT_TOO_LARGE = entered(
    "event-too-large",
    413,
    Retry.NEVER,
    "What was asked for does not fit into one event",
    "Ask for less at once: shorter lists and texts. The limit is in the error's context.",
)
EVENT_UNREADABLE = entered(
    "event-unreadable",
    500,
    Retry.AFTER_OPERATOR,
    "An event of the record cannot be read by this build",
    "Start the newest build that has ever run here: it wrote what this one cannot read. Nothing is changed meanwhile.",
)
AGGREGATE_NOT_FOUND = entered("aggregate-not-found", 404, Retry.NEVER, "The record has no such thing", "Check the id.")
CLOCK_DIFFERS = entered(
    "clock-differs",
    500,
    Retry.AFTER_OPERATOR,
    "The clock of this machine and that of the database differ",
    "Set both by one time server: what is recorded here carries a wrong time, or what the database does is at one.",
)
CONCURRENT_CHANGE = entered("concurrent-change", 409, Retry.LATER, "The record has changed meanwhile", "Try again.")
INVALID_SETTING = entered(
    "invalid-setting",
    500,
    Retry.AFTER_OPERATOR,
    "A setting is missing or not valid",
    "Correct the named environment variable; docs/settings.md lists them all.",
)
LOCATIONS_UNREADABLE = entered(
    "locations-unreadable",
    503,
    Retry.AFTER_OPERATOR,
    "The registry of locations cannot be read",
    "An operator has to correct the registry; the readiness on the internal port says what is wrong with it.",
)
SEALING_KEY_MISSING = entered(
    "sealing-key-missing",
    410,
    Retry.NEVER,
    "The key of a sealed field was destroyed",
    "The field was erased; it cannot be read again.",
)
