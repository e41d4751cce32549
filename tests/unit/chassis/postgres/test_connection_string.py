"""Connection strings: what libpq would refuse is told by its option before a server is looked for."""

import pytest

from chassis.postgres.connection_string import parsed
from contracts import errors
from contracts.errors import PlatformError

SETTING = "WEDSYNC_POSTGRES_DSN"


@pytest.mark.parametrize(
    ("dsn", "option"),
    [
        ("sslmode=banana", "sslmode"),
        ("postgresql://me:hush@db.example.invalid/wedsync?sslmode=banana", "sslmode"),
        ("port=abc", "port"),
        ("port=99999", "port"),
        ("host=a,b,c port=1,2", "port"),
        ("channel_binding=x", "channel_binding"),
        ("target_session_attrs=x", "target_session_attrs"),
        ("ssl_min_protocol_version=x", "ssl_min_protocol_version"),
        ("sslrootcert=system sslmode=require", "sslmode"),
        ("connect_timeout=soon", "connect_timeout"),
        ("keepalives_idle=x", "keepalives_idle"),
    ],
)
def test_value_that_libpq_refuses_is_told_by_its_option(dsn: str, option: str) -> None:
    """With the setting, and without the value: one of them is a password."""
    with pytest.raises(PlatformError) as caught:
        parsed(f"{dsn} password=hush" if "://" not in dsn else dsn, SETTING)
    assert caught.value.code is errors.INVALID_SETTING
    assert caught.value.message == f"{SETTING} has a value that libpq does not take: of {option}"
    assert "hush" not in str(caught.value)
    assert option in caught.value.hint


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "host=db.example.invalid port=5432 user=me password=hush dbname=wedsync sslmode=verify-full",
        "host=a,b port=1,2 target_session_attrs=read-write connect_timeout=5",
        "hostaddr=192.0.2.1,192.0.2.2 host=a,b",
        "host=/run/postgresql options='-c search_path=x'",
        "postgresql://me@[::1]:5432/wedsync?sslmode=require",
    ],
)
def test_string_that_may_be_right_is_taken_without_a_look_at_any_server(dsn: str) -> None:
    """Whether somebody is there is asked by whoever connects."""
    parsed(dsn, SETTING)
