"""Structured logs: one JSON object a line on stderr.

Promise: a line never carries a body, a secret or personal data. Our own modules log constant messages
with ids and figures beside them (`extra={...}`); an exception is written as its code, its type and
where it was raised, and its text only where that text is ours (`PlatformError` and contract errors),
since a driver's text may quote a row or a path. Of other libraries only warnings are written, with the
message's template instead of the finished text.
"""


def configure(service: str, level: str = "INFO") -> None:
    """Send every log record of the process through the JSON formatter. Replaces the handlers of the root logger."""
    raise NotImplementedError


def describe(error: BaseException) -> str:
    """An error in one line that is safe to store and to show: code and message of our own errors, else type and place."""
    raise NotImplementedError
