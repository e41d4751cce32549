"""What the bus uses of FastStream, which is imported here alone.

Where uvicorn is installed FastStream imports it, for a server of its own that nothing here starts: 2 MB a process.
"""

import sys

_HIDDEN = "uvicorn"
_is_hidden = _HIDDEN not in sys.modules
if _is_hidden:
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]  # so an import of it fails, which FastStream reckons with
try:
    from faststream import AckPolicy, BaseMiddleware
    from faststream.exceptions import NackMessage, RejectMessage
    from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
finally:
    if _is_hidden:
        del sys.modules[_HIDDEN]

__all__ = [
    "AckPolicy",
    "BaseMiddleware",
    "JStream",
    "NackMessage",
    "NatsBroker",
    "NatsMessage",
    "PullSub",
    "RejectMessage",
]
