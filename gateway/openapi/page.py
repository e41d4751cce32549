"""The OpenAPI document as one static page: no scripts, nothing fetched from elsewhere, readable without styles."""

from html import escape
from typing import Any

import msgspec

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { border-bottom: 1px solid #d0d7de; margin-top: 3rem } h3 { margin-top: 2.5rem }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px }
code { padding: 1px 4px } pre { padding: .8rem; overflow-x: auto; white-space: pre-wrap }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .6rem;
border-bottom: 1px solid #e5e8eb } .method { font-weight: 700; color: #0550ae } summary { cursor: pointer }
"""


def render(document: dict[str, Any]) -> str:
    """The page of a document."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    info = document["info"]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{escape(info['title'])} API {escape(info['version'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])}</h1><p>{_text(info['description'])}</p>",
        "<p>For tools: <a href='/schema/openapi.json'>openapi.json</a>, events: <a href='/asyncapi'>asyncapi.yaml</a>",
        "</p><nav>",
        " · ".join(f"<a href='#{escape(name)}'>{escape(name)}</a>" for name in groups),
        " · <a href='#schemas'>Schemas</a></nav>",
    ]
    for name, rendered in groups.items():
        parts += [f"<section id='{escape(name)}'><h2>{escape(name)}</h2>", *rendered, "</section>"]
    parts.append("<section id='schemas'><h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(_details(f"schema-{name}", name, schema, text=schema.get("description", "")))
    return "".join([*parts, "</section></body></html>"])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<h3 id='{escape(operation['operationId'])}'><span class='method'>{method.upper()}</span> ",
        f"<code>{escape(path)}</code></h3><p><strong>{escape(operation['summary'])}.</strong> ",
        f"{_text(operation['description'])}</p>",
    ]
    if operation.get("parameters"):
        parts.append("<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>")
        for parameter in operation["parameters"]:
            required = " (required)" if parameter["required"] else ""
            parts.append(
                f"<tr><td><code>{escape(parameter['name'])}</code>{required}</td><td>{escape(parameter['in'])}</td>"
                f"<td>{_text(parameter['description'] or '')}</td></tr>"
            )
        parts.append("</table>")
    if "requestBody" in operation:
        parts += _content("Body", operation["requestBody"]["content"])
    for status, response in operation["responses"].items():
        parts += [f"<p><strong>{escape(status)}</strong> {_text(response['description'])}</p>"]
        parts += _content("", response.get("content", {}))
    return "".join(parts)


def _content(title: str, content: dict[str, Any]) -> list[str]:
    parts = [f"<p><strong>{escape(title)}</strong></p>"] if title else []
    for media_type, body in content.items():
        reference = body["schema"].get("$ref", "").rpartition("/")[2]
        if reference:
            name = escape(reference)
            parts.append(f"<p><code>{escape(media_type)}</code>: <a href='#schema-{name}'>{name}</a></p>")
        for name, example in body.get("examples", {}).items():
            parts.append(_details("", f"Example: {name}", example["value"]))
    return parts


def _details(anchor: str, title: str, value: Any, *, text: str = "") -> str:
    shown = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    identity = f" id='{escape(anchor)}'" if anchor else ""
    explanation = f"<p>{_text(text)}</p>" if text else ""
    return f"<details{identity}><summary>{escape(title)}</summary>{explanation}<pre>{escape(shown)}</pre></details>"


def _text(text: str) -> str:
    """Text with `code` between backquotes, and empty lines as breaks."""
    pieces = escape(text).replace("\n\n", "<br>").split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
