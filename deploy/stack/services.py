"""Our own processes as parts: each gets its own identity for Postgres and NATS, and no more of the environment."""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from contracts import errors
from contracts import subjects as names
from contracts.errors import PlatformError
from deploy.postgres.schemas import ROLES
from deploy.stack import nats, postgres
from deploy.stack.child import Launch
from deploy.stack.early import TOGETHER
from deploy.stack.files import write_atomically
from deploy.stack.identity_provider import AUDIENCE, ISSUER
from deploy.stack.install import TOPOLOGY_STEP, schema_step_name
from deploy.stack.interpreter import python_path
from deploy.stack.layout import Layout
from deploy.stack.part import Part
from deploy.stack.ports import LOOPBACK
from deploy.stack.probes import all_well, http_ready, service_ready
from deploy.stack.secrets import Secrets

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
PASSED_ON_PREFIXES = ("COVERAGE_", "WEDSYNC_")
"""What the caller has set of the platform's settings reaches the processes, but for those that the stack decides."""
DECIDED = frozenset(
    f"WEDSYNC_{name}"
    for name in (
        *("EXCLUDED_FOLDERS", "TIER_FOLDERS", "POSTGRES_DSN", "POSTGRES_SCHEMA", "NATS_URL", "NATS_SEED_FILE"),
        *("POSTGRES_ROLE", "POSTGRES_PASSWORD_FILE", "HEALTH_HOST", "HEALTH_PORT", "KEYS_DIR", "LOCATIONS_FILE"),
        *("HTTP_PORT", "JWKS_FILE", "JWT_ISSUER", "JWT_AUDIENCE"),
        "SOURCES_HERE",
    )
)
"""What the stack decides itself, by the home."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process. `identity`: its NATS identity, also its name. `service`: whose schema and role it uses."""

    identity: str
    module: str
    service: str
    ports: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def port_names(self) -> list[str]:
        """The names of its ports; the first is the one of its health report."""
        return [f"{self.identity}.health", *self.ports]


GATEWAY = Service(identity="gateway", module="gateway", service="gateway", ports=("gateway",))


def _processes_of(service: str) -> tuple[Service, ...]:
    """A service's own process, and its workers' where it has a module for them."""
    deciding = Service(identity=service, module=f"services.{service}", service=service)
    worker = f"services.{service}.worker"
    if importlib.util.find_spec(worker) is None:
        return (deciding,)
    return (deciding, Service(identity=f"{service}-worker", module=worker, service=service))


SERVICES = (*(each for name in names.SERVICES if name != "gateway" for each in _processes_of(name)), GATEWAY)

HOSTS = {"dr": "compliance"}
"""Small services that share another's process here, by the host that they are beside (ADR 0091)."""
PROCESSES = tuple(service for service in SERVICES if service.identity not in HOSTS)


def hosted_by(service: Service) -> tuple[Service, ...]:
    """The services that share a process beside its own."""
    return tuple(each for each in SERVICES if HOSTS.get(each.identity) == service.identity)


def port_names() -> list[str]:
    """The names of all ports of our own processes."""
    return [name for service in SERVICES for name in service.port_names()]


def write_targets(layout: Layout) -> None:
    """Tell Prometheus where the processes' figures are: a file of the kind that its `file_sd_configs` reads."""
    targets = [
        {
            "targets": [f"{LOOPBACK}:{layout.port(f'{service.identity}.health')}"],
            "labels": {"instance": service.identity},
        }
        for service in SERVICES
    ]
    write_atomically(layout.targets_file, msgspec.json.format(msgspec.json.encode(targets), indent=2))


def service_part(layout: Layout, secrets: Secrets, service: Service) -> Part:
    """A process as a part. It is ready when its own `/health/ready` says so."""
    health = layout.port(f"{service.identity}.health")
    others = hosted_by(service)
    ports = {
        "health": health,
        **{("http" if name == service.identity else name): layout.port(name) for name in service.ports},
        **{f"{each.identity}-health": layout.port(f"{each.identity}.health") for each in others},
    }

    def launch() -> Launch:
        beside = {each.module: environment_of(layout, secrets, each) for each in others}
        return Launch(
            argv=(sys.executable, "-m", "deploy.stack.early", service.module, *beside),
            waits=True,
            environment={
                **environment_of(layout, secrets, service),
                **({TOGETHER: json.dumps(beside)} if beside else {}),
            },
            folder=layout.run,
            log=layout.log(service.identity),
        )

    return Part(
        name=service.identity,
        launch=launch,
        probe=all_well([service_ready(health), *(service_ready(ports[f"{each.identity}-health"]) for each in others)]),
        live=all_well([http_ready(ports[name], "/health/live") for name in ports if name.endswith("health")]),
        log=layout.log(service.identity),
        needs=(*(schema_step_name(each.service) for each in (service, *others)), TOPOLOGY_STEP),
        ports=ports,
        is_loaded_early=True,
    )


def refuse_decided(environ: Mapping[str, str]) -> None:
    """Raise INVALID_SETTING where the caller has set what would not count: the stack decides it by its home."""
    for name in sorted(DECIDED & environ.keys()):
        if environ[name].strip():
            raise PlatformError(
                errors.INVALID_SETTING,
                f"{name} is set, and the embedded platform decides it itself",
                field=name,
                hint=f"Unset {name}; `wedsync-backup status` shows addresses and ports as they are.",
            )


def environment_of(layout: Layout, secrets: Secrets, service: Service) -> dict[str, str]:
    """All settings of one process. It holds a password: not for logs."""
    role = ROLES[service.service]
    inherited = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    folders = (layout.keys, layout.config, layout.data, layout.logs, layout.run)
    settings = {
        "WEDSYNC_EXCLUDED_FOLDERS": json.dumps([str(folder) for folder in folders]),
        "WEDSYNC_TIER_FOLDERS": json.dumps([str(layout.data / "tiers")]),
        "WEDSYNC_POSTGRES_DSN": postgres.dsn(layout, role=role, password=secrets.postgres_roles[role]),
        "WEDSYNC_POSTGRES_SCHEMA": service.service,
        "WEDSYNC_NATS_URL": nats.url(layout),
        "WEDSYNC_NATS_SEED_FILE": str(nats.seed_file(layout, service.identity)),
        "WEDSYNC_HEALTH_HOST": LOOPBACK,
        "WEDSYNC_HEALTH_PORT": str(layout.port(f"{service.identity}.health")),
        "WEDSYNC_KEYS_DIR": str(layout.platform_keys),
        "WEDSYNC_LOCATIONS_FILE": str(layout.locations_file),
    }
    if service is GATEWAY:
        settings |= {
            "WEDSYNC_HTTP_PORT": str(layout.port("gateway")),
            "WEDSYNC_JWKS_FILE": str(layout.jwks_file),
            "WEDSYNC_JWT_ISSUER": ISSUER,
            "WEDSYNC_JWT_AUDIENCE": AUDIENCE,
            "WEDSYNC_SOURCES_HERE": "true",
        }
    if service.identity == "executor-worker" and "WEDSYNC_CACHE" not in inherited:
        settings["WEDSYNC_CACHE"] = str(layout.data / "cache")
    return {
        **inherited,
        # The same code as the supervisor's, and nothing that lies in the working folder.
        "PYTHONPATH": python_path(),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
