"""The gateway's settings: what every service needs, and who may come in from where."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from chassis.settings import ServiceSettings, variable_of
from contracts.errors import INVALID_SETTING, PlatformError

ClaimPath = Annotated[str, Meta(pattern=r"^[^.\s]+(\.[^.\s]+)*\Z")]
WebAddress = Annotated[
    str,
    # Host, port and path, and no credentials.
    Meta(
        pattern=r"^https?://(?=[^/:?#\s])(?:\[[0-9A-Fa-f:.]+\])?[^\s/@:?#\[\]]*(?::[0-9]{1,5})?(?:[/?]\S*)?\Z",
        examples=["https://login.example/jwks.json"],
    ),
]
Origin = Annotated[
    str,
    # As browsers write it: lower case, without a path, and without the port that the scheme has anyway. There is no
    # wildcard: whoever lets every page in has to name them, so `*` is refused like all that matches nothing.
    Meta(
        pattern=r"^(?!http://.*:80\Z|https://.*:443\Z)"
        r"[a-z][a-z0-9+.-]*://([a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?\Z",
        examples=["https://app.example.com"],
    ),
]

Price = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}=[0-9]{1,6}(\.[0-9]{1,9})?\Z", max_length=80, examples=["offsite=0.0036"]),
]

MinimumDays = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}=[0-9]{1,4}\Z", max_length=80, examples=["offsite=180"])
]

SERVICE = "gateway"


class Prices(msgspec.Struct, frozen=True):
    """What a gigabyte (10⁹ bytes) costs a month, by location. `date`: since when that is known to hold.

    `read_by_location`: what reading a gigabyte back costs; `minimum_days`: for so long what is stored is billed at
    least, wherever it is longer than not at all.
    """

    by_location: Mapping[str, float]
    currency: str
    date: str
    read_by_location: Mapping[str, float] = msgspec.field(default_factory=dict)
    minimum_days: Mapping[str, int] = msgspec.field(default_factory=dict)


class GatewaySettings(ServiceSettings, frozen=True, kw_only=True):
    """What the gateway reads from its environment."""

    WITHIN = {  # noqa: RUF012  # no field of the Struct, nor changed
        "connections_per_address": "connections_max",
        "writes_per_second": "organisation_writes_per_second",
        "writes_burst": "organisation_writes_burst",
    }

    http_host: Annotated[str, Meta(description="Address that the API listens on")] = "127.0.0.1"
    http_port: Annotated[int, Meta(description="Port of the API; 0 asks the system for a free one", ge=0, le=65535)] = (
        8080
    )
    jwks_file: Annotated[
        Path | None, Meta(description="JWKS document with the identity provider's keys; this or the URL")
    ] = None
    jwks_url: Annotated[WebAddress | None, Meta(description="URL of the identity provider's JWKS document")] = None
    jwks_refresh_seconds: Annotated[float, Meta(description="How often the keys are read again", ge=1, le=86_400)] = (
        600.0
    )
    jwks_stale_seconds_max: Annotated[
        float,
        Meta(
            description="How long the last keys are believed while no new ones can be read; after that nobody signs in",
            gt=0,
            le=604_800,
        ),
    ] = 7200.0
    compliance_schema: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,55}\Z",
            description="The schema of the compliance service, whose audit log the gateway's role may read",
        ),
    ] = "compliance"
    jwt_issuer: Annotated[str, Meta(description="The `iss` that a token must have")]
    jwt_audience: Annotated[str, Meta(description="The `aud` that a token must have")] = "authenticated"
    jwt_organisation_claim: Annotated[
        ClaimPath, Meta(description="Path of the claim with the organisation's id, steps separated by dots")
    ] = "app_metadata.organisation_id"
    jwt_roles_claim: Annotated[
        ClaimPath, Meta(description="Path of the claim with the list of roles, steps separated by dots")
    ] = "app_metadata.backup_roles"
    allowed_origins: Annotated[
        tuple[Origin, ...],
        Meta(
            description="Origins whose pages may use the API and the WebSocket (CORS), each by its name: `*` is refused"
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"),
    ] = ()
    connections_max: Annotated[
        int, Meta(description="Open connections of all clients of the API", ge=1, le=1_000_000)
    ] = 2000
    connections_per_address: Annotated[
        int,
        Meta(
            description="Open connections of one address, `WEDSYNC_CONNECTIONS_MAX` at most; trusted proxies have as "
            "many as they need",
            ge=1,
            le=1_000_000,
        ),
    ] = 500
    rate_per_second: Annotated[
        float, Meta(description="Requests per second and person in the long run", ge=0.001, le=1e6)
    ] = 100.0
    rate_burst: Annotated[float, Meta(description="Requests of a person at once", ge=1, le=1e6)] = 200.0
    writes_per_second: Annotated[
        float,
        Meta(
            description="Writes per second and person in the long run: what is written stays. "
            "`WEDSYNC_ORGANISATION_WRITES_PER_SECOND` at most",
            ge=0.001,
            le=1e6,
        ),
    ] = 10.0
    writes_burst: Annotated[
        float,
        Meta(description="Writes of a person at once, `WEDSYNC_ORGANISATION_WRITES_BURST` at most", ge=1, le=1e6),
    ] = 200.0
    organisation_writes_per_second: Annotated[
        float, Meta(description="Writes per second of all of an organisation in the long run", ge=0.001, le=1e6)
    ] = 50.0
    organisation_writes_burst: Annotated[float, Meta(description="Writes of an organisation at once", ge=1, le=1e6)] = (
        1000.0
    )
    sources_here: Annotated[
        bool,
        Meta(
            description="Whether the gateway sees the folders of sources as the workers do (machine, mounts, user): a "
            "configuration whose folder is not there, or not readable, is refused then. Otherwise the run says it"
        ),
    ] = False
    answer_wait_seconds: Annotated[
        float, Meta(description="How long a write waits for its answer before it is answered with 202", gt=0, le=30)
    ] = 2.5
    storage_prices: Annotated[
        tuple[Price, ...],
        Meta(
            description="What a gigabyte (10⁹ bytes) costs a month at each location, `LOCATION=PRICE`; what is not "
            "here is unknown"
        ),
    ] = ()
    storage_prices_read: Annotated[
        tuple[Price, ...],
        Meta(
            description="What reading a gigabyte back from a location costs (transfer out, retrieval), "
            "`LOCATION=PRICE`; what is not here is unknown: name what costs nothing with 0"
        ),
    ] = ()
    storage_minimum_days: Annotated[
        tuple[MinimumDays, ...],
        Meta(
            description="For how many days what is stored at a location is billed at least, `LOCATION=DAYS`; no such "
            "time at what is not here"
        ),
    ] = ()
    storage_prices_currency: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", examples=["EUR"])] | None, Meta(description="In which currency")
    ] = None
    storage_prices_date: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z", examples=["2026-11-01"])]
        | None,
        Meta(description="Since when these prices are known to hold"),
    ] = None
    sockets_per_organisation: Annotated[
        int, Meta(description="Open WebSockets of one organisation", ge=1, le=1_000_000)
    ] = 200

    def prices(self) -> Prices | None:
        """The table of prices; None where there is none."""
        if self.storage_prices_currency is None or self.storage_prices_date is None:
            return None
        return Prices(
            {name: float(price) for name, price in _named(self.storage_prices)},
            self.storage_prices_currency,
            self.storage_prices_date,
            {name: float(price) for name, price in _named(self.storage_prices_read)},
            {name: int(days) for name, days in _named(self.storage_minimum_days)},
        )

    def __post_init__(self) -> None:
        """Refuse what contradicts itself. Raises INVALID_SETTING with the variables."""
        super().__post_init__()
        if (self.jwks_file is None) == (self.jwks_url is None):
            file, url = variable_of("jwks_file"), variable_of("jwks_url")
            raise PlatformError(
                INVALID_SETTING,
                f"{'neither' if self.jwks_file is None else 'both'} of {file} and {url} "
                f"{'is' if self.jwks_file is None else 'are'} set",
                field=file,
                hint=f"Set exactly one of {file} and {url}.",
            )
        said = bool(self.storage_prices)
        if not said and (self.storage_prices_read or self.storage_minimum_days):
            name = "storage_prices_read" if self.storage_prices_read else "storage_minimum_days"
            raise PlatformError(
                INVALID_SETTING,
                f"{variable_of(name)} is nothing without {variable_of('storage_prices')}",
                field=variable_of(name),
                hint=f"Set {variable_of('storage_prices')} too, with its currency and date.",
            )
        told = (said, self.storage_prices_currency is None, self.storage_prices_date is None)
        if told not in ((True, False, False), (False, True, True)):
            names = [variable_of(f"storage_prices{each}") for each in ("", "_currency", "_date")]
            raise PlatformError(
                INVALID_SETTING,
                f"{', '.join(names)} are nothing one without the others",
                field=names[0],
                hint="Set all three, or none.",
            )
        for each in ("storage_prices", "storage_prices_read", "storage_minimum_days"):
            priced = [location for location, _ in _named(getattr(self, each))]
            if len(priced) != len(set(priced)):
                name = variable_of(each)
                hint = "Name each location once."
                raise PlatformError(INVALID_SETTING, f"{name} says two things of one location", field=name, hint=hint)
        if self.jwt_organisation_claim == self.jwt_roles_claim:
            organisation, roles = variable_of("jwt_organisation_claim"), variable_of("jwt_roles_claim")
            raise PlatformError(
                INVALID_SETTING,
                f"{organisation} and {roles} name the same claim: no token has an id and a list there",
                field=organisation,
                hint=f"Set {organisation} and {roles} to the claims that the identity provider writes.",
            )


def _named(table: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The locations of a table, each with what it says."""
    for each in table:
        name, _, said = each.partition("=")
        yield name, said
