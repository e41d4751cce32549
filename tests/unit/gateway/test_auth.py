"""Tokens and keys: what is believed, what is remembered, and for how long."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from chassis.life.health import DEGRADED, NOT_READY, READY, Health
from contracts import errors
from contracts.errors import PlatformError
from gateway.auth import jwks
from gateway.auth.jwks import KeySet
from gateway.auth.principal import Principal
from gateway.auth.rights import Right, Role
from gateway.auth.tokens import TokenRules, TokenVerifier, bearer_of
from tests.support.eventually import eventually
from tests.support.hung_mount import hung_mount

RULES = TokenRules(issuer="https://identity.test", audience="authenticated", leeway_seconds=0)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251  # PyJWT asks the wall clock, too


class _Clock:
    def __init__(self) -> None:
        self.time = _now()

    def now(self) -> datetime:
        return self.time


EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def _jwk(key: Any, key_id: str, **changes: Any) -> dict[str, Any]:
    algorithm = {
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }[
        next(
            base
            for base in (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
            if isinstance(key, base)
        )
    ]
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id, "use": "sig", **changes}


def _document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def _token(key: Any = EC_KEY, algorithm: str = "ES256", key_id: str = "ec", **changes: Any) -> str:
    at = int(_now().timestamp())
    claims = {
        "iss": RULES.issuer,
        "aud": "authenticated",
        "sub": "someone",
        "iat": at,
        "exp": at + 600,
        "app_metadata": {"organisation_id": "acme", "backup_roles": ["operator", "king", 7]},
        **changes,
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})


@pytest.fixture
async def keys(tmp_path: Path) -> KeySet:
    """All three kinds of keys, in a file."""
    file = tmp_path / "jwks.json"
    file.write_bytes(_document(_jwk(EC_KEY, "ec"), _jwk(RSA_KEY, "rsa"), _jwk(ED_KEY, "ed")))
    keys = KeySet(file=file)
    await keys.refresh()
    return keys


async def test_all_three_algorithms_are_accepted(keys: KeySet) -> None:
    """ES256, RS256 and EdDSA tokens speak for a person."""
    verifier = TokenVerifier(keys, RULES, _Clock())
    for key, algorithm, key_id in ((EC_KEY, "ES256", "ec"), (RSA_KEY, "RS256", "rsa"), (ED_KEY, "EdDSA", "ed")):
        principal = verifier.verify(_token(key, algorithm, key_id))
        assert principal.actor == "user:someone"
        assert principal.organisation == "acme"
        assert principal.roles == {Role.OPERATOR}
        assert principal.may(Right.RUN_BACKUPS)


async def test_algorithm_follows_from_the_key_alone(keys: KeySet) -> None:
    """A token that claims another algorithm than its key's is refused, however it is signed."""
    verifier = TokenVerifier(keys, RULES, _Clock())
    for token in (_token(RSA_KEY, "RS256", "ec"), _token(EC_KEY, "ES256", "rsa"), _token(RSA_KEY, "PS256", "rsa")):
        with pytest.raises(PlatformError) as refused:
            verifier.verify(token)
        assert refused.value.code is errors.UNAUTHENTICATED


async def test_token_is_remembered_until_it_ends(keys: KeySet) -> None:
    """A token that was verified once is not verified again, and is no longer believed once it has ended."""
    clock = _Clock()
    verifier = TokenVerifier(keys, RULES, clock)
    token = _token(exp=int(_now().timestamp()) + 100)
    first = verifier.verify(token)
    assert verifier.verify(token) is first
    clock.time = _now() + timedelta(seconds=101)
    with pytest.raises(PlatformError):
        verifier.verify(token)


async def test_remembered_tokens_are_forgotten_when_keys_change(keys: KeySet, tmp_path: Path) -> None:
    """A withdrawn key ends the tokens that it signed at once."""
    verifier = TokenVerifier(keys, RULES, _Clock())
    token = _token()
    verifier.verify(token)
    (tmp_path / "jwks.json").write_bytes(_document(_jwk(ec.generate_private_key(ec.SECP256R1()), "ec")))
    await keys.refresh()
    with pytest.raises(PlatformError):
        verifier.verify(token)


