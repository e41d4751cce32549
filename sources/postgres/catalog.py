"""What a database holds, as its snapshot tells: the statements that ask for it, and the document that keeps it.

The document is `database.json` at the root of a snapshot; a restore needs nothing else to know what to do.
"""

from typing import Final

import msgspec

FORMAT: Final = 1
SERVER_MIN: Final = 120000
"""The oldest server that is read; the statements below ask for what it has."""


class Table(msgspec.Struct, frozen=True):
    """A table whose rows are kept. `columns`: those that are stored; `types`: theirs, by oid.

    `node`: the file that its rows were in. `condition`: which rows are the user's, of a table of an extension.
    `parts`: the ids of what is made with it: constraints, indexes, defaults, triggers, policies, and sequences of its
    own, whose names are `sequences`.
    """

    oid: int
    schema: str
    name: str
    node: int
    columns: tuple[str, ...] = ()
    condition: str = ""
    parts: tuple[int, ...] = ()
    sequences: tuple[str, ...] = ()
    types: tuple[int, ...] = ()

    @property
    def sql(self) -> str:
        """Its name in a statement."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def column_list(self) -> str:
        """Its stored columns in a statement; nothing where it has none."""
        return f" ({', '.join(map(quoted, self.columns))})" if self.columns else ""

    @property
    def rows(self) -> str:
        """What of it COPY writes."""
        if self.columns and not self.condition:
            return f"{self.sql}{self.column_list}"
        return f"(SELECT {', '.join(map(quoted, self.columns))} FROM ONLY {self.sql} {self.condition})"  # noqa: S608 - quoted

    @property
    def sequence_literals(self) -> list[str]:
        """The names of its sequences as `SEQUENCES_QUERY` writes them."""
        return ["'" + name.replace("'", "''") + "'" for name in self.sequences]

    @property
    def path(self) -> bytes:
        """Where its rows are in a snapshot."""
        return b"/".join((TABLES, file_name(self.schema), file_name(self.name)))


class Catalog(msgspec.Struct, frozen=True):
    """What a database held at one moment. `position`: the WAL's, on a primary.

    `system`: which cluster, timeline and database it is, on a primary. `snapshot`: which transactions the moment sees,
    as `txid_current_snapshot` tells it. `seen_us`: a time when it had begun, in microseconds since 1970.
    """

    database: str
    server: int
    encoding: str
    collation: str
    taken_at: str
    position: str
    user: str
    is_privileged: bool
    large_objects: int
    tables: tuple[Table, ...]
    views: tuple[tuple[str, str], ...] = ()
    forbidden: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    closed_objects: int = 0
    format: int = FORMAT
    system: str = ""
    snapshot: str = ""
    seen_us: int = 0


_CATALOG: Final = msgspec.json.Decoder(Catalog)


def decoded(body: bytes) -> Catalog:
    """What a server has told. Raises `ValueError` where a name of it could be more than a name to `psql`.

    It takes names in quotes as names; a zero byte would end a line of its, and a backslash outside of quotes begins a
    command that runs on this machine.
    """
    catalog = _CATALOG.decode(body)
    for table in catalog.tables:
        if "\0" in "".join((table.schema, table.name, table.condition, *table.columns)) or "\\" in table.condition:
            raise ValueError("a table's description has what none has")
    if any("\0" in name for view in catalog.views for name in view):
        raise ValueError("a view has a name that none has")
    return catalog


def confined(statements: bytes, key: str) -> bytes:
    """Statements that a server has told, for `psql`: commands that run on this machine are none in it.

    As `pg_dump` does it: only whoever knows the key ends that. `key`: one that the server cannot know.
    """
    return b"\\restrict %s\n%s\n\\unrestrict %s\n" % (key.encode(), statements, key.encode())


TABLES: Final = b"tables"
DESCRIPTION: Final = b"database.json"
SCHEMA: Final = b"schema.dump"
ROLES: Final = b"roles.sql"
SETTINGS: Final = b"settings.sql"
SEQUENCES: Final = b"sequences.sql"
LOAD: Final = b"load.sql"
FINISH: Final = b"finish.sql"
LARGE_OBJECTS: Final = b"large-objects.sql"
_ESCAPED: Final = b"%/"


def quoted(name: str) -> str:
    """A name as a statement has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a statement has it, whatever `standard_conforming_strings` says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def file_name(name: str) -> bytes:
    """A name as one of a file: `%` and `/` as `%25` and `%2F`, and a first dot as `%2E`."""
    made = b"".join(b"%%%02X" % each if each in _ESCAPED else bytes([each]) for each in name.encode())
    return b"%2E" + made[1:] if made.startswith(b".") else made


