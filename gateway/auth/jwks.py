"""The identity provider's public keys: read from a file or a URL, refreshed outside of any request.

Promise: a request never waits for the identity provider. A key that the set does not have is refused at once, and
asks for a refresh in the background, so that a rotated key is known seconds later. A well-formed answer is the truth,
an empty one too: what is withdrawn no longer signs anybody in. An answer that does not come or cannot be read says
nothing about the keys: they are kept for a bounded time, and after that nobody's sign-in is judged (503). Only
signature keys of the algorithms ES256, RS256 and EdDSA (Ed25519) are taken.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.disk import Disk
from chassis.life.health import Health
from chassis.life.tasks import STALL_SECONDS, Supervised, until_set
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError

LOG = logging.getLogger(__name__)

ALGORITHMS = ("ES256", "RS256", "EdDSA")
RSA_BITS_MIN = 2048
DOCUMENT_BYTES_MAX = 1024 * 1024
RETRY_SECONDS = 5.0
ASKED_AGAIN_SECONDS = 15.0
FETCH_SECONDS_MAX = 20.0
"""For a whole answer: a provider that sends a byte now and then would keep a withdrawn key in force."""
STALE_SECONDS_MAX = 7200.0


class SigningKey(msgspec.Struct, frozen=True):
    """One public key, with the one algorithm that it may be used with. `material`: its bytes, to tell keys apart."""

    algorithm: str
    key: jwt.PyJWK
    material: bytes

    @property
    def thumbprint(self) -> str:
        """A short name of the key itself: an id may be given to another key."""
        return hashlib.sha256(self.material).hexdigest()[:32]


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


_DOCUMENT = msgspec.json.Decoder(_Document)


def _algorithm_of(entry: Mapping[str, Any]) -> str | None:
    """The algorithm by the key's own kind: what the token's header says is never believed."""
    match entry.get("kty"), entry.get("crv"):
        case "EC", "P-256":
            algorithm = "ES256"
        case "OKP", "Ed25519":
            algorithm = "EdDSA"
        case "RSA", None:
            algorithm = "RS256"
        case _:
            return None
    return algorithm if entry.get("alg", algorithm) == algorithm else None


def parse(document: bytes) -> dict[str, SigningKey]:
    """The usable keys of a JWKS document, by key id; none, where the provider has withdrawn them all.

    Keys for encryption, of other algorithms, without an id, too short or malformed are left out, so that one bad entry
    of the provider's locks nobody out. Raises PlatformError INVALID_SETTING where the document is no JWKS.
    """
    try:
        entries = _DOCUMENT.decode(document).keys
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unusable("the key set cannot be read") from error
    return {key_id: key for key_id, key in map(_usable_key, entries) if key is not None}


def _usable_key(entry: Mapping[str, Any]) -> tuple[str, SigningKey | None]:
    """An entry's id and key; None in place of a key that is not taken."""
    key_id, algorithm = entry.get("kid"), _algorithm_of(entry)
    if algorithm is None or not isinstance(key_id, str) or entry.get("use", "sig") != "sig" or "d" in entry:
        return "", None
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm)
        if algorithm == "RS256" and key.key.key_size < RSA_BITS_MIN:
            return "", None
        material = key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        LOG.warning("a key of the key set is left out", extra={"cause": describe(error)})
        return "", None
    return key_id, SigningKey(algorithm, key, material)


def _unusable(message: str) -> PlatformError:
    return PlatformError(
        errors.INVALID_SETTING,
        message,
        field="WEDSYNC_JWKS_FILE or WEDSYNC_JWKS_URL",
        hint="Point it at a JWKS document with ES256, RS256 (2048 bits or more) or EdDSA keys that have a 'kid'.",
    )


