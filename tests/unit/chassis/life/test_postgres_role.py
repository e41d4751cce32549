"""Role and password beside the connection string."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from chassis.life.postgres_role import with_role
from chassis.settings import ServiceSettings, load
from contracts.errors import PlatformError

PASSWORD = "it's a \\ secret"


def _settings(tmp_path: Path, **more: str) -> ServiceSettings:
    names = {
        "POSTGRES_DSN": "host=db.example dbname=wedsync",
        "POSTGRES_SCHEMA": "config",
        "NATS_URL": "nats://127.0.0.1:4222",
        "KEYS_DIR": str(tmp_path),
        "LOCATIONS_FILE": str(tmp_path / "locations.json"),
    }
    return load(ServiceSettings, {f"WEDSYNC_{name}": text for name, text in {**names, **more}.items()})


@pytest.mark.parametrize("dsn", ["host=db.example dbname=wedsync", "postgresql://db.example/wedsync"])
def test_one_connection_string_serves_every_role(tmp_path: Path, dsn: str) -> None:
    """Role and password are added to it, quoted as libpq wants them."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    settings = _settings(
        tmp_path,
        POSTGRES_DSN=dsn,
        POSTGRES_ROLE="wedsync_config",
        POSTGRES_PASSWORD_FILE=str(tmp_path / "password"),
    )
    assert conninfo_to_dict(with_role(settings).postgres_dsn) == {
        "host": "db.example",
        "dbname": "wedsync",
        "user": "wedsync_config",
        "password": PASSWORD,
    }


def test_settings_without_either_are_left_as_they_are(tmp_path: Path) -> None:
    """So is a string that libpq does not take: who connects refuses it by its name."""
    settings = _settings(tmp_path)
    assert with_role(settings) is settings
    broken = _settings(tmp_path, POSTGRES_DSN="postgresql://u@[::1/x", POSTGRES_ROLE="wedsync_config")
    assert with_role(broken) is broken


@pytest.mark.parametrize(
    ("more", "content", "field"),
    [
        ({"POSTGRES_DSN": "user=a password=b", "POSTGRES_ROLE": "c"}, "x", "WEDSYNC_POSTGRES_ROLE"),
        ({"POSTGRES_DSN": "user=a password=b"}, "x", "WEDSYNC_POSTGRES_PASSWORD_FILE"),
        ({}, None, "WEDSYNC_POSTGRES_PASSWORD_FILE"),
        ({}, "", "WEDSYNC_POSTGRES_PASSWORD_FILE"),
        ({}, "SECRETONE\nSECRETTWO\n", "WEDSYNC_POSTGRES_PASSWORD_FILE"),
    ],
)
def test_what_contradicts_or_is_no_password_is_refused_by_name(
    tmp_path: Path, more: dict[str, str], content: str | None, field: str
) -> None:
    """Whoever mounts the wrong file is told which setting, and nothing of what is in it."""
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PlatformError) as refused:
        with_role(_settings(tmp_path, POSTGRES_PASSWORD_FILE=str(path), **more))
    assert refused.value.field == field
    assert "SECRET" not in str(refused.value) + str(refused.value.hint)
