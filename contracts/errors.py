"""Error codes: stable names for what can go wrong, who may try again, and what a person can do.

A code never changes its meaning and is never reused. `retry` tells a machine what to do: `never`
(the same request fails again), `later` (the same request may succeed), `after-operator` (somebody
has to act first, as `hint` says).
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Retry(StrEnum):
    """Whether the same request may succeed when it is made again."""

    NEVER = "never"
    LATER = "later"
    AFTER_OPERATOR = "after-operator"


class ErrorCode(msgspec.Struct, frozen=True):
    """One entry of the catalogue. `status` is the HTTP status that the gateway answers with."""

    code: str
    status: int
    retry: Retry
    title: str
    hint: str


_CATALOGUE: dict[str, ErrorCode] = {}


def _code(code: str, status: int, retry: Retry, title: str, hint: str) -> ErrorCode:
    if code in _CATALOGUE:
        raise ValueError(f"the code {code} is in the catalogue already")
    entry = _CATALOGUE[code] = ErrorCode(code, status, retry, title, hint)
    return entry


def catalogue() -> Mapping[str, ErrorCode]:
    """Every code by its name."""
    return _CATALOGUE


class PlatformError(Exception):
    """The base of every error that leaves a module.

    `code` is an entry of the catalogue; `message` is lower case without a full stop and carries no
    secret and no personal data; `field` is the JSON path of the offending field, where there is
    one; `context` holds ids and figures for the log.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, field: str | None = None, hint: str | None = None, **context: object
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.hint = hint or code.hint
        self.context = context

    @property
    def retry(self) -> Retry:
        """Whether the same request may succeed when it is made again."""
        return self.code.retry


# Requests
MALFORMED_BODY = _code(
    "malformed-body", 400, Retry.NEVER, "The body is not valid JSON", "Send a JSON object encoded as UTF-8."
)
MALFORMED_REQUEST = _code(
    "malformed-request", 400, Retry.NEVER, "The request is not valid HTTP", "Send an HTTP/1.1 request."
)
INVALID_FIELD = _code(
    "invalid-field",
    422,
    Retry.NEVER,
    "A field is not valid",
    "Correct the named field; /schema shows what each field takes.",
)
UNKNOWN_FIELD = _code(
    "unknown-field",
    422,
    Retry.NEVER,
    "A field is not known",
    "Remove the named field, or correct its spelling; /schema lists the fields.",
)
BODY_TOO_LARGE = _code(
    "body-too-large",
    413,
    Retry.NEVER,
    "The body is too large",
    "Send less in one request; the limit is in the error's context.",
)
HEAD_TOO_LARGE = _code(
    "head-too-large",
    431,
    Retry.NEVER,
    "The request's headers are too large",
    "Send fewer and shorter headers; the limits are in the error's context.",
)
PATH_TOO_LONG = _code(
    "path-too-long",
    414,
    Retry.NEVER,
    "The request's path is too long",
    "Send a shorter path and query; the limit is in the error's context.",
)
REQUEST_TIMED_OUT = _code(
    "request-timed-out",
    408,
    Retry.LATER,
    "The request did not arrive in time",
    "Send the whole request without pausing; the limit is in the error's context.",
)
UNSUPPORTED_MEDIA_TYPE = _code(
    "unsupported-media-type",
    415,
    Retry.NEVER,
    "The media type is not supported",
    "Send Content-Type: application/json.",
)
NOT_FOUND = _code(
    "not-found",
    404,
    Retry.NEVER,
    "There is no such resource",
    "Check the id; only resources of your own organisation are found.",
)
METHOD_NOT_ALLOWED = _code(
    "method-not-allowed", 405, Retry.NEVER, "The method is not allowed here", "The Allow header lists the methods."
)
UNAUTHENTICATED = _code(
    "unauthenticated",
    401,
    Retry.NEVER,
    "The token is missing or not valid",
    "Send a current bearer token; sign in again where it has expired.",
)
FORBIDDEN = _code(
    "forbidden",
    403,
    Retry.NEVER,
    "The role does not allow this",
    "Ask an owner of the organisation for a role that may do this.",
)
SECOND_FACTOR_NEEDED = _code(
    "second-factor-needed",
    403,
    Retry.NEVER,
    "This needs a second factor, given lately",
    "Sign in again with a second factor, and send the request within fifteen minutes.",
)
TOO_MANY_REQUESTS = _code(
    "too-many-requests", 429, Retry.LATER, "Too many requests", "Wait for as long as Retry-After says."
)
IDEMPOTENCY_KEY_REUSED = _code(
    "idempotency-key-reused",
    409,
    Retry.NEVER,
    "The idempotency key was used with another body",
    "Use a new key for a new request.",
)
IDEMPOTENCY_KEY_MISSING = _code(
    "idempotency-key-missing",
    400,
    Retry.NEVER,
    "The Idempotency-Key header is missing",
    "Send a new UUID as Idempotency-Key with each new write.",
)
VERSION_CONFLICT = _code(
    "version-conflict",
    412,
    Retry.NEVER,
    "The resource has changed meanwhile",
    "Read it again, and send its ETag as If-Match.",
)
INVALID_CURSOR = _code(
    "invalid-cursor",
    422,
    Retry.NEVER,
    "The cursor is not one of this list",
    "Send nextCursor of the page before as it is, with the same filters, or begin without a cursor.",
)
INTERNAL = _code(
    "internal",
    500,
    Retry.LATER,
    "Something went wrong on our side",
    "Try again later; name the trace id when you ask for help.",
)
UNKNOWN_REFUSAL = _code(
    "unknown-refusal",
    409,
    Retry.AFTER_OPERATOR,
    "The request was refused for a reason that this build does not know",
    "The refusal is final. Ask the operator to update the gateway, which then tells the reason.",
)
NO_SPACE = _code(
    "no-space",
    503,
    Retry.AFTER_OPERATOR,
    "The platform's disk is full",
    "Free space on the disk of the platform's home, or move it to a larger one; then ask again.",
)
UNAVAILABLE = _code(
    "unavailable", 503, Retry.LATER, "A part of the platform cannot be reached", "Try again in a few seconds."
)
IDENTITY_PROVIDER_UNAVAILABLE = _code(
    "identity-provider-unavailable",
    503,
    Retry.LATER,
    "Sign-ins cannot be judged",
    "Try again in a few seconds; an operator sees whether the identity provider's JWKS document can be read.",
)

