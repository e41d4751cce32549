"""Addresses of tiers: `file:///PATH` and `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`.

| option of s3 | meaning |
|---|---|
| `endpoint` | URL of the server; AWS where it is absent |
| `region` | region to sign for; `us-east-1` where it is absent |
| `storage-class` | class of new objects, as the provider names it |
| `lock-mode` | `compliance` (the default) or `governance` |
| `addressing` | `path` (the default) or `virtual` |
| `ca` | path of a PEM file with the authorities to trust |
| `requests` | requests at once, 16 where it is absent |
| `upload-mib-s`, `download-mib-s` | limits in MiB per second |
| `retry-seconds` | budget for one outage, 180 where it is absent |
| `read-timeout` | longest silence in an answer, in seconds |
| `originals` | `1`: read every object as it was first written (needs a bucket that keeps versions) |

Credentials are never part of an address.
"""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from repository.errors import LocationInvalid, RepositoryError
from repository.tiers.folder.answering import AnsweringStore
from repository.tiers.limits import Limits
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import CredentialsProvider, S3Options, credentials_from_environment

T = TypeVar("T")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()@:=+,-]+(?:/[A-Za-z0-9!_.*'()@:=+,-]+)*", re.ASCII)
_S3_OPTIONS = {
    "endpoint",
    "region",
    "storage-class",
    "lock-mode",
    "addressing",
    "ca",
    "requests",
    "upload-mib-s",
    "download-mib-s",
    "retry-seconds",
    "read-timeout",
    "originals",
}


def open_tier(
    url: str,
    *,
    name: str | None = None,
    credentials: CredentialsProvider | None = None,
    retry: RetryPolicy | None = None,
    within: str | None = None,
    on_failure: Callable[[RepositoryError, float], None] | None = None,
) -> ObjectStore:
    """The store at an address; nothing is connected to or created yet (`originals` asks the bucket).

    `name` is what people call the tier; by default the folder's or the bucket's name. `credentials`:
    where those of S3 come from; by default the environment. `retry` overrides the address.
    `on_failure`: as of the policy, for a tier that is asked again.
    `within`: a folder above a directory tier that has to be there, and is not made.
    Raises `LocationInvalid`.
    """
    if scheme_of(url) == "file":
        return _directory(url, name, within)
    # Most of what a command loads that has no tier in a bucket would be this.
    from repository.tiers.s3.store import S3ObjectStore

    options, wants_originals = s3_options(url, credentials=credentials, retry=retry)
    if on_failure is not None:
        options = replace(options, retry=replace(options.retry, on_failure=on_failure))
    store = S3ObjectStore(options, name or options.bucket)
    if not wants_originals:
        return store
    originals = store.originals()
    if originals is None:
        store.close()
        raise LocationInvalid("the bucket keeps no versions", tier=store.name)
    return originals


def scheme_of(url: str) -> str:
    """`file` or `s3`. Raises `LocationInvalid`, of a path with what to write in its place."""
    scheme = urlsplit(url).scheme
    if scheme not in {"file", "s3"}:
        hint = f"Of a folder, write file://{os.path.abspath(url)}." if not scheme and "@" not in url else None
        raise LocationInvalid("the address of a tier begins with file:// or s3://", hint=hint, **_named(url))
    return scheme


def own_name(url: str) -> str:
    """What a tier is called where nobody names it: its folder's or its bucket's name. Raises `LocationInvalid`."""
    if scheme_of(url) != "file":
        return urlsplit(url).netloc
    own = os.fsencode(os.path.basename(directory_path(url))).decode("utf-8", "backslashreplace")
    return own or "directory"


def _directory(url: str, name: str | None, within: str | None) -> ObjectStore:
    return AnsweringStore(directory_path(url), name or own_name(url), within=within)


def directory_path(url: str) -> str:
    """The path of a `file://` address, whatever bytes it has. Raises `LocationInvalid`."""
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise LocationInvalid(
            "the address of a directory is file:///PATH, with ? and # written as %3F and %23", **_named(url)
        )
    path = unquote(parts.path, errors="surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise LocationInvalid("the path of a directory tier is absolute", **_named(url))
    return os.path.normpath(path)


def s3_options(
    url: str, *, credentials: CredentialsProvider | None = None, retry: RetryPolicy | None = None
) -> tuple[S3Options, bool]:
    """What an `s3://` address says, and whether it asks for the originals. Raises `LocationInvalid`."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise LocationInvalid("credentials do not belong into an address", hint="Set AWS_ACCESS_KEY_ID instead.")
    if not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        hint = (
            "A bucket's name has three characters at least: letters, digits, dots, hyphens. Write s3://BUCKET/PREFIX."
        )
        raise LocationInvalid("the address names no bucket, or one that no server has", hint=hint, **_named(url))
    prefix = unquote(parts.path).strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or any(segment in {".", ".."} for segment in prefix.split("/"))):
        raise LocationInvalid("the prefix has characters that not every server keeps", prefix=prefix)
    given: dict[str, str] = {}
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if option not in _S3_OPTIONS or option in given or not value:
            raise LocationInvalid("an option is unknown, empty or given twice", option=option[:40])
        given[option] = value
    endpoint = given.get("endpoint")
    if endpoint is not None and not _is_endpoint(endpoint):
        raise LocationInvalid(
            "the endpoint is no http or https URL, or has more than host, port and path", option="endpoint"
        )
    if "ca" in given and (endpoint or "").lower().startswith("http://"):
        hint = "Write https:// to be encrypted and to have the server proved by it, or leave ca away."
        raise LocationInvalid(
            "a file of authorities is named, and over http:// nobody is proved", hint=hint, option="ca"
        )
    limits = Limits(
        requests=_number(given, "requests", int, 16),
        upload_bytes_per_second=_rate(given, "upload-mib-s"),
        download_bytes_per_second=_rate(given, "download-mib-s"),
    )
    options = S3Options(
        bucket=parts.netloc,
        prefix=prefix + "/" if prefix else "",
        endpoint=endpoint,
        region=given.get("region"),
        credentials=credentials or credentials_from_environment(),
        storage_class=given.get("storage-class"),
        lock_mode=_choice(given, "lock-mode", {"compliance": "COMPLIANCE", "governance": "GOVERNANCE"}),
        addressing=_choice(given, "addressing", {"path": "path", "virtual": "virtual"}),
        certificate_authorities=given.get("ca"),
        read_timeout_seconds=_number(given, "read-timeout", float, 60.0),
        limits=limits,
        retry=retry or RetryPolicy(budget_seconds=_number(given, "retry-seconds", float, RetryPolicy().budget_seconds)),
    )
    return options, _choice(given, "originals", {"0": False, "1": True})


def _is_endpoint(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        is_server = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_server and "@" not in parts.netloc and not parts.query and not parts.fragment


def _named(url: str) -> dict[str, Any]:
    """The address for an error; not where it may hold a password, be it in the wrong place."""
    return {} if "@" in url else {"address": url}


def _choice(given: dict[str, str], option: str, values: dict[str, Any]) -> Any:
    """The value's meaning; the first of `values` where the option is absent."""
    value = given.get(option, next(iter(values)))
    if value not in values:
        raise LocationInvalid(f"the option is one of {', '.join(values)}", option=option)
    return values[value]


def _number(given: dict[str, str], option: str, kind: Callable[[str], T], default: T) -> T:
    if option not in given:
        return default
    try:
        number = kind(given[option])
    except ValueError:
        number = kind("0")
    if not 0 < float(str(number)) < 1e9:
        raise LocationInvalid("the option is a number above 0", option=option)
    return number


def _rate(given: dict[str, str], option: str) -> int | None:
    """Bytes per second of an option in MiB per second."""
    return max(1, int(_number(given, option, float, 0.0) * (1 << 20))) if option in given else None
