"""What subscribers read is what the code says: schemas, examples, the AsyncAPI document, the frozen versions."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from contracts import generate, samples
from contracts.envelope import decode, decode_data, encode, headers_of
from contracts.errors import catalogue
from contracts.event import pinned_events
from contracts.progress import Progress
from contracts.samples import sample_envelopes
from contracts.streams import STREAMS
from contracts.subjects import event_subject, events_named
from contracts.yaml_text import to_yaml

HOME = Path(generate.HOME)
NAMES = sorted(generate.read_frozen())
EVENTS = [name for name in NAMES if name != generate.PROGRESS_NAME]


def _schema(name: str) -> Any:
    return json.loads((HOME / "schemas" / f"{name}.json").read_text())


def _example(name: str) -> Any:
    return json.loads((HOME / "examples" / f"{name}.json").read_text())


def _validator(name: str) -> Any:
    schema = _schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def test_generated_files_are_as_the_code_says() -> None:
    """A changed definition shows in the committed schemas, examples and AsyncAPI document, or the build fails."""
    assert generate.drift() == [], "run python -m contracts.generate"


def test_every_pinned_event_is_listed_with_schema_and_example() -> None:
    """No event goes out that subscribers cannot look up."""
    assert set(EVENTS) == set(pinned_events())
    for folder in ("schemas", "examples"):
        assert sorted(path.stem for path in (HOME / folder).glob("*.json")) == NAMES


@pytest.mark.parametrize("name", EVENTS)
def test_stored_example_decodes_and_encodes_to_itself(name: str) -> None:
    """A message that was published once is read by this build, and nothing of it is lost."""
    body = json.dumps(_example(name), separators=(",", ":"), ensure_ascii=False).encode()
    envelope = decode(body)
    event = decode_data(envelope)
    assert type(event) is pinned_events()[name]
    assert json.loads(encode(msgspec.structs.replace(envelope, data=msgspec.Raw(msgspec.json.encode(event))))) == (
        _example(name)
    )


@pytest.mark.parametrize("name", NAMES)
def test_stored_example_validates_against_its_schema(name: str) -> None:
    """Schema and example describe the same message."""
    _validator(name).validate(_example(name))


@pytest.mark.parametrize("name", EVENTS)
def test_schema_refuses_unknown_fields_everywhere(name: str) -> None:
    """Schemas are closed: a misspelt field does not pass as an unknown one."""
    validator = _validator(name)
    example = _example(name)
    assert not validator.is_valid({**example, "extra": 1})
    assert not validator.is_valid({**example, "data": {**example["data"], "extra": 1}})
    for key, value in example["data"].items():
        if isinstance(value, dict):
            assert not validator.is_valid({**example, "data": {**example["data"], key: {**value, "extra": 1}}})


@pytest.mark.parametrize("name", EVENTS)
def test_schema_and_decoder_agree_on_what_is_missing(name: str) -> None:
    """A field that the schema requires is one without which the decoder refuses, and the other way round."""
    validator = _validator(name)
    example = _example(name)
    for key in example["data"]:
        without = {**example, "data": {k: v for k, v in example["data"].items() if k != key}}
        try:
            decode_data(decode(json.dumps(without).encode()))
            is_decoded = True
        except ValueError:
            is_decoded = False
        assert validator.is_valid(without) is is_decoded, key


@pytest.mark.parametrize("name", EVENTS)
def test_schema_pins_name_and_owner(name: str) -> None:
    """A message of another type does not pass for this one."""
    validator = _validator(name)
    assert not validator.is_valid({**_example(name), "type": "executor.something-else.v1"})
    assert not validator.is_valid({**_example(name), "source": "/wedsync-backup/somebody"})


def test_progress_example_decodes() -> None:
    """Progress is read by its own type; it has no envelope."""
    assert msgspec.json.decode((HOME / "examples" / "progress.json").read_bytes(), type=Progress).tiers


def test_samples_name_only_codes_of_the_catalogue() -> None:
    """A refusal's code can be looked up."""
    codes = {_example(name)["data"].get("code") for name in EVENTS} - {None}
    assert codes
    assert codes <= set(catalogue())


def test_headers_repeat_the_envelope() -> None:
    """Who filters by headers sees what the body says."""
    for envelope in sample_envelopes().values():
        headers = headers_of(envelope)
        assert headers["ce-id"] == envelope.id
        assert headers["ce-type"] == envelope.type
        assert headers.get("ce-causationid") == envelope.causationid
        assert headers["traceparent"] == envelope.traceparent
        assert all(value.isascii() for value in headers.values())


