"""Settings of the gateway that bind nothing or contradict each other."""

import pytest

from chassis.settings import load
from contracts import errors
from contracts.errors import PlatformError
from gateway.settings import GatewaySettings, Prices

REQUIRED = {
    "WEDSYNC_POSTGRES_DSN": "host=x",
    "WEDSYNC_POSTGRES_SCHEMA": "gateway",
    "WEDSYNC_NATS_URL": "nats://x",
    "WEDSYNC_KEYS_DIR": "/keys",
    "WEDSYNC_LOCATIONS_FILE": "/locations",
    "WEDSYNC_JWKS_FILE": "/jwks.json",
    "WEDSYNC_JWT_ISSUER": "https://issuer.example",
}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RATE_BURST", "inf"),
        ("RATE_PER_SECOND", "1e-300"),
        ("ANSWER_WAIT_SECONDS", "nan"),
        ("JWKS_REFRESH_SECONDS", "1e-9"),
        ("CONNECTIONS_MAX", "99999999999999999999999"),
        ("JWT_ORGANISATION_CLAIM", "a..b"),
        ("JWT_ROLES_CLAIM", ".a"),
        ("JWT_AUDIENCE", ""),
        ("JWKS_URL", "issuer.example/jwks"),
        ("JWKS_URL", "https://issuer.example:banana/jwks"),
        ("JWKS_URL", "https://me:hush@issuer.example/jwks"),
        ("ALLOWED_ORIGINS", "example.com/x"),
        ("ALLOWED_ORIGINS", "https://app.example.com/"),
        ("ALLOWED_ORIGINS", "https://App.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com:443"),
        ("ALLOWED_ORIGINS", "http://app.example.com:80"),
        ("ALLOWED_ORIGINS", "https://app.example.com, *"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "null"),
        ("STORAGE_PRICES", "offsite=-1"),
        ("STORAGE_PRICES", "offsite=1e9"),
        ("STORAGE_PRICES", "offsite=1,offsite=2"),
        ("STORAGE_PRICES_CURRENCY", "euro"),
        ("STORAGE_PRICES_DATE", "2026-13-01"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_its_name(variable: str, value: str) -> None:
    """At the start, and not by answers that fail later."""
    with pytest.raises(PlatformError) as refused:
        load(GatewaySettings, {**REQUIRED, f"WEDSYNC_{variable}": value})
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == f"WEDSYNC_{variable}"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"CONNECTIONS_MAX": "10", "CONNECTIONS_PER_ADDRESS": "500"}, ["CONNECTIONS_PER_ADDRESS", "CONNECTIONS_MAX"]),
        ({"WRITES_PER_SECOND": "60"}, ["WRITES_PER_SECOND", "ORGANISATION_WRITES_PER_SECOND"]),
        ({"ORGANISATION_WRITES_BURST": "5", "WRITES_BURST": "6"}, ["WRITES_BURST", "ORGANISATION_WRITES_BURST"]),
        ({"JWKS_URL": "https://issuer.example/jwks"}, ["JWKS_FILE", "JWKS_URL"]),
        ({"STORAGE_PRICES": "a=1"}, ["STORAGE_PRICES", "STORAGE_PRICES_CURRENCY", "STORAGE_PRICES_DATE"]),
        ({"STORAGE_PRICES_CURRENCY": "EUR"}, ["STORAGE_PRICES", "STORAGE_PRICES_CURRENCY"]),
        ({"JWKS_FILE": ""}, ["JWKS_FILE", "JWKS_URL"]),
        ({"JWT_ROLES_CLAIM": "app_metadata.organisation_id"}, ["JWT_ORGANISATION_CLAIM", "JWT_ROLES_CLAIM"]),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_both_names(
    given: dict[str, str], named: list[str]
) -> None:
    """Whoever set them learns which one to change."""
    with pytest.raises(PlatformError) as refused:
        load(GatewaySettings, {**REQUIRED, **{f"WEDSYNC_{name}": value for name, value in given.items()}})
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == f"WEDSYNC_{named[0]}"
    assert all(f"WEDSYNC_{name}" in refused.value.message for name in named)


@pytest.mark.parametrize(
    "url", ["https://a.example/auth/v1/jwks?apikey=x", "http://127.0.0.1:54321/", "http://[::1]:80"]
)
def test_address_of_the_keys_is_taken_as_providers_write_it(url: str) -> None:
    """Host, port, path and question."""
    settings = {name: value for name, value in REQUIRED.items() if name != "WEDSYNC_JWKS_FILE"}
    assert load(GatewaySettings, {**settings, "WEDSYNC_JWKS_URL": url}).jwks_url == url


def test_prices_are_a_table_with_currency_and_date_or_there_are_none() -> None:
    """What is not in it is unknown, and so is all without it."""
    assert load(GatewaySettings, REQUIRED).prices() is None
    given = {"STORAGE_PRICES": "local=0,offsite=0.0036", "STORAGE_PRICES_CURRENCY": "EUR"}
    given["STORAGE_PRICES_DATE"] = "2026-11-01"
    settings = load(GatewaySettings, {**REQUIRED, **{f"WEDSYNC_{name}": value for name, value in given.items()}})
    assert settings.prices() == Prices({"local": 0.0, "offsite": 0.0036}, "EUR", "2026-11-01")


def test_origins_are_taken_as_browsers_write_them() -> None:
    """Names, addresses and schemes of applications; the defaults contradict nothing."""
    origins = "https://app.example.com,http://localhost:3000,http://[::1]:3000,http://10.0.0.7,capacitor://localhost"
    settings = load(GatewaySettings, {**REQUIRED, "WEDSYNC_ALLOWED_ORIGINS": origins})
    assert settings.allowed_origins == tuple(origins.split(","))