def _is_trustworthy(url: str) -> bool:
    """Whether nobody on the way can put keys of his own in the place of the provider's."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _from_file(file: Disk) -> bytes:
    try:
        return await file.ask(file.folder.read_bytes)
    except OSError as error:
        raise _unusable("the key set's file cannot be read") from error


async def _from_url(url: str) -> bytes:
    import httpx  # 6 MB, which a gateway that reads a file does without

    body = bytearray()
    # A proxy of the environment is for what is elsewhere: on this machine it would be somebody else on the way.
    uses_proxies = not _is_loopback(urlsplit(url).hostname or "")
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS_MAX),
            httpx.AsyncClient(timeout=10.0, follow_redirects=False, trust_env=uses_proxies) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            response.raise_for_status()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise _unusable("the key set is too large")
    except (httpx.HTTPError, TimeoutError) as error:
        raise PlatformError(errors.UNAVAILABLE, "the identity provider's key set cannot be fetched") from error
    return bytes(body)


class KeySet:
    """A part of the process (see `chassis.life.runtime`): holds the keys; `loop`, another one, keeps them fresh.

    Exactly one of `file` and `url` is given. `refresh_seconds`: how often they are read again. `stale_seconds_max`: how
    long the keys of the last answer are believed while no other one comes. A file that cannot be read at the start, or
    has no usable key, is an error; a provider that cannot be reached yet makes the gateway not ready.
    """

    name = "signing-keys"

    def __init__(
        self,
        *,
        file: Path | None = None,
        url: str | None = None,
        refresh_seconds: float = 600.0,
        stale_seconds_max: float = STALE_SECONDS_MAX,
        health: Health | None = None,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (file is None) == (url is None):
            raise _unusable("exactly one of the two must be given")
        if url is not None and not _is_trustworthy(url):
            raise _unusable("WEDSYNC_JWKS_URL must begin with https:// unless it is on this machine")
        if stale_seconds_max <= refresh_seconds:
            raise PlatformError(
                errors.INVALID_SETTING,
                "WEDSYNC_JWKS_STALE_SECONDS_MAX is not above WEDSYNC_JWKS_REFRESH_SECONDS: keys would be too old "
                "before they are read again",
                field="WEDSYNC_JWKS_STALE_SECONDS_MAX",
                hint="Give it more than WEDSYNC_JWKS_REFRESH_SECONDS.",
            )
        disk = None if file is None else Disk(file)
        self._load: Callable[[], Awaitable[bytes]] = (
            (lambda: _from_file(disk)) if disk is not None else (lambda: _from_url(url or ""))
        )
        self._must_start = file is not None
        self._refresh_seconds = refresh_seconds
        self._stale_seconds_max = stale_seconds_max
        self._health = health
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._thumbprints: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._is_failing = False
        self._asked = asyncio.Event()
        self._asked_at = float("-inf")
        self._listeners: list[Callable[[], None]] = []
        stall_seconds = refresh_seconds + STALL_SECONDS
        self.loop = Supervised(
            "signing-keys-refresh", self._keep_fresh, telemetry=telemetry, stall_seconds=stall_seconds
        )

    def find(self, key_id: str) -> SigningKey | None:
        """The key of an id; None where there is none, which asks for a refresh in the background.

        Raises IDENTITY_PROVIDER_UNAVAILABLE where it cannot be known: the provider may have that key by now.
        """
        key = self._keys.get(key_id)
        if key is None:
            now = self._clock()
            if now - self._asked_at > ASKED_AGAIN_SECONDS:
                # Bounded, so that made-up key ids do not become a flood on the identity provider.
                self._asked_at = now
                self._asked.set()
            if self._is_failing:
                raise _away("the identity provider cannot be asked for the token's key")
        return key

    def has(self, thumbprint: str) -> bool:
        """Whether a key is still among those of the provider."""
        return thumbprint in self._thumbprints

    def refuse_if_stale(self) -> None:
        """Raises IDENTITY_PROVIDER_UNAVAILABLE where the keys are too old to judge anybody by, or were never there."""
        error = self._staleness()
        if error is not None:
            raise error

    def _staleness(self) -> PlatformError | None:
        if self._read_at == float("-inf"):
            return _away("there are no signing keys yet")
        if self._clock() - self._read_at > self._stale_seconds_max:
            return _away("the signing keys are too old: the identity provider has not told them for too long")
        return None

    def when_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of the keys: what was verified by a withdrawn key must go."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Read the keys now. Raises PlatformError, and leaves the keys as they are."""
        began_at = self._clock()
        try:
            keys = parse(await self._load())
        except PlatformError as error:
            self._is_failing = True
            self._tell(error)
            raise
        # The age counts from before the question: what the provider has changed since is in the next answer.
        self._read_at, self._is_failing = began_at, False
        changed = _materials(keys) != _materials(self._keys)
        self._keys, self._thumbprints = keys, frozenset(key.thumbprint for key in keys.values())
        self._tell(None if keys else _unusable("the identity provider has no usable key: nobody can sign in"))
        if changed:
            LOG.info("signing keys changed", extra={"keys": len(keys)})
            for listener in self._listeners:
                listener()

    def _tell(self, error: PlatformError | None) -> None:
        if self._health is None:
            return
        if error is None:
            self._health.restore("identity-provider")
        else:
            self._health.degrade("identity-provider", error)

    async def start(self) -> None:
        """Read the keys once; `loop` refreshes them. Raises INVALID_SETTING where the file is not usable."""
        try:
            await self.refresh()
        except PlatformError as error:
            if self._must_start:
                raise
            LOG.warning("signing keys not there yet", extra={"code": error.code.code})
        if self._must_start and not self._keys:
            raise _unusable("the key set has no usable key")

    async def stop(self) -> None:
        """Nothing is to be stopped."""

    async def check(self) -> PlatformError | None:
        """IDENTITY_PROVIDER_UNAVAILABLE while nobody's sign-in can be judged."""
        return self._staleness()

    async def _keep_fresh(self) -> None:
        """One turn: wait until it is time, or somebody asks, and read the keys."""
        await until_set(self._asked, RETRY_SECONDS if self._is_failing else self._refresh_seconds)
        self._asked.clear()
        try:
            await self.refresh()
        except PlatformError as error:
            # Told by itself (`_tell`), and borne for as long as the keys are not too old.
            LOG.warning("signing keys could not be refreshed", extra={"code": error.code.code})
        except Exception as error:  # noqa: BLE001  # whatever it was, keys that are withdrawn must go one day
            LOG.error("signing keys could not be refreshed", extra={"cause": describe(error)})
            self._is_failing = True
            self._tell(_away(f"the signing keys could not be read: {describe(error)}"))


def _away(message: str) -> PlatformError:
    return PlatformError(errors.IDENTITY_PROVIDER_UNAVAILABLE, message)


def _materials(keys: Mapping[str, SigningKey]) -> dict[str, bytes]:
    return {key_id: key.material for key_id, key in keys.items()}