# Configurations
CONFIGURATION_NAME_TAKEN = _code(
    "configuration-name-taken",
    409,
    Retry.NEVER,
    "The name is taken",
    "Choose a name that no other configuration of the organisation has.",
)
UNKNOWN_LOCATION = _code(
    "unknown-location",
    422,
    Retry.AFTER_OPERATOR,
    "The location is not registered",
    "Use a name from /api/backup/locations, or ask an operator to register one.",
)
LOCATION_KIND_MISMATCH = _code(
    "location-kind-mismatch",
    422,
    Retry.NEVER,
    "The location is of another kind",
    "Use a location whose kind fits the source or the tier.",
)
NO_DESTINATION = _code(
    "no-destination",
    422,
    Retry.NEVER,
    "There is no storage destination",
    "Name at least one of local, cloudPrimary, cloudSecondary and offsite.",
)
DESTINATION_TWICE = _code(
    "destination-twice",
    422,
    Retry.NEVER,
    "Two tiers are in one place",
    "Give each tier a location of its own.",
)
LOCK_NOT_SUPPORTED = _code(
    "lock-not-supported",
    422,
    Retry.NEVER,
    "The location cannot lock objects",
    "Use a location with object lock, or leave lockDays out.",
)
PATH_OUTSIDE_LOCATION = _code(
    "path-outside-location",
    422,
    Retry.NEVER,
    "The path leaves its location",
    "Use a relative path without '..' below the location's root.",
)
DESTINATION_IS_SOURCE = _code(
    "destination-is-source",
    422,
    Retry.NEVER,
    "A tier is in the place that is backed up",
    "Give the tier a location elsewhere: a backup beside its source is lost with it.",
)
DESTINATION_EXCLUDED = _code(
    "destination-excluded",
    422,
    Retry.NEVER,
    "A tier lies in a folder of the platform's own",
    "Give the tier a location outside the platform's own folders (keys, data, settings, logs).",
)
CONFIGURATION_UNKNOWN = _code(
    "configuration-unknown",
    404,
    Retry.NEVER,
    "There is no such configuration",
    "Check the id; only configurations of your own organisation are found.",
)
CONFIGURATION_UNREADABLE = _code(
    "configuration-unreadable",
    500,
    Retry.AFTER_OPERATOR,
    "The kept copy of a configuration cannot be read",
    "Create the configuration anew, then start a new run; where a newer build wrote it, update the platform first.",
)
CONFIGURATION_NOT_SEEN_YET = _code(
    "configuration-not-seen-yet",
    503,
    Retry.LATER,
    "The configuration has not arrived yet",
    "Try again in a few seconds.",
)