SESSION: Final = """
SET search_path = '';
SET row_security = off;
SET datestyle = ISO;
SET intervalstyle = postgres;
SET extra_float_digits = 3;
SET bytea_output = hex;
SET xmloption = content;
SET standard_conforming_strings = on;
SET synchronize_seqscans = off;
SET quote_all_identifiers = off;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'
  \\g /dev/null
"""
"""What makes the text of a value the same everywhere; a row that may not be seen is an error, and not left out."""

OWN_TABLES: Final = """
pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend e
  ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e'
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
"""
"""What is the user's; `e.objid` is there where it belongs to an extension."""

SYSTEM: Final = """CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.concat_ws('/',
  (SELECT system_identifier FROM pg_catalog.pg_control_system()),
  pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8),
  (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) END"""
"""Which cluster, timeline and database it is: the ids of transactions mean something in it alone."""

CATALOG_QUERY: Final = f"""
WITH config AS (
  SELECT u.oid, u.condition FROM pg_catalog.pg_extension x,
  LATERAL ROWS FROM (pg_catalog.unnest(x.extconfig), pg_catalog.unnest(x.extcondition)) AS u (oid, condition)
), own AS (
  SELECT c.*, n.nspname, e.objid AS extended FROM {OWN_TABLES}
), sequences AS (
  SELECT d.refobjid AS oid, d.objid AS part, pg_catalog.format('%I.%I', n.nspname, s.relname) AS name
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid
    AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
), parts AS (
  SELECT conrelid AS oid, oid AS part FROM pg_catalog.pg_constraint WHERE conrelid <> 0
  UNION ALL SELECT indrelid, indexrelid FROM pg_catalog.pg_index
  UNION ALL SELECT adrelid, oid FROM pg_catalog.pg_attrdef
  UNION ALL SELECT tgrelid, oid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT polrelid, oid FROM pg_catalog.pg_policy
  UNION ALL SELECT oid, part FROM sequences
), tables AS (
  SELECT own.oid::int8 AS oid, own.nspname AS schema, own.relname AS name, own.relfilenode::int8 AS node,
    COALESCE((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = own.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]') AS columns,
    COALESCE((SELECT pg_catalog.json_agg(a.atttypid::int8 ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = own.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '[]') AS types,
    COALESCE(config.condition, '') AS condition,
    COALESCE((SELECT pg_catalog.json_agg(parts.part::int8) FROM parts WHERE parts.oid = own.oid), '[]') AS parts,
    COALESCE((SELECT pg_catalog.json_agg(s.name) FROM sequences s WHERE s.oid = own.oid), '[]') AS sequences
  FROM own LEFT JOIN config ON config.oid = own.oid
  WHERE own.relkind = 'r' AND (own.extended IS NULL OR config.oid IS NOT NULL)
  ORDER BY own.nspname, own.relname
)
SELECT pg_catalog.json_build_object(
  'database', pg_catalog.current_database(),
  'server', pg_catalog.current_setting('server_version_num')::int,
  'encoding', pg_catalog.current_setting('server_encoding'),
  'collation', (SELECT datcollate FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
  'taken_at', pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'position', CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.pg_current_wal_lsn()::text END,
  'user', current_user,
  'is_privileged', (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user),
  'large_objects', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
  'closed_objects', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata
    WHERE NOT pg_catalog.pg_has_role(lomowner, 'USAGE') AND NOT EXISTS (
      SELECT FROM pg_catalog.aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
        AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))),
  'system', {SYSTEM}, 'snapshot', pg_catalog.txid_current_snapshot()::text,
  'seen_us', (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8,
  'tables', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.row_to_json(tables)) FROM tables), '[]'),
  'views', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(nspname, relname) ORDER BY oid)
    FROM own WHERE relkind = 'm' AND relispopulated AND extended IS NULL), '[]'),
  'forbidden', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.format('%I.%I', nspname, relname) ORDER BY 1) FROM own
    WHERE relkind IN ('r', 'S', 'p') AND extended IS NULL
      AND NOT (pg_catalog.has_table_privilege(oid, 'SELECT')
        AND pg_catalog.has_schema_privilege(relnamespace, 'USAGE'))), '[]'),
  'hidden', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.format('%I.%I', nspname, relname)) FROM own
    WHERE relkind = 'r' AND relrowsecurity
      AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND (relforcerowsecurity OR NOT pg_catalog.pg_has_role(relowner, 'USAGE'))), '[]')
);
"""  # noqa: S608 - of constants alone

