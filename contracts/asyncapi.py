"""The AsyncAPI 3.0 document: every message that the platform publishes, where, and in which form.

It is written from the platform's point of view: it *sends*, other services subscribe. Dead letters and
JetStream's own subjects are not part of the public language.
"""

from collections.abc import Callable, Mapping
from typing import Any

from contracts.envelope import CONTENT_TYPE
from contracts.streams import PROGRESS_STREAM, WORKERS_HEAR, stream_of
from contracts.subjects import EVENTS, PROGRESS

VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"
_HEADERS = {
    "type": "object",
    "description": (
        "CloudEvents attributes, repeated from the body for filters. Where they differ, the body is right.\n"
        "Wedsync-Log and Wedsync-Position say where the event stands in its owner's record."
    ),
    "properties": {
        **{
            f"ce-{attribute}": {"type": "string"}
            for attribute in (
                *("specversion", "id", "source", "type", "subject", "time"),
                *("organisation", "sequence", "correlationid", "causationid"),
            )
        },
        "content-type": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
        "Nats-Msg-Id": {"type": "string"},
        **{
            f"Nats-Expected-{what}": {"type": "string", "description": "Of the relay and the server alone."}
            for what in ("Stream", "Last-Msg-Id", "Last-Sequence")
        },
        "Wedsync-Log": {"type": "string"},
        "Wedsync-Position": {"type": "string"},
    },
}
_ORGANISATION = {"description": "The organisation's id. Subscribe to one, or to all by a wildcard."}

Described = Mapping[str, tuple[dict[str, Any], dict[str, Any], Any]]


def document(described: Callable[[str], Described]) -> dict[str, Any]:
    """The document. `described` gives schema, definitions and example of each message, for a form of reference."""
    messages = described(_REF)
    schemas: dict[str, Any] = {}
    for _, definitions, _ in messages.values():
        schemas |= definitions
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "WedSync Backup events",
            "version": VERSION,
            "description": (
                "Requests, facts and refusals of WedSync Backup, on NATS JetStream, one stream per service.\n"
                "A body is one CloudEvents 1.0 event in structured JSON, byte for byte what the record holds.\n"
                "Delivery is at least once; recognise repeats by the event's id. docs/subscribers.md is the guide."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "nats": {
                "host": "{host}:{port}",
                "protocol": "nats",
                "description": "NATS with JetStream. A subscriber has an nkey and its own durable consumers.",
                "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "4222"}},
            }
        },
        "channels": {name: _channel(name) for name in messages},
        "operations": {
            f"{name}.announce": {
                "action": "send",
                "summary": _first_line(schema["description"]),
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            }
            for name, (schema, _, _) in messages.items()
        },
        "components": {
            "messages": {
                name: {
                    "name": name,
                    "title": name,
                    "summary": _first_line(schema["description"]),
                    "contentType": CONTENT_TYPE if _is_event(name) else "application/json",
                    **({"headers": _HEADERS} if _is_event(name) else {}),
                    "payload": schema,
                    "examples": [{"name": name, "payload": example}],
                }
                for name, (schema, _, example) in messages.items()
            },
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _is_event(name: str) -> bool:
    return "." in name


def _channel(name: str) -> dict[str, Any]:
    reference = {"messages": {name: {"$ref": f"#/components/messages/{name}"}}}
    if not _is_event(name):
        return {
            "address": f"{PROGRESS}.{{owner}}.{{organisation}}.{{executionId}}",
            "description": "The latest progress of a run or a recovery; not history, and not replayed.",
            "parameters": {
                "owner": {"description": "Whose work it is.", "enum": sorted(WORKERS_HEAR)},
                "organisation": _ORGANISATION,
                "executionId": {"description": "The id of the run or the recovery."},
            },
            **reference,
            "x-jetstream-stream": PROGRESS_STREAM,
        }
    owner, event, version = name.split(".")
    return {
        "address": f"{EVENTS}.{owner}.{{organisation}}.{event}.{version}",
        "parameters": {"organisation": _ORGANISATION},
        **reference,
        "x-jetstream-stream": stream_of(owner),
    }


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
