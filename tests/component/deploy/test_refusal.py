"""Why a database lets nobody in is told by its SQLSTATE, whatever language its words are in."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chassis.postgres.refusal import Refusal, refusal_of
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

SECONDS = 30.0


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"password": "wrong"}, Refusal.ACCESS),
        ({"user": "nobody"}, Refusal.ACCESS),
        ({"dbname": "absent"}, Refusal.ACCESS),
        ({"password": None}, Refusal.ACCESS),
        ({"port": "1"}, None),
        ({}, None),
    ],
    ids=["password", "user", "database", "no password", "nobody listens", "let in"],
)
def test_refusal_is_told_from_silence_by_its_code(
    postgres: PostgresServer, change: dict[str, str | None], refusal: Refusal | None
) -> None:
    """Credentials that are refused are not a server that is away, and the other way round."""
    wanted = {**conninfo_to_dict(postgres.admin_dsn), **change}
    dsn = make_conninfo(**{name: value for name, value in wanted.items() if value is not None})
    assert refusal_of(dsn, seconds=SECONDS) is refusal


def test_server_that_is_full_has_refused_nobodys_credentials(postgres: PostgresServer) -> None:
    """It answers, asks for the password, takes it, and has no connection left: that is no matter of access."""
    wanted = conninfo_to_dict(postgres.admin_dsn)
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE crowded LOGIN PASSWORD 'secret' CONNECTION LIMIT 0")
        try:
            dsn = make_conninfo(**{**wanted, "user": "crowded", "password": "secret"})
            assert refusal_of(dsn, seconds=SECONDS) is Refusal.FULL
        finally:
            admin.execute("DROP ROLE crowded")
