"""docs/openapi.json is what the code says, and what it promises is true."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from litestar.routes import HTTPRoute, WebSocketRoute
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from contracts import errors
from gateway.app import build
from gateway.auth.guards import OPEN, RIGHT
from gateway.openapi.document import FILE, document, encoded, operations, write
from gateway.openapi.page import render

APP = build(None)
_CODES = re.compile(r"`([a-z0-9-]+)`")
OPEN_PATHS = {
    *("/health/live", "/health/ready", "/asyncapi", "/schema", "/schema/openapi.json"),
    *("/console", "/console/{name}", "/console/{name:str}"),
}
JUDGING_PATHS = {"/api/backup/retention/preview"}
"""What takes a body and changes nothing, so that no key tells one from the next."""


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document(APP)["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _bodies() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each example with the schema that it must fit."""
    for path, method, operation in _operations():
        contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        contents += [response.get("content", {}) for response in operation["responses"].values()]
        for content in contents:
            for body in content.values():
                for name, example in body["examples"].items():
                    yield f"{method} {path} {name}", body["schema"], example["value"]


def test_committed_document_is_what_the_code_says() -> None:
    """Whoever changes the API changes its document (`python -m gateway openapi`)."""
    assert FILE.read_bytes() == encoded(APP)
    assert write(APP, check=True) == 0