def test_subject_of_every_event_is_in_a_declared_stream_and_matches_its_filter() -> None:
    """What is published is kept, and found by the filter that consumers use."""
    for name, envelope in sample_envelopes().items():
        tokens = event_subject(envelope).split(".")
        owner = name.split(".")[0]
        assert [spec.owner for spec in STREAMS if spec.subjects == (f"{tokens[0]}.{owner}.>",)] == [owner]
        pattern = events_named(name).split(".")
        assert len(pattern) == len(tokens)
        assert all(want in ("*", token) for want, token in zip(pattern, tokens, strict=True))


# Frozen versions


def test_frozen_shape_ignores_words_and_class_names_but_nothing_else() -> None:
    """Better documentation is no new version; a changed field is."""
    schema = {
        "title": "A",
        "description": "old",
        "properties": {"title": {"type": "string"}, "b": {"$ref": "#/$defs/B"}},
    }
    plain = generate.shape(schema, {"B": {"type": "integer"}})
    assert plain == {"properties": {"title": {"type": "string"}, "b": {"type": "integer"}}}
    renamed = {**schema, "description": "new", "properties": {**schema["properties"], "b": {"$ref": "#/$defs/C"}}}  # type: ignore[dict-item]
    assert generate.shape(renamed, {"C": {"type": "integer", "title": "C"}}) == plain
    assert generate.shape(schema, {"B": {"type": "string"}}) != plain


def _frozen_tier() -> tuple[generate.Frozen, dict[str, Any], dict[str, Any]]:
    """What is frozen, and of one event the properties of its data and its example."""
    frozen = generate.read_frozen()
    tier = frozen["executor.tier-uploaded.v1"]
    return frozen, tier["shape"]["properties"]["data"], tier["example"]["data"]


def test_freeze_takes_optional_fields_and_members_of_enums() -> None:
    """Within a version what only adds is no new version: the fields and members were not there before."""
    frozen, data, example = _frozen_tier()
    frozen["executor.backup-failed.v1"]["shape"]["properties"]["data"]["properties"].pop("hint")
    frozen["executor.backup-failed.v1"]["example"]["data"].pop("hint")
    data["properties"]["tier"]["enum"].remove("offsite")
    assert example["tier"] != "offsite"
    assert generate.freeze(frozen) == generate.read_frozen()


@pytest.mark.parametrize("part", ["field", "required", "enum", "type", "example"])
def test_freeze_refuses_what_old_messages_or_readers_would_not_bear(part: str) -> None:
    """History cannot be redefined: fields and members that go, new duties and other types stop the generator."""
    frozen, data, example = _frozen_tier()
    match part:
        case "field":
            data["properties"]["gone"] = {"type": "integer", "default": 0}
        case "required":
            data["required"].remove("objects")
        case "enum":
            data["properties"]["tier"]["enum"].append("gone")
        case "type":
            data["properties"]["objects"]["type"] = "string"
        case "example":
            example["objects"] += 1
    with pytest.raises(generate.Changed, match=r"executor\.tier-uploaded\.v1 .* define the next version"):
        generate.freeze(frozen)


def test_freeze_refuses_to_forget_a_version() -> None:
    """History needs its definitions for good."""
    frozen = {**generate.read_frozen(), "executor.backup-paused.v1": {"shape": {}, "example": {}}}
    with pytest.raises(generate.Changed, match="history needs it"):
        generate.freeze(frozen)


@pytest.mark.parametrize("name", EVENTS)
def test_frozen_example_is_read_by_this_build(name: str) -> None:
    """What was published when the version was new is read for good."""
    body = json.dumps(generate.read_frozen()[name]["example"]).encode()
    assert type(decode_data(decode(body))) is pinned_events()[name]


def test_freeze_lists_what_is_new() -> None:
    """A new version is added to what is frozen."""
    known = generate.read_frozen()
    newest = known.popitem()
    assert generate.freeze(known) == {**known, newest[0]: newest[1]}


# The generator


def test_generator_writes_what_is_missing_and_removes_what_is_stale(tmp_path: Path) -> None:
    """One run makes the files right; a second finds nothing to do."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "executor.gone.v1.json").write_text("{}")
    written = generate.write(tmp_path)
    assert "schemas/executor.gone.v1.json" in written
    assert not (tmp_path / "schemas" / "executor.gone.v1.json").exists()
    assert (tmp_path / "asyncapi.yaml").read_text() == (HOME / "asyncapi.yaml").read_text()
    assert generate.write(tmp_path) == []
    (tmp_path / "examples" / "progress.json").write_text("{}")
    assert generate.drift(tmp_path) == ["examples/progress.json"]


def test_generator_checks_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` says so by its exit code, and a wrong option is refused."""
    assert generate.main(["--check"]) == 0
    assert generate.main(["--what"]) == 2
    assert "usage" in capsys.readouterr().err