# Executions
RUN_ALREADY_OPEN = _code(
    "run-already-open",
    409,
    Retry.LATER,
    "A run of the configuration has not ended yet",
    "Wait for the open run to end, then ask again with a new Idempotency-Key.",
)
QUEUE_FULL = _code(
    "queue-full",
    429,
    Retry.LATER,
    "Too many runs wait for a worker",
    "Wait until some of the runs have ended, then ask again with a new Idempotency-Key.",
)
SOURCE_UNREACHABLE = _code(
    "source-unreachable",
    422,
    Retry.AFTER_OPERATOR,
    "The source cannot be read",
    "Check that the source exists and that the platform may read it.",
)
SOURCE_EXCLUDED = _code(
    "source-excluded",
    422,
    Retry.NEVER,
    "The source is in a folder that is never backed up",
    "Choose a folder outside the platform's own (keys, data, settings, logs) and outside every tier.",
)
SOURCE_INCOMPLETE = _code(
    "source-incomplete",
    422,
    Retry.AFTER_OPERATOR,
    "Some of the source is not in the backup",
    "Look at the permissions, the disk and what deletes files meanwhile; the run's sealed report names each entry, and "
    "the next run tries again.",
)
LOCATION_UNUSABLE = _code(
    "location-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "A location is not set up as it must be",
    "Ask the operator to correct the location's address or credentials; the worker's log says what is wrong.",
)
TIER_UNREACHABLE = _code(
    "tier-unreachable",
    503,
    Retry.LATER,
    "A tier cannot be reached",
    "Check the tier's endpoint and credentials; the run catches up when it is back.",
)
REQUIRED_TIER_FAILED = _code(
    "required-tier-failed",
    503,
    Retry.LATER,
    "A required tier does not have the backup",
    "Bring the tier back, then retry the run; what was uploaded is reused.",
)
TIER_FULL = _code(
    "tier-full",
    507,
    Retry.AFTER_OPERATOR,
    "A tier has no space left",
    "Free space on the tier or move it, then retry the run.",
)
TIER_VANISHED = _code(
    "tier-vanished",
    503,
    Retry.AFTER_OPERATOR,
    "A tier that was in use is empty or gone",
    "Mount its disk or bring its bucket back; the next run goes on. If it is gone for good:"
    " wedsync-backup tiers begin-anew LOCATION.",
)
TIER_ROLLED_BACK = _code(
    "tier-rolled-back",
    503,
    Retry.AFTER_OPERATOR,
    "A tier shows an older state than it had, or another one",
    "Bring back what it had, and find out who put an older copy there; the next run goes on. If the older one is to"
    " count: wedsync-backup tiers accept-history LOCATION.",
)
TIER_BEHIND = _code(
    "tier-behind",
    503,
    Retry.LATER,
    "A tier was too slow and is behind",
    "Nothing is to be done; the next run, or repo catch-up, brings it what it lacks.",
)
LOCK_NOT_PROVEN = _code(
    "lock-not-proven",
    503,
    Retry.AFTER_OPERATOR,
    "A tier does not lock what it was asked to lock",
    "Give the bucket object lock, and the credentials the rights to set and read the retention of objects; "
    "or set lockDays to 0.",
)
TIER_UNUSABLE = _code(
    "tier-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "A tier is damaged, or another repository's",
    "Run repo check on the tier; repair it from another, or register another location.",
)
KEYS_UNUSABLE = _code(
    "keys-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "The encryption keys cannot be used",
    "Restore the key file from the recovery kit; do not create a new one.",
)
VERIFICATION_FAILED = _code(
    "verification-failed",
    500,
    Retry.LATER,
    "What was read back differs from what was written",
    "Run repo check on the tier and repair it from another.",
)
CLAIM_LOST = _code(
    "claim-lost",
    409,
    Retry.LATER,
    "Another worker has taken the run over",
    "Nothing is to be done; the other worker goes on.",
)
RUN_ABANDONED = _code(
    "run-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The run has cost one worker after another its life",
    "Look at the workers' logs for what stops them, mend it, then start a new run.",
)
RUN_FINISHED = _code("run-finished", 409, Retry.NEVER, "The run has ended already", "Start a new run.")
RUN_NOT_RETRYABLE = _code(
    "run-not-retryable",
    409,
    Retry.NEVER,
    "Only a run that has failed or was cancelled is retried",
    "Look at the run: wait for its end, or start a new one with POST /api/backup/execute.",
)