ROLES_QUERY: Final = """
WITH RECURSIVE used AS (
  SELECT d.refobjid AS oid FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.oid = d.dbid
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND b.datname = pg_catalog.current_database()
  UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
  UNION SELECT CASE WHEN m.member = used.oid THEN m.roleid ELSE m.member END
    FROM used JOIN pg_catalog.pg_auth_members m ON used.oid IN (m.member, m.roleid)
), roles AS (SELECT r.* FROM pg_catalog.pg_roles r JOIN used USING (oid) WHERE rolname !~ '^pg_')
SELECT pg_catalog.format('DO %L;', pg_catalog.format(
  'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %L) THEN EXECUTE %L; END IF; END', rolname,
  pg_catalog.format('CREATE ROLE %I %s', rolname, pg_catalog.concat_ws(' ',
    CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcanlogin THEN 'LOGIN' END,
    CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
    CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
    CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, 'CONNECTION LIMIT ' || rolconnlimit,
    'VALID UNTIL ' || pg_catalog.quote_literal(rolvaliduntil::text)))))
FROM roles WHERE oid <> 10 ORDER BY rolname;
WITH RECURSIVE used AS (
  SELECT d.refobjid AS oid FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.oid = d.dbid
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND b.datname = pg_catalog.current_database()
  UNION SELECT CASE WHEN m.member = used.oid THEN m.roleid ELSE m.member END
    FROM used JOIN pg_catalog.pg_auth_members m ON used.oid IN (m.member, m.roleid)
)
SELECT DISTINCT pg_catalog.format('DO %L;', pg_catalog.format(
  'BEGIN IF NOT pg_catalog.pg_has_role(%L, %L, ''MEMBER'') THEN EXECUTE %L; END IF; END', r.rolname, g.rolname,
  pg_catalog.format('GRANT %I TO %I%s', g.rolname, r.rolname,
    CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)))
FROM pg_catalog.pg_auth_members m JOIN used ON m.member = used.oid
JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles r ON r.oid = m.member
WHERE r.rolname !~ '^pg_' ORDER BY 1;
"""
"""Statements for `psql` that make the roles that the database speaks of, and those that are members of them.

A role that is there is left as it is; passwords are not kept.
"""

SETTINGS_QUERY: Final = """
SELECT pg_catalog.format('ALTER %s SET %I %s %s;',
  CASE WHEN s.setrole = 0 THEN 'DATABASE :"DBNAME"'
    ELSE pg_catalog.format('ROLE %I IN DATABASE :"DBNAME"', r.rolname) END, pg_catalog.split_part(v, '=', 1),
  'TO', CASE WHEN pg_catalog.split_part(v, '=', 1) IN ('search_path', 'local_preload_libraries',
    'session_preload_libraries', 'temp_tablespaces') THEN (
      SELECT pg_catalog.string_agg(pg_catalog.quote_literal(CASE WHEN i[1] LIKE '"%'
        THEN pg_catalog.replace(pg_catalog.substr(i[1], 2, pg_catalog.length(i[1]) - 2), '""', '"')
        ELSE pg_catalog.lower(i[1]) END), ', ')
      FROM pg_catalog.regexp_matches(pg_catalog.substr(v, pg_catalog.strpos(v, '=') + 1),
        '"(?:[^"]|"")*"|[^",[:space:]]+', 'g') i)
    ELSE pg_catalog.quote_literal(pg_catalog.substr(v, pg_catalog.strpos(v, '=') + 1)) END)
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, LATERAL pg_catalog.unnest(s.setconfig) v
WHERE d.datname = pg_catalog.current_database() ORDER BY 1;
SELECT pg_catalog.format('COMMENT ON DATABASE :"DBNAME" IS %L;', pg_catalog.shobj_description(oid, 'pg_database'))
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
  AND pg_catalog.shobj_description(oid, 'pg_database') IS NOT NULL;
SELECT 'REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;' FROM pg_catalog.pg_database
WHERE datname = pg_catalog.current_database() AND datacl IS NOT NULL;
SELECT pg_catalog.format('GRANT %s ON DATABASE :"DBNAME" TO %s%s;', a.privilege_type,
  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END,
  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_catalog.pg_database d, LATERAL pg_catalog.aclexplode(d.datacl) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE d.datname = pg_catalog.current_database() AND a.grantee <> d.datdba ORDER BY 1;
"""
"""Statements for `psql`: what the database itself is set to, under whatever name it is restored."""

SEQUENCES_QUERY: Final = f"""
SELECT pg_catalog.format('SELECT pg_catalog.format(%L, %L, last_value, is_called) FROM %I.%I',
  'SELECT pg_catalog.setval(%L, %s, %L);', pg_catalog.format('%I.%I', n.nspname, c.relname),
  n.nspname, c.relname)
FROM {OWN_TABLES} AND c.relkind = 'S' AND e.objid IS NULL ORDER BY n.nspname, c.relname \\gexec
"""  # noqa: S608 - of constants alone
"""Statements for `psql` that set each sequence to where it was: behind every value that the snapshot has seen."""