async def test_remembering_is_bounded(keys: KeySet, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens there are, only the latest are remembered."""
    monkeypatch.setattr("gateway.auth.tokens.REMEMBERED_MAX", 3)
    verifier = TokenVerifier(keys, RULES, _Clock())
    for number in range(6):
        verifier.verify(_token(sub=f"someone-{number}"))
    assert len(verifier._remembered) == 3


async def test_claims_of_the_sign_in_are_evidence(keys: KeySet) -> None:
    """Assurance, factors and the token's id are kept; hooks may write factors as plain strings."""
    verifier = TokenVerifier(keys, RULES, _Clock())
    strong = verifier.verify(_token(aal="aal2", amr=[{"method": "totp", "timestamp": 1}, "password", 5], jti="token-1"))
    assert (strong.assurance, strong.factors, strong.token_id) == ("aal2", ("totp", "password"), "token-1")
    assert strong.factor_at == datetime.fromtimestamp(1, UTC)
    weak = verifier.verify(_token(amr="totp", session_id="session-1", app_metadata={"organisation_id": "acme"}))
    assert (weak.assurance, weak.factors, weak.token_id) == ("aal1", (), "session-1")
    assert weak.factor_at is None
    assert not weak.may(Right.READ)


@pytest.mark.parametrize(
    ("assurance", "seconds_ago", "has"),
    [("aal2", 60, True), ("aal2", 901, False), ("aal1", 60, False), ("aal2", None, False), ("aal2", -3600, False)],
)
def test_second_factor_counts_while_it_is_recent(assurance: str, seconds_ago: int | None, has: bool) -> None:
    """Of a factor without a time, or with one to come, nobody knows when it was given: it counts for nothing."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    given_at = None if seconds_ago is None else now - timedelta(seconds=seconds_ago)
    principal = Principal(
        actor="user:a",
        organisation="acme",
        roles=frozenset(Role),
        assurance=assurance,
        second_factor_at=given_at,
        expires_at=0.0,
    )
    assert principal.has_second_factor(now) is has


@pytest.mark.parametrize(
    ("method", "counts"), [("totp", True), ("mfa/webauthn", True), ("password", False), ("otp", False), (None, False)]
)
async def test_password_that_was_typed_anew_is_no_recent_second_factor(
    keys: KeySet, method: str | None, counts: bool
) -> None:
    """The factor of last year, and whatever was used a minute ago that is none."""
    now = int(_Clock().now().timestamp())
    amr = [{"method": "totp", "timestamp": now - 31_536_000}, {"method": method, "timestamp": now - 60}]
    principal = TokenVerifier(keys, RULES, _Clock()).verify(_token(aal="aal2", amr=amr))
    assert principal.factor_at == datetime.fromtimestamp(now - 60, UTC)
    assert principal.has_second_factor(_Clock().now()) is counts


async def test_paths_of_claims_are_settings(keys: KeySet) -> None:
    """Another identity provider may keep organisation and roles elsewhere."""
    rules = TokenRules(
        issuer=RULES.issuer, audience="authenticated", organisation_path="tenant", roles_path="resource.backup.roles"
    )
    principal = TokenVerifier(keys, rules, _Clock()).verify(
        _token(tenant="other", resource={"backup": {"roles": ["auditor"]}}, app_metadata=None)
    )
    assert (principal.organisation, principal.roles) == ("other", {Role.AUDITOR})


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    """Whatever is sent in a token's place is refused, and nothing else happens."""
    keys = KeySet(file=Path("/nowhere"))
    keys._read_at = time.monotonic()
    with pytest.raises(PlatformError) as refused:
        TokenVerifier(keys, RULES, _Clock()).verify(text)
    assert refused.value.code is errors.UNAUTHENTICATED


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_header_without_bearer_token_is_refused(header: str | None) -> None:
    """Only `Bearer <token>` is a token."""
    with pytest.raises(PlatformError):
        bearer_of(header)
    assert bearer_of("bearer  abc ") == "abc"


def test_unusable_keys_are_left_out() -> None:
    """Keys for encryption, of other curves, short, private, malformed or without an id are not taken."""
    short = rsa.generate_private_key(65537, 1024)
    other_curve = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
    document = _document(
        _jwk(EC_KEY, "good"),
        _jwk(EC_KEY, "for-encryption", use="enc"),
        _jwk(EC_KEY, "other-algorithm", alg="ES384"),
        {**other_curve, "kid": "other-curve"},
        _jwk(short, "short"),
        {**_jwk(EC_KEY, "private"), "d": "AAAA"},
        {name: value for name, value in _jwk(EC_KEY, "x").items() if name != "kid"},
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        {"kty": "EC", "crv": "P-256", "kid": "malformed", "x": "AAAA", "y": 1},
        {"kty": "RSA", "kid": "malformed-too", "n": "!", "e": ""},
    )
    assert set(jwks.parse(document)) == {"good"}


WITHOUT_KEYS = (b'{"keys": []}', b'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "x"}]}')
NO_KEY_SETS = (b"", b"{}", b"[]", b'{"keys": {}}', b'{"keys": [7]}', b"[" * 100_000)


@pytest.mark.parametrize("document", NO_KEY_SETS)
def test_document_that_is_no_key_set_is_an_error(document: bytes) -> None:
    """What cannot be read says nothing about the keys."""
    with pytest.raises(PlatformError) as unusable:
        jwks.parse(document)
    assert unusable.value.code is errors.INVALID_SETTING


@pytest.mark.parametrize("document", WITHOUT_KEYS)
async def test_file_without_usable_keys_stops_the_start(document: bytes, tmp_path: Path) -> None:
    """A gateway that could believe nobody does not start."""
    file = tmp_path / "jwks.json"
    file.write_bytes(document)
    with pytest.raises(PlatformError) as unusable:
        await KeySet(file=file).start()
    assert unusable.value.code is errors.INVALID_SETTING


@pytest.mark.parametrize(
    "url", ["http://idp.test/jwks", "http://10.0.0.1/jwks", "file:///etc/passwd", "idp", "http://[x", ""]
)
def test_keys_are_not_fetched_over_an_open_line(url: str) -> None:
    """Whoever is on the way could sign tokens for everybody; on the machine itself nobody is."""
    with pytest.raises(PlatformError) as refused:
        KeySet(url=url)
    assert refused.value.code is errors.INVALID_SETTING
    for trustworthy in ("https://idp.test/jwks", "http://localhost:1/jwks", "http://[::1]:1/jwks"):
        KeySet(url=trustworthy)


async def test_file_on_a_disk_that_hangs_is_told_in_time(tmp_path: Path) -> None:
    """Whoever signs in does not wait for the disk of the key set."""
    with hung_mount(tmp_path), pytest.raises(PlatformError, match="the key set's file cannot be read"):
        await asyncio.wait_for(KeySet(file=tmp_path / "jwks.json").start(), 20)


async def test_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """A wrong path is an error of the settings, told at once."""
    with pytest.raises(PlatformError) as missing:
        await KeySet(file=tmp_path / "nothing.json").start()
    assert missing.value.code is errors.INVALID_SETTING
    with pytest.raises(PlatformError):
        KeySet()
    with pytest.raises(PlatformError):
        KeySet(file=tmp_path / "a", url="https://b.test")


class _Provider:
    """An identity provider's key endpoint. `answer`: status and body; counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, _document(_jwk(EC_KEY, "ec")))
        self.asked = 0
        self.pause_seconds = 0.0
        provider = self

        class _Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                time.sleep(provider.pause_seconds)
                status, body = provider.answer
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/jwks"


@pytest.fixture
def provider() -> Iterator[_Provider]:
    """A provider on loopback."""
    provider = _Provider()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


async def test_provider_that_is_away_at_the_start_is_waited_for(
    provider: _Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys the gateway is up and not ready; it becomes ready by itself."""
    monkeypatch.setattr(jwks, "RETRY_SECONDS", 0.05)
    provider.answer = (503, b"")
    keys = KeySet(url=provider.url)
    await keys.start()
    await keys.loop.start()
    try:
        assert await keys.check() is not None
        provider.answer = (200, _document(_jwk(EC_KEY, "ec")))

        async def is_ready() -> bool:
            return await keys.check() is None

        await eventually(is_ready)
    finally:
        await keys.loop.stop()


async def test_unknown_key_id_asks_for_new_keys_in_the_background(provider: _Provider) -> None:
    """A rotated key is known soon after its first use; made-up ids do not become a flood."""
    keys = KeySet(url=provider.url)
    await keys.start()
    await keys.loop.start()
    try:
        assert keys.find("new") is None
        provider.answer = (200, _document(_jwk(EC_KEY, "ec"), _jwk(ED_KEY, "new")))
        await eventually(lambda: keys._keys.get("new"))
        asked = provider.asked
        for number in range(100):
            assert keys.find(f"made-up-{number}") is None
        await asyncio.sleep(0.05)
        assert provider.asked <= asked + 1
    finally:
        await keys.loop.stop()


@pytest.mark.parametrize("document", WITHOUT_KEYS)
async def test_provider_that_withdraws_all_keys_signs_nobody_in(provider: _Provider, document: bytes) -> None:
    """A well-formed answer is the truth, also an empty one: remembered tokens go, and readiness says it."""
    health = Health("gateway")
    keys = KeySet(url=provider.url, health=health)
    health.add(keys.name, keys.check)
    await keys.refresh()
    verifier, token = TokenVerifier(keys, RULES, _Clock()), _token()
    thumbprint = verifier.verify(token).signed_by
    assert keys.has(thumbprint)
    provider.answer = (200, document)
    await keys.refresh()
    assert not keys.has(thumbprint)
    with pytest.raises(PlatformError) as refused:
        verifier.verify(token)
    assert refused.value.code is errors.UNAUTHENTICATED
    report = await health.report()
    assert report.status == DEGRADED
    assert "no usable key" in str(report.checks)
    provider.answer = (200, _document(_jwk(EC_KEY, "ec")))
    await keys.refresh()
    assert verifier.verify(token).actor == "user:someone"
    assert (await health.report()).status == READY


@pytest.mark.parametrize("answer", [(500, b""), (404, b'{"keys": []}'), *((200, body) for body in NO_KEY_SETS)])
async def test_keys_of_a_silent_provider_are_believed_for_a_bounded_time(
    provider: _Provider, answer: tuple[int, bytes]
) -> None:
    """A provider that cannot be asked is no provider that has withdrawn: its keys go on, and end."""
    now = [1000.0]
    health = Health("gateway")
    keys = KeySet(url=provider.url, refresh_seconds=10, stale_seconds_max=60, health=health, clock=lambda: now[0])
    health.add(keys.name, keys.check)
    verifier, token = TokenVerifier(keys, RULES, _Clock()), _token()
    with pytest.raises(PlatformError) as unknown:
        verifier.verify(token)
    assert unknown.value.code is errors.IDENTITY_PROVIDER_UNAVAILABLE
    await keys.refresh()
    provider.answer = answer
    with pytest.raises(PlatformError):
        await keys.refresh()
    now[0] += 60
    assert verifier.verify(token).actor == "user:someone"
    assert (await health.report()).status == DEGRADED
    with pytest.raises(PlatformError) as unknown:
        verifier.verify(_token(key_id="rotated-meanwhile"))
    assert unknown.value.code is errors.IDENTITY_PROVIDER_UNAVAILABLE
    now[0] += 1
    with pytest.raises(PlatformError) as unknown:
        verifier.verify(token)
    assert unknown.value.code is errors.IDENTITY_PROVIDER_UNAVAILABLE
    assert (await health.report()).status == NOT_READY


async def test_age_of_keys_counts_from_the_question(provider: _Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the provider has withdrawn while an answer was on its way is not believed for longer."""
    now = [1000.0]
    keys = KeySet(url=provider.url, refresh_seconds=10, stale_seconds_max=60, clock=lambda: now[0])

    async def slow() -> bytes:
        now[0] += 61
        return _document(_jwk(EC_KEY, "ec"))

    monkeypatch.setattr(keys, "_load", slow)
    await keys.refresh()
    assert (found := await keys.check()) is not None
    assert found.code is errors.IDENTITY_PROVIDER_UNAVAILABLE


async def test_proxy_of_the_environment_does_not_carry_loopback(
    provider: _Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on this machine is asked directly: a proxy could put keys of its own in their place."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    keys = KeySet(url=provider.url)
    await keys.refresh()
    assert keys.find("ec") is not None


async def test_endless_answer_is_given_up(provider: _Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that never comes to an end cannot keep a withdrawn key in force."""
    monkeypatch.setattr(jwks, "FETCH_SECONDS_MAX", 0.05)
    provider.pause_seconds = 0.5
    with pytest.raises(PlatformError) as away:
        await KeySet(url=provider.url).refresh()
    assert away.value.code is errors.UNAVAILABLE


def test_keys_that_end_before_they_are_read_again_are_refused() -> None:
    """Two settings that contradict each other are told at the start, by name."""
    with pytest.raises(PlatformError) as refused:
        KeySet(url="https://idp.test/jwks", refresh_seconds=600, stale_seconds_max=600)
    assert refused.value.field == "WEDSYNC_JWKS_STALE_SECONDS_MAX"


async def test_provider_that_fails_leaves_the_keys_as_they_were(provider: _Provider) -> None:
    """Neither an error, nor nonsense, nor an endless answer takes the keys away."""
    keys = KeySet(url=provider.url)
    await keys.refresh()
    for answer in ((500, b""), (200, b"not json"), (302, b""), (200, b"x" * (jwks.DOCUMENT_BYTES_MAX + 1))):
        provider.answer = answer
        with pytest.raises(PlatformError):
            await keys.refresh()
        assert keys.find("ec") is not None


async def test_refreshing_outlives_a_fault(provider: _Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in one refresh, the next one is made: a withdrawn key must not stay for ever."""
    monkeypatch.setattr(jwks, "RETRY_SECONDS", 0.05)
    provider.answer = (503, b"")
    keys = KeySet(url=provider.url)
    faults = [RuntimeError("out of the blue")]

    def listen() -> None:
        if faults:
            raise faults.pop()

    keys.when_changed(listen)
    await keys.start()
    await keys.loop.start()
    try:
        provider.answer = (200, _document(_jwk(EC_KEY, "ec")))
        await eventually(lambda: not faults)
        provider.answer = (200, _document(_jwk(ED_KEY, "new")))
        await eventually(lambda: keys._keys.get("new"))
    finally:
        await keys.loop.stop()