def test_generator_names_drift_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file that differs is a line, and a changed frozen version is the only line."""
    monkeypatch.setattr(generate, "drift", lambda: ["asyncapi.yaml"])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "contracts/asyncapi.yaml differs\n"

    def refuse() -> list[str]:
        raise generate.Changed("executor.tier-uploaded.v1 is frozen and has changed")

    monkeypatch.setattr(generate, "drift", refuse)
    assert generate.main(["--check"]) == 1
    assert "is frozen" in capsys.readouterr().err
    monkeypatch.setattr(generate, "write", list)
    assert generate.main([]) == 0


# AsyncAPI


def _asyncapi() -> Any:
    return yaml.safe_load((HOME / "asyncapi.yaml").read_text())


def test_asyncapi_document_is_valid() -> None:
    """Tools that read AsyncAPI 3.0 read ours: it passes the schema of the specification."""
    schema = json.loads(Path(__file__).with_name("asyncapi-3.0.0.schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(_asyncapi())
    assert not validator.is_valid({**_asyncapi(), "channels": {"progress": {"parameters": 5}}})


def test_asyncapi_keeps_what_its_schema_cannot_say() -> None:
    """Parameters are those of the address, payloads are of the dialect that tools assume, headers are the real ones."""
    document = _asyncapi()
    for name, channel in document["channels"].items():
        assert set(channel["parameters"]) == set(re.findall(r"{(\w+)}", channel["address"])), name
        assert list(channel["messages"]) == [name]
        operation = document["operations"][f"{name}.announce"]
        assert operation["channel"] == {"$ref": f"#/channels/{name}"}
        assert operation["messages"] == [{"$ref": f"#/channels/{name}/messages/{name}"}]
    # Without a schemaFormat a payload is draft 7 to every tool: what is newer would be passed over without a word.
    newer = {"$defs", "prefixItems", "dependentRequired", "unevaluatedProperties", "minContains", "$dynamicRef"}
    resource = Resource.from_contents(document, default_specification=DRAFT7)
    registry = Registry().with_resource("urn:document", resource)
    for name, message in document["components"]["messages"].items():
        whole = {"payload": message["payload"], "schemas": document["components"]["schemas"]}
        assert not newer & _keys(whole), name
        for part in ("payload", *(["headers"] if "headers" in message else [])):
            jsonschema.Draft7Validator.check_schema(message[part])
        pointer = f"urn:document#/components/messages/{name}/payload"
        payload = jsonschema.Draft7Validator({"$ref": pointer}, registry=registry)
        for example in message["examples"]:
            payload.validate(example["payload"])
            assert not payload.is_valid({**example["payload"], "surprise": 1}), name
    for name, envelope in sample_envelopes().items():
        headers = document["components"]["messages"][name]["headers"]
        jsonschema.Draft7Validator(headers).validate(headers_of(envelope))
        assert set(headers_of(envelope)) <= set(headers["properties"]), name


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def test_asyncapi_references_lead_somewhere() -> None:
    """Every `$ref` in the document is defined in it."""
    document = _asyncapi()

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [ref for item in value.values() for ref in references(item)]
        return [ref for item in value for ref in references(item)] if isinstance(value, list) else []

    found = references(document)
    assert len(found) > 40
    for reference in found:
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        assert target


def test_asyncapi_lists_every_message_with_its_subject() -> None:
    """What is published and what is documented is the same set."""
    document = _asyncapi()
    assert sorted(document["channels"]) == NAMES
    for name, envelope in sample_envelopes().items():
        address = document["channels"][name]["address"].replace("{organisation}", envelope.organisation)
        assert address == event_subject(envelope)
        assert document["components"]["messages"][name]["examples"][0]["payload"] == _example(name)


# YAML

_TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.just("\n"))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=16) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_yaml_text_is_read_back_by_a_real_parser(value: object) -> None:
    """What the writer writes means what it was given."""
    assert yaml.safe_load(to_yaml(value)) == value


def test_example_does_not_change_when_another_one_is_inserted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells an example from others follows from its event's name: whoever has stored the others sees nothing."""
    before = sample_envelopes()
    story = samples._STORY
    monkeypatch.setattr(samples, "_STORY", (story[0], story[-1], *story[1:]))
    assert sample_envelopes() == before
    assert len({each.id for each in before.values()}) == len(before)
