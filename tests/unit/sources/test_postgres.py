"""Addresses of databases, what servers complain of, and the list that `pg_restore` restores by."""

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict

from repository.backup.source import FileProblem
from repository.errors import LocationInvalid, Retry
from sources.postgres.catalog import Table, decoded, file_name
from sources.postgres.contents import Wanted, lines_for, refusals
from sources.postgres.database import Database
from sources.postgres.programs import Complaint, worded
from sources.postgres.target import knows_restrict
from sources.postgres.trouble import of_table, unreachable

DATABASE = Database("postgres://backup@db.example.com/shop")


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("postgres://u@db.example.com/shop", "require"),
        ("postgres://u@db.example.com/shop?sslmode=disable", "disable"),
        ("postgres://u@db.example.com/shop?sslmode=verify-full&sslrootcert=system", "verify-full"),
        ("postgres://u@127.0.0.1/shop", "prefer"),
        ("postgres://u@localhost:6432/shop", "prefer"),
    ],
)
def test_connection_that_leaves_the_machine_is_encrypted_unless_the_address_says_otherwise(
    address: str, mode: str
) -> None:
    """Nobody has to remember it."""
    assert f"sslmode={mode}&" in Database(address).connection


@pytest.mark.parametrize("login", ["", "u@", "u@:6432", ":6432"])
def test_unix_socket_is_reached_by_its_folder(login: str) -> None:
    """With a user in the address or without one: libpq reads the address as it is meant."""
    database = Database(f"postgres://{login}/shop?host=/run/pg")
    read = conninfo_to_dict(database.connection)
    assert (read["host"], read["dbname"], read["sslmode"]) == ("/run/pg", "shop", "prefer")
    assert (read.get("user"), read.get("port")) == ("u" if "u" in login else None, "6432" if "6" in login else None)


@pytest.mark.parametrize(
    ("host", "option"),
    [("localhost", "db.example.com"), ("", "db.example.com"), ("", ""), ("", "/run/pg,db.example.com"), ("db", "/run")],
)
def test_option_host_leads_to_no_other_machine(host: str, option: str) -> None:
    """It would do so without the encryption that the address's own host gets, and under its name."""
    with pytest.raises(LocationInvalid, match="Unix socket"):
        Database(f"postgres://u@{host}/shop?host={option}")


def test_options_of_ours_are_none_of_libpqs() -> None:
    """They bound what is asked of the server."""
    database = Database("postgres://h/shop?connections=2&lock-timeout=3&statement-timeout=60", user="an other@x")
    assert (database.connections, database.lock_milliseconds, database.statement_milliseconds) == (2, 3000, 60_000)
    assert database.connection.startswith("postgresql://an%20other%40x@h/shop?sslmode=require&connect_timeout=")
    assert "lock" not in database.connection
    for wrong in ("connections=0", "lock-timeout=-1", "statement-timeout=x", "passfile=x", "sslmode=on"):
        with pytest.raises(LocationInvalid):
            Database(f"postgres://h/shop?{wrong}")


@pytest.mark.parametrize(
    ("said", "reason", "retry"),
    [
        ("SSL error: certificate verify failed", "certificate-refused", Retry.AFTER_OPERATOR),
        ("SSL error: certificate has expired", "certificate-refused", Retry.AFTER_OPERATOR),
        ('server certificate for "a" does not match host name "b"', "certificate-refused", Retry.AFTER_OPERATOR),
        (
            'root certificate file "/home/u/root.crt" does not exist',
            "certificate-refused",
            Retry.AFTER_OPERATOR,
        ),
        ('FATAL:  password authentication failed for user "u"', "credentials-refused", Retry.AFTER_OPERATOR),
        ("FATAL:  sorry, too many clients already", "connections-exhausted", Retry.LATER),
        ("Connection refused\n\tIs the server running on that host?", "unreachable", Retry.LATER),
        ("error: aborting because of server version mismatch", "tools-too-old", Retry.AFTER_OPERATOR),
        ("server closed the connection unexpectedly", "cut-off", Retry.LATER),
    ],
)
def test_complaint_says_what_is_to_be_done(said: str, reason: str, retry: Retry) -> None:
    """And whether another attempt helps. What names hosts and users is in the hint, which no log has."""
    error = unreachable(Complaint(2, f"psql: error: {said}"), DATABASE, doing="cannot be read")
    assert (error.context, error.retry, error.message) == ({"reason": reason}, retry, "the database cannot be read")


def test_what_concerns_one_table_costs_that_table() -> None:
    """And what concerns the server costs the snapshot."""
    found = {
        state: of_table(Complaint(3, f"psql:<stdin>:9: ERROR:  {state}: words"), DATABASE)
        for state in ("42P01", "0A000", "40001", "XX001", "57P01", "22023")
    }
    assert [state for state, error in found.items() if isinstance(error, FileProblem)] == [
        "42P01",
        "0A000",
        "40001",
        "XX001",
    ]