def test_document_is_valid_openapi() -> None:
    """Tools that read OpenAPI 3.1 read ours: it and each schema in it pass the schema of the specification."""
    validator = Draft202012Validator(json.loads(Path(__file__).with_name("openapi-3.1.schema.json").read_text()))
    validator.validate(document(APP))
    for schema in document(APP)["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for path, method, operation in _operations():
        broken = {**document(APP), "paths": {path: {method: {**operation, "surprise": 1}}}}
        assert not validator.is_valid(broken)
        assert list(broken["paths"]) == [path]


def test_problems_are_documented_with_examples_of_their_codes() -> None:
    """Every code under a status is one of the catalogue, of that status, and its example is a problem of that code."""
    for _, _, operation in _operations():
        for status, response in operation["responses"].items():
            for code, example in (
                response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
            ):
                assert errors.catalogue()[code].status == int(status)
                assert example["value"]["code"] == code


def test_every_202_is_a_request() -> None:
    """Whatever is asked for, the body of a 202 is one shape, and Location says where it will be."""
    found = [operation["responses"]["202"] for _, _, operation in _operations() if "202" in operation["responses"]]
    assert len(found) >= 2
    for response in found:
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/WriteRequest"}
        assert set(response["headers"]) == {"Location", "Retry-After"}


def test_changed_document_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The check notices a file that is missing or different, and writing mends it."""
    monkeypatch.setattr("gateway.openapi.document.FILE", tmp_path / "docs" / "openapi.json")
    assert write(APP, check=True) == 1
    assert write(APP, check=False) == 0
    assert write(APP, check=True) == 0


@pytest.mark.parametrize(
    ("name", "schema", "value"), list(_bodies()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_example_fits_its_schema(name: str, schema: dict[str, Any], value: Any) -> None:
    """Every example of a request, a response and an error is one that the schema allows."""
    whole = Resource.from_contents(document(APP), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:api", whole)
    pointed = json.loads(re.sub(r'"#/', '"urn:api#/', json.dumps(schema)))
    Draft202012Validator(pointed, registry=registry).validate(value)


def test_names_of_schemas_are_words_and_no_modules() -> None:
    """Clients have them in their code: two types of one name would be told apart by where they stand in ours."""
    assert [name for name in document(APP)["components"]["schemas"] if not re.fullmatch(r"\w+", name)] == []


def test_every_request_and_response_of_the_api_has_an_example() -> None:
    """Nothing is asked or promised without being shown."""
    for path, method, operation in _operations():
        if "requestBody" in operation:
            assert all(body["examples"] for body in operation["requestBody"]["content"].values()), (path, method)
        for status, response in operation["responses"].items():
            if status != "304":
                assert all(body["examples"] for body in response["content"].values()), (path, method, status)


def test_every_route_is_described() -> None:
    """No endpoint is left out of the document, and the document has none that does not exist."""
    routes = {
        handler.handler_name
        for route in build(None).routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.handler_name != "options_handler"
    }
    assert routes == set(operations())


def test_every_route_is_guarded_unless_it_is_open() -> None:
    """A route needs a token and a role, but for the few that are meant to be open."""
    for route in build(None).routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.handler_name == "options_handler":
                    continue
                is_open = bool(handler.opt.get("exclude_from_auth"))
                assert is_open is (route.path in OPEN_PATHS), route.path
                assert is_open or (handler.guards and handler.opt[RIGHT]), route.path
        if isinstance(route, WebSocketRoute):
            # The WebSocket authenticates itself (gateway.groups.monitoring.routes): header or ticket.
            assert route.route_handler.opt.items() >= OPEN.items()
            assert route.path == "/api/backup/monitoring"


def test_guarded_operations_need_the_bearer_token_and_say_how_they_fail() -> None:
    """Security and the errors that every operation may answer with are in the document."""
    for path, method, operation in _operations():
        if path in OPEN_PATHS:
            assert operation["security"] == []
            continue
        assert operation["security"] == [{"bearer": []}]
        assert {"401", "403", "429", "500", "503"} <= set(operation["responses"])
        assert "Roles: " in operation["description"]
        if method == "post" and "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(operation["responses"])
            if path in JUDGING_PATHS:
                continue
            assert "409" in operation["responses"]
            (key,) = (each for each in operation["parameters"] if each["name"] == "Idempotency-Key")
            assert key["required"] is True


def test_operations_have_names_of_their_own_and_whole_paths() -> None:
    """Clients are generated from this: ids are unique, and each placeholder in a path is a parameter."""
    ids = [operation["operationId"] for _, _, operation in _operations()]
    assert len(ids) == len(set(ids))
    for path, _, operation in _operations():
        named = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


def test_references_lead_somewhere() -> None:
    """Every schema that is referred to is there."""
    text = encoded(APP).decode()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names <= set(document(APP)["components"]["schemas"])


def test_request_bodies_are_closed() -> None:
    """What a client sends beside the known fields is refused, and the schema says so."""
    schemas = document(APP)["components"]["schemas"]
    for name in ("NewConfiguration", "NewExecution", "StorageDestinations", "Destination"):
        assert schemas[name]["additionalProperties"] is False


def test_page_shows_every_operation_without_scripts() -> None:
    """The page is whole by itself, and what is in the document cannot break out of it."""
    page = render(document(APP))
    for path, _, operation in _operations():
        assert path in page
        assert operation["operationId"] in page
    assert "<script" not in page
    hostile = {**document(APP), "info": {**document(APP)["info"], "title": "<script>alert(1)</script>"}}
    assert "<script>" not in render(hostile)


def test_one_path_has_one_name_for_its_parameter() -> None:
    """Whatever reads, changes and removes a thing, a PUT or a DELETE too, stands under one path."""
    paths = [path for path, _, _ in _operations()]
    assert len({re.sub(r"{[^}]*}", "{}", path) for path in paths}) == len(set(paths))


def test_codes_of_the_guide_are_all_that_the_document_has() -> None:
    """The table of docs/api.md names each code under its status, so that a client can be written by it."""
    rows = re.findall(r"^\| ([\d, ]+) \|(.*)\|$", (FILE.parent / "api.md").read_text(), flags=re.MULTILINE)
    told = {(status.strip(), code) for row, text in rows for status in row.split(",") for code in _CODES.findall(text)}
    found = set()
    for _, _, operation in _operations():
        for status, response in operation["responses"].items():
            problems = response.get("content", {}).get("application/problem+json", {"examples": {}})
            found |= {(status, example["value"]["code"]) for example in problems["examples"].values()}
    assert found - told == set()