# The bus
MALFORMED_MESSAGE = _code(
    "malformed-message",
    500,
    Retry.NEVER,
    "A message could not be read",
    "Look at it with wedsync-backup deadletters show NUMBER; correct its publisher.",
)
UNKNOWN_EVENT_VERSION = _code(
    "unknown-event-version",
    500,
    Retry.LATER,
    "A message is of a version that this build does not know",
    "Update this service, then replay the message from the dead letters.",
)
HANDLER_FAILED = _code(
    "handler-failed",
    500,
    Retry.LATER,
    "A handler failed again and again",
    "Look at the cause with wedsync-backup deadletters show NUMBER, mend it, and replay.",
)
STREAM_MISSING = _code(
    "stream-missing",
    503,
    Retry.AFTER_OPERATOR,
    "A stream is gone",
    "Run wedsync-backup refill SERVICE: it publishes the record again.",
)
STREAM_OF_ANOTHER_LOG = _code(
    "stream-of-another-log",
    503,
    Retry.AFTER_OPERATOR,
    "The stream was filled from another log",
    "Restore the matching pair of record and stream, or run wedsync-backup refill SERVICE --new-incarnation.",
)
STREAM_FULL = _code(
    "stream-full",
    507,
    Retry.AFTER_OPERATOR,
    "The stream has no space left",
    "Give JetStream more space: the disk, the server's max_file_store, the stream's max_bytes. It goes on by itself.",
)
TOPOLOGY_DRIFT = _code(
    "topology-drift",
    503,
    Retry.AFTER_OPERATOR,
    "The server's streams differ from what is declared",
    "Run wedsync-backup topology apply.",
)
PUBLISH_REFUSED = _code(
    "publish-refused",
    500,
    Retry.AFTER_OPERATOR,
    "NATS refused a publish",
    "Check the identity's permissions; a refusal may be an intrusion.",
)
EVENT_TOO_LARGE = _code(
    "event-too-large",
    413,
    Retry.NEVER,
    "What was asked for does not fit into one event",
    "Ask for less at once: shorter lists and texts. The limit is in the error's context.",
)
EVENT_UNREADABLE = _code(
    "event-unreadable",
    500,
    Retry.AFTER_OPERATOR,
    "An event of the record cannot be read by this build",
    "Start the newest build that has ever run here: it wrote what this one cannot read. Nothing is changed meanwhile.",
)
AGGREGATE_NOT_FOUND = _code("aggregate-not-found", 404, Retry.NEVER, "The record has no such thing", "Check the id.")
CONCURRENT_CHANGE = _code("concurrent-change", 409, Retry.LATER, "The record has changed meanwhile", "Try again.")
INVALID_SETTING = _code(
    "invalid-setting",
    500,
    Retry.AFTER_OPERATOR,
    "A setting is missing or not valid",
    "Correct the named environment variable; docs/settings.md lists them all.",
)
LOCATIONS_UNREADABLE = _code(
    "locations-unreadable",
    503,
    Retry.AFTER_OPERATOR,
    "The registry of locations cannot be read",
    "An operator has to correct the registry; the readiness on the internal port says what is wrong with it.",
)
SEALING_KEY_MISSING = _code(
    "sealing-key-missing",
    410,
    Retry.NEVER,
    "The key of a sealed field was destroyed",
    "The field was erased; it cannot be read again.",
)

# What an operator registers
LOCATION_TAKEN = _code(
    "location-taken",
    409,
    Retry.NEVER,
    "Another location has this name or this place",
    "Choose another name or place, or use the one that is there: wedsync-backup location list.",
)
LOCATION_EXCLUDED = _code(
    "location-excluded",
    422,
    Retry.NEVER,
    "The place can never be a location",
    "Choose a place outside the platform's own home and outside every other tier.",
)
LOCATION_ACCESS_DENIED = _code(
    "location-access-denied",
    403,
    Retry.AFTER_OPERATOR,
    "The place is there, and may not be used",
    "Give the platform's user, or these credentials, the rights that the role needs.",
)
LOCATION_IN_USE = _code(
    "location-in-use",
    409,
    Retry.AFTER_OPERATOR,
    "A configuration uses the location",
    "Its runs would fail. Where that is meant: wedsync-backup location remove NAME --anyway.",
)
CREDENTIALS_UNUSABLE = _code(
    "credentials-unusable",
    422,
    Retry.AFTER_OPERATOR,
    "The credentials cannot be used",
    "Name credentials that are there, whole, and their owner's alone.",
)
ORGANISATION_TAKEN = _code(
    "organisation-taken",
    409,
    Retry.NEVER,
    "The organisation is registered already",
    "Choose another id, or use it as it is: wedsync-backup organisation list.",
)

# The embedded stack
STACK_RUNNING = _code(
    "stack-running",
    409,
    Retry.AFTER_OPERATOR,
    "The platform runs already in this home",
    "Use it, or stop it first with wedsync-backup down.",
)
STACK_NOT_RUNNING = _code(
    "stack-not-running",
    503,
    Retry.AFTER_OPERATOR,
    "The platform does not run in this home",
    "Start it with wedsync-backup up.",
)
STACK_FAILED = _code(
    "stack-failed",
    500,
    Retry.AFTER_OPERATOR,
    "A part of the platform does not start",
    "Read the named log; docs/operations.md says what its messages mean.",
)
HOME_UNUSABLE = _code(
    "home-unusable",
    500,
    Retry.AFTER_OPERATOR,
    "The home of the platform cannot be used",
    "Give the folder to the user who runs the platform, or name another one with --home.",
)
RESTORE_FAILED = _code(
    "restore-failed",
    500,
    Retry.AFTER_OPERATOR,
    "A restore has failed",
    "Run the printed command again; its own message says what is wrong.",
)
