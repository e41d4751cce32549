"""What may be wrong with a request, whatever it asks for."""

from contracts.errors.catalogue import Retry, entered

MALFORMED_BODY = entered(
    "malformed-body", 400, Retry.NEVER, "The body is not valid JSON", "Send a JSON object encoded as UTF-8."
)
MALFORMED_REQUEST = entered(
    "malformed-request", 400, Retry.NEVER, "The request is not valid HTTP", "Send an HTTP/1.1 request."
)
INVALID_FIELD = entered(
    "invalid-field",
    422,
    Retry.NEVER,
    "A field is not valid",
    "Correct the named field; /schema shows what each field takes.",
)
UNKNOWN_FIELD = entered(
    "unknown-field",
    422,
    Retry.NEVER,
    "A field is not known",
    "Remove the named field, or correct its spelling; /schema lists the fields.",
)
BODY_TOO_LARGE = entered(
    "body-too-large",
    413,
    Retry.NEVER,
    "The body is too large",
    "Send less in one request; the limit is in the error's context.",
)
HEAD_TOO_LARGE = entered(
    "head-too-large",
    431,
    Retry.NEVER,
    "The request's headers are too large",
    "Send fewer and shorter headers; the limits are in the error's context.",
)
PATH_TOO_LONG = entered(
    "path-too-long",
    414,
    Retry.NEVER,
    "The request's path is too long",
    "Send a shorter path and query; the limit is in the error's context.",
)
REQUEST_TIMED_OUT = entered(
    "request-timed-out",
    408,
    Retry.LATER,
    "The request did not arrive in time",
    "Send the whole request without pausing; the limit is in the error's context.",
)
UNSUPPORTED_MEDIA_TYPE = entered(
    "unsupported-media-type",
    415,
    Retry.NEVER,
    "The media type is not supported",
    "Send Content-Type: application/json.",
)
NOT_FOUND = entered(
    "not-found",
    404,
    Retry.NEVER,
    "There is no such resource",
    "Check the id; only resources of your own organisation are found.",
)
METHOD_NOT_ALLOWED = entered(
    "method-not-allowed", 405, Retry.NEVER, "The method is not allowed here", "The Allow header lists the methods."
)
UNAUTHENTICATED = entered(
    "unauthenticated",
    401,
    Retry.NEVER,
    "The token is missing or not valid",
    "Send a current bearer token; sign in again where it has expired.",
)
FORBIDDEN = entered(
    "forbidden",
    403,
    Retry.NEVER,
    "The role does not allow this",
    "Ask an owner of the organisation for a role that may do this.",
)
SECOND_FACTOR_NEEDED = entered(
    "second-factor-needed",
    403,
    Retry.NEVER,
    "This needs a second factor, given lately",
    "Sign in again with a second factor, and send the request within fifteen minutes.",
)
TOO_MANY_REQUESTS = entered(
    "too-many-requests", 429, Retry.LATER, "Too many requests", "Wait for as long as Retry-After says."
)
IDEMPOTENCY_KEY_REUSED = entered(
    "idempotency-key-reused",
    409,
    Retry.NEVER,
    "The idempotency key was used with another body",
    "Use a new key for a new request.",
)
IDEMPOTENCY_KEY_MISSING = entered(
    "idempotency-key-missing",
    400,
    Retry.NEVER,
    "The Idempotency-Key header is missing",
    "Send a new UUID as Idempotency-Key with each new write.",
)
VERSION_CONFLICT = entered(
    "version-conflict",
    412,
    Retry.NEVER,
    "The resource has changed meanwhile",
    "Read it again, and send its ETag as If-Match.",
)
IF_MATCH_MISSING = entered(
    "if-match-missing",
    428,
    Retry.NEVER,
    "The If-Match header is missing",
    "Read the resource, and send its ETag as If-Match.",
)
INVALID_CURSOR = entered(
    "invalid-cursor",
    422,
    Retry.NEVER,
    "The cursor is not one of this list",
    "Send nextCursor of the page before as it is, with the same filters, or begin without a cursor.",
)
INTERNAL = entered(
    "internal",
    500,
    Retry.LATER,
    "Something went wrong on our side",
    "Try again later; name the trace id when you ask for help.",
)
UNKNOWN_REFUSAL = entered(
    "unknown-refusal",
    409,
    Retry.AFTER_OPERATOR,
    "The request was refused for a reason that this build does not know",
    "The refusal is final. Ask the operator to update the gateway, which then tells the reason.",
)
NOT_HANDLED = entered(
    "not-handled",
    500,
    Retry.AFTER_OPERATOR,
    "The platform could not work on the request",
    "Nothing was done, and nothing will be. Ask the operator, with the id of the request; then ask again.",
)
NO_SPACE = entered(
    "no-space",
    503,
    Retry.AFTER_OPERATOR,
    "The platform's disk is full",
    "Free space on the disk of the platform's home, or move it to a larger one; then ask again.",
)
UNAVAILABLE = entered(
    "unavailable", 503, Retry.LATER, "A part of the platform cannot be reached", "Try again in a few seconds."
)
IDENTITY_PROVIDER_UNAVAILABLE = entered(
    "identity-provider-unavailable",
    503,
    Retry.LATER,
    "Sign-ins cannot be judged",
    "Try again in a few seconds; an operator sees whether the identity provider's JWKS document can be read.",
)
