"""Settings: read from the environment, refused with the variable's name, documented in one table."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from chassis.settings import ServiceSettings, Settings, load
from chassis.settings_table import table
from contracts import errors
from contracts.errors import PlatformError

COMPLETE = {
    "WEDSYNC_POSTGRES_DSN": "host=127.0.0.1 password=hunter2",
    "WEDSYNC_POSTGRES_SCHEMA": "config",
    "WEDSYNC_NATS_URL": "nats://127.0.0.1:4222",
    "WEDSYNC_KEYS_DIR": "/srv/keys",
    "WEDSYNC_LOCATIONS_FILE": "/srv/locations.json",
}


class Colour(StrEnum):
    """Some choice."""

    RED = "red"
    BLUE = "blue"


class Sample(Settings, frozen=True, kw_only=True):
    """Every kind of field."""

    text: Annotated[str, Meta(min_length=2, description="A text.")] = "ab"
    whole: Annotated[int, Meta(gt=0, lt=10, description="A number.")] = 5
    share: float = 0.5
    flag: Annotated[bool, Meta(description="A | flag.")] = False
    folder: Path | None = None
    names: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    colour: Colour = Colour.RED
    mode: Literal["fast", "safe"] = "safe"


class Extended(Sample, frozen=True, kw_only=True):
    """One more field."""

    needed: Annotated[int, Meta(ge=1, description="A number that has no default.")]


def test_load_reads_every_kind_of_field() -> None:
    """Each field comes from its variable, in its type."""
    settings = load(
        Sample,
        {
            "WEDSYNC_TEXT": " abc ",
            "WEDSYNC_WHOLE": "7",
            "WEDSYNC_SHARE": "0.25",
            "WEDSYNC_FLAG": "Yes",
            "WEDSYNC_FOLDER": "/srv/a b",
            "WEDSYNC_NAMES": "a, b,,c",
            "WEDSYNC_FOLDERS": "/a, /b c",
            "WEDSYNC_COLOUR": "blue",
            "WEDSYNC_MODE": "fast",
        },
    )
    assert settings == Sample(
        text="abc",
        whole=7,
        share=0.25,
        flag=True,
        folder=Path("/srv/a b"),
        names=("a", "b", "c"),
        folders=(Path("/a"), Path("/b c")),
        colour=Colour.BLUE,
        mode="fast",
    )


def test_list_in_json_keeps_what_commas_would_part() -> None:
    """A path may hold a comma, a blank at its end, and bytes that are not UTF-8."""
    settings = load(Sample, {"WEDSYNC_FOLDERS": '["/a, b ", "/c\\udcff"]'})
    assert [bytes(folder) for folder in settings.folders] == [b"/a, b ", b"/c\xff"]


def test_load_takes_defaults_where_a_variable_is_missing_or_empty() -> None:
    """An empty variable counts as one that is not set."""
    assert load(Sample, {"WEDSYNC_WHOLE": "", "WEDSYNC_FLAG": "  "}) == Sample()
    assert load(Sample, {"WEDSYNC_FLAG": "off"}).flag is False


def test_empty_text_that_has_a_default_is_refused() -> None:
    """Nobody can know whether no text was meant, or the default."""
    with pytest.raises(PlatformError) as refused:
        load(Sample, {"WEDSYNC_TEXT": " "})
    assert refused.value.field == "WEDSYNC_TEXT"
    assert refused.value.message == "WEDSYNC_TEXT is empty; expected: a text"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WEDSYNC_RATE_PERSECOND", "WEDSYNC_RATE_PER_SECOND"),
        ("WEDSYNC_WORKER_SLOT", "WEDSYNC_WORKER_SLOTS"),
        ("WEDSYNC_WHOLLY", "WEDSYNC_WHOLE"),
        ("WEDSYNC_QQQQ", None),
        ("WEDSYNC_HTP_PORT", "WEDSYNC_HTTP_PORT"),
    ],
)
def test_variable_that_no_program_reads_is_refused_with_the_nearest_one(name: str, meant: str | None) -> None:
    """Whoever misspells a limit believes that there is one."""
    with pytest.raises(PlatformError) as refused:
        load(Sample, {name: "5"})
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == name
    assert refused.value.message == f"{name} is no setting" + (f"; did you mean {meant}?" if meant else "")


def test_variables_of_other_programs_and_of_container_platforms_are_none_of_ours() -> None:
    """Several processes may share one file of settings; a container platform names neighbours without being asked."""
    environ = {
        "WEDSYNC_WORKER_SLOTS": "4",
        "WEDSYNC_HOME": "/srv/platform",
        "WEDSYNC_POSTGRES_ADMIN_DSN": "host=x",
        "WEDSYNC_GATEWAY_SERVICE_HOST": "10.0.0.7",
        "WEDSYNC_GATEWAY_SERVICE_PORT_HTTP": "8080",
        "WEDSYNC_GATEWAY_PORT": "tcp://10.0.0.7:8080",
        "WEDSYNC_GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.7",
        "WEDSYNC_NOTHING": "",
    }
    assert load(Sample, environ) == Sample()


@pytest.mark.parametrize(
    ("variable", "value", "form"),
    [
        ("WEDSYNC_TEXT", "a", "a text"),
        ("WEDSYNC_WHOLE", "ten", "a whole number above 0 and below 10"),
        ("WEDSYNC_WHOLE", "10", "a whole number above 0 and below 10"),
        ("WEDSYNC_SHARE", "half", "a number"),
        ("WEDSYNC_SHARE", "inf", "a number"),
        ("WEDSYNC_SHARE", "-inf", "a number"),
        ("WEDSYNC_SHARE", "nan", "a number"),
        ("WEDSYNC_SHARE", "1e999", "a number"),
        ("WEDSYNC_FLAG", "maybe", "true or false"),
        ("WEDSYNC_COLOUR", "green", "one of red, blue"),
        ("WEDSYNC_MODE", "slow", "one of fast, safe"),
        ("WEDSYNC_FOLDERS", '["/a"', "paths separated by commas, or a JSON list"),
        ("WEDSYNC_FOLDERS", '["/a", ""]', "paths separated by commas, or a JSON list"),
        ("WEDSYNC_FOLDERS", '["/a\\u0000"]', "paths separated by commas, or a JSON list"),
    ],
)
def test_invalid_setting_names_the_variable_and_the_form_but_not_the_value(
    variable: str, value: str, form: str
) -> None:
    """Whoever reads the error knows what to set; a secret in the wrong place is not shown."""
    with pytest.raises(PlatformError) as refused:
        load(Sample, {variable: value})
    error = refused.value
    assert error.code is errors.INVALID_SETTING
    assert error.field == variable
    assert error.message == f"{variable} is not valid; expected: {form}"
    assert variable in error.hint
    assert error.__cause__ is None


def test_missing_setting_names_the_variable_and_the_form() -> None:
    """A setting without a default that is not set is named."""
    with pytest.raises(PlatformError) as refused:
        load(Extended, {})
    assert refused.value.message == "WEDSYNC_NEEDED is not set; expected: a whole number at least 1"


def test_all_settings_that_are_missing_are_named_at_once() -> None:
    """Nobody finds them one start after the other."""
    with pytest.raises(PlatformError) as refused:
        load(ServiceSettings, {})
    required = [name for name in COMPLETE if name in refused.value.message]
    assert len(required) > 1
    assert refused.value.message == f"{', '.join(sorted(required, key=refused.value.message.index))} are not set"
    assert all(name in refused.value.hint for name in required)
    assert refused.value.field == min(required, key=refused.value.message.index)


@pytest.mark.parametrize("missing", COMPLETE)
def test_service_settings_need_each_of_their_variables(missing: str) -> None:
    """A service does not start with half of its settings."""
    assert load(ServiceSettings, COMPLETE).postgres_schema == "config"
    with pytest.raises(PlatformError) as refused:
        load(ServiceSettings, {name: value for name, value in COMPLETE.items() if name != missing})
    assert refused.value.field == missing


def test_schema_that_would_need_quoting_is_refused() -> None:
    """A schema's name is one that is safe in an option of a connection."""
    with pytest.raises(PlatformError) as refused:
        load(ServiceSettings, {**COMPLETE, "WEDSYNC_POSTGRES_SCHEMA": 'a"; x'})
    assert refused.value.field == "WEDSYNC_POSTGRES_SCHEMA"


def test_table_has_a_line_for_each_variable_with_its_form_and_default() -> None:
    """The documentation comes from the code, field by field, and repeats nothing that is inherited."""
    text = table([Sample, Extended])
    assert "| `WEDSYNC_WHOLE` | a whole number above 0 and below 10 | `5` | A number. |" in text
    assert "| `WEDSYNC_FLAG` | true or false | `false` | A \\| flag. |" in text
    assert "| `WEDSYNC_COLOUR` | one of red, blue | `red` |  |" in text
    assert "| `WEDSYNC_NAMES` | texts separated by commas, or a JSON list | none |  |" in text
    assert "| `WEDSYNC_NEEDED` | a whole number at least 1 | required | A number that has no default. |" in text
    assert text.count("WEDSYNC_WHOLE") == 1
    assert "Besides those of Sample:" in text