def test_state_is_found_whatever_language_the_server_speaks() -> None:
    """Its words are not: the state is in brackets of none."""
    complaint = Complaint(3, "psql:<stdin>:17: FEHLER:  42501: keine Berechtigung für Tabelle orders\nORT:  aclchk.c")
    assert complaint.state == "42501"
    assert Complaint(3, "psql:<stdin>:17: ERROR:  nothing").state == ""


def test_rows_are_in_no_message() -> None:
    """A value that the server quotes may be anybody's."""
    assert worded('invalid input syntax for type integer: "Ada Lovelace"') == "invalid input syntax for type integer: …"
    assert worded('duplicate key "x"  DETAIL:  Key (mail)=(a@b.example) already exists.') == 'duplicate key "x"'


LIST = """;
; Selected TOC Entries:
;
3402; 0 0 ENCODING - ENCODING
6; 2615 2200 SCHEMA - shop postgres
7; 2615 2201 SCHEMA - auth provider
221; 1259 16386 TABLE shop orders me
222; 1259 16390 TABLE shop orders_of me
223; 1259 16400 TABLE auth users provider
3403; 0 0 ACL shop TABLE orders me
3404; 0 0 ACL shop COLUMN orders.id me
3405; 0 0 ACL shop TABLE orders_of me
3406; 0 0 ACL - SCHEMA auth provider
3251; 2606 16395 CONSTRAINT shop orders orders_pkey me
3300; 0 0 COMMENT - EXTENSION hstore
3301; 6104 17000 PUBLICATION - everything me
"""
ORDERS = Table(oid=16386, schema="shop", name="orders", node=1, columns=("id",), parts=(16395,))


def test_list_has_what_belongs_to_a_table() -> None:
    """By its oid, or by its name where it has none; a table whose name begins alike is another one."""
    numbers = [line.partition(";")[0] for line in lines_for(LIST, Wanted([ORDERS]), (), ())]
    assert numbers == ["3402", "6", "221", "3403", "3404", "3251"]
    numbers = [line.partition(";")[0] for line in lines_for(LIST, Wanted([ORDERS], {"shop"}), (), ())]
    assert numbers == ["3402", "6", "221", "222", "3403", "3404", "3405", "3251"]


def test_list_lacks_what_is_there_and_what_is_the_providers() -> None:
    """The rest is all restored."""
    present = {"SCHEMA - shop", "PUBLICATION - everything"}
    numbers = [line.partition(";")[0] for line in lines_for(LIST, None, present, {"auth"})]
    assert numbers == ["3402", "221", "222", "3403", "3404", "3405", "3251", "3300"]


def test_each_refusal_names_its_statement() -> None:
    """And what is no statement is told as it is."""
    told = """pg_restore: error: could not execute query: ERROR:  role "x" does not exist
Command was: ALTER TABLE shop.orders
    OWNER TO x;
pg_restore: error: something else
pg_restore: error: could not execute query: ERROR:  there is no such thing
Command was: ALTER PUBLICATION p ADD TABLE ONLY shop.orders;
pg_restore: warning: errors ignored on restore: 2"""
    assert list(refusals(told.splitlines())) == [
        'ALTER TABLE shop.orders OWNER TO x;: role "x" does not exist',
        "something else",
        "ALTER PUBLICATION p ADD TABLE ONLY shop.orders;: there is no such thing",
    ]


def test_names_are_files_names() -> None:
    """What leads nowhere else."""
    assert [file_name(name) for name in ("a", "..", ".a", "a/b", "100%", "ü")] == [
        b"a",
        b"%2E.",
        b"%2Ea",
        b"a%2Fb",
        b"100%25",
        "ü".encode(),
    ]
    assert ORDERS.path == b"tables/shop/orders"


@pytest.mark.parametrize(
    ("version", "knows"), [("17.10", True), ("17.5", False), ("15.14", True), ("18.1", True), ("12.22", False)]
)
def test_psql_that_cannot_be_confined_is_known(version: str, knows: bool) -> None:
    """What a server tells is run by none that would take a command of this machine from it."""
    assert knows_restrict(f"psql (PostgreSQL) {version} (Debian {version}-1)") is knows


@pytest.mark.parametrize("table", [{"name": "a\0"}, {"columns": ["\0"]}, {"condition": "WHERE \\! id"}])
def test_server_that_is_none_is_believed_nothing(table: dict[str, object]) -> None:
    """A name that Postgres cannot have could be more than a name."""
    about: dict[str, object] = dict.fromkeys(("database", "encoding", "collation", "taken_at", "position", "user"), "")
    about |= {"server": 170000, "is_privileged": True, "large_objects": 0}
    good = {"oid": 1, "schema": "s", "name": "n", "node": 1}
    assert decoded(msgspec.json.encode({**about, "tables": [good]})).tables[0].name == "n"
    with pytest.raises(ValueError, match="a table's description"):
        decoded(msgspec.json.encode({**about, "tables": [{**good, **table}]}))
