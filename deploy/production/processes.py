"""What each process is given in production, whatever starts it: its settings, its secrets, whom it talks to.

Promise: a process has its own role, its own password and its own NATS identity, and no file of another's. What is the
same for all of them and differs from one installation to the next (`SHARED`) is the operator's: a file of settings, a
config map. Whatever else a process reads has the default that `docs/settings.md` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.postgres.schemas import ROLES
from deploy.stack.services import GATEWAY, SERVICES, Service

SHARED = ("WEDSYNC_POSTGRES_DSN", "WEDSYNC_NATS_URL", "WEDSYNC_NATS_CA_FILE")
"""The operator's, of every process. The connection string names server and database, and no role."""
OF_THE_GATEWAY = ("WEDSYNC_JWKS_URL", "WEDSYNC_JWT_ISSUER")
"""The operator's as well, of the gateway alone: who signs the tokens of people."""
HTTP_PORT = 8080
WORKER_MEMORY_MB = 976
"""What fifty runs of a worker share: said, since half of a machine that others use as well is no measure."""
STOP_SECONDS = 15
"""A process takes eight seconds at most for its stop."""
READY_SECONDS = 180
"""A start waits for Postgres and NATS."""
_TO_S3 = frozenset({"executor-worker", "recovery-worker"})
_TO_THE_WEB = {"gateway": "the identity provider's keys", "config": "webhooks and other receivers of notifications"}
_SEVERAL = {"gateway": 2, "executor": 2, "recovery": 2, "executor-worker": 2, "recovery-worker": 2}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things lie for a process: of its own are seed, password and cache. `health`: address and port."""

    keys: str
    locations: str
    seed: str
    password: str
    cache: str
    excluded: tuple[str, ...]
    http_host: str
    health_host: str
    health_port: int


@dataclass(frozen=True)
class Process:
    """One of the platform's processes."""

    service: Service

    @property
    def name(self) -> str:
        """Its NATS identity, also the name of its unit and its deployment."""
        return self.service.identity

    @property
    def module(self) -> str:
        """What Python runs."""
        return self.service.module

    @property
    def role(self) -> str:
        """Its role in Postgres."""
        return ROLES[self.service.service]

    @property
    def is_worker(self) -> bool:
        """Whether it opens repositories, and reads and writes what is saved."""
        return self.name.endswith("-worker")

    @property
    def replicas(self) -> int:
        """How many there are to begin with. Of deciding processes one publishes at a time; others stand by."""
        return _SEVERAL.get(self.name, 1)

    @property
    def is_open(self) -> bool:
        """Whether people reach it."""
        return self.service is GATEWAY

    @property
    def reaches(self) -> Mapping[str, int]:
        """Whom it talks to beside Postgres, NATS and the names of hosts: what for, and the port."""
        wanted = {_TO_THE_WEB[self.name]: 443} if self.name in _TO_THE_WEB else {}
        return wanted | ({"buckets of tiers, sources and targets": 443} if self.name in _TO_S3 else {})

    def settings(self, places: Places) -> dict[str, str]:
        """Its own settings, beside those that are the operator's."""
        found = {
            "WEDSYNC_POSTGRES_ROLE": self.role,
            "WEDSYNC_POSTGRES_PASSWORD_FILE": places.password,
            "WEDSYNC_POSTGRES_SCHEMA": self.service.service,
            "WEDSYNC_NATS_SEED_FILE": places.seed,
            "WEDSYNC_KEYS_DIR": places.keys,
            "WEDSYNC_LOCATIONS_FILE": places.locations,
            "WEDSYNC_EXCLUDED_FOLDERS": ",".join(places.excluded),
            "WEDSYNC_HEALTH_HOST": places.health_host,
            "WEDSYNC_HEALTH_PORT": str(places.health_port),
        }
        if self.name == "executor-worker":
            found |= {"WEDSYNC_CACHE": places.cache, "WEDSYNC_WORKER_MEMORY_MB": str(WORKER_MEMORY_MB)}
        if self.is_open:
            found |= {"WEDSYNC_HTTP_HOST": places.http_host, "WEDSYNC_HTTP_PORT": str(HTTP_PORT)}
        return found


PROCESSES = tuple(Process(service) for service in SERVICES)
