"""A Compose file: all processes on one machine beside Postgres, NATS and an S3 server in containers of their own.

Promise: nothing but the gateway's port is reached from outside; secrets are files, each given to the process that it
is for; of images the file names none. Object locks of an S3 server on the same machine are worth what that machine is
worth: a tier that is to outlast it is elsewhere (`docs/deployment.md`).
"""

from typing import Any

from deploy.postgres.settings import ADMIN_ROLE, DATABASE, SETTINGS
from deploy.production import containers
from deploy.production.processes import HTTP_PORT, PROCESSES, STOP_SECONDS, Process

INSIDE, OUTSIDE = "inside", "outside"
_OF_EMBEDDED = ("listen_addresses", "unix_socket_directories", "port")
"""Settings of a server that is alone with its users on loopback."""
_LOG = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def compose() -> dict[str, Any]:
    """The whole file."""
    services = {"postgres": _postgres(), "nats": _nats(), "s3": _s3()}
    services |= {process.name: _service(process) for process in PROCESSES}
    given = {name for process in PROCESSES for name in _secrets(process)}
    return {
        "name": "wedsync-backup",
        "services": services,
        # Without a way out of the machine; Docker's own rules keep it apart from other networks.
        "networks": {INSIDE: {"internal": True}, OUTSIDE: {}},
        "volumes": {"keys": {}, "cache": {}, "postgres": {}, "nats": {}, "s3": {}},
        "secrets": {name: {"file": f"./secrets/{name}"} for name in ("postgres-admin", *sorted(given))},
    }


def _secrets(process: Process) -> dict[str, str]:
    """A process's secrets: the name in this file, which is that of the file on the machine, and in the container."""
    return {
        f"seeds/{process.name}.seed": containers.NATS_SEED,
        f"passwords/{process.role}": containers.POSTGRES_PASSWORD,
    }


def _service(process: Process) -> dict[str, Any]:
    _, most = containers.memory_mb(process)
    asked = f"http://127.0.0.1:{containers.HEALTH_PORT}/health/live"
    service: dict[str, Any] = {
        "image": _needed("BACKUP_IMAGE"),
        "command": [process.module],
        **_hardened(),
        "user": f"{containers.USER}:{containers.USER}",
        "env_file": ["./wedsync.env"],
        "environment": process.settings(containers.places()),
        "secrets": [{"source": name, "target": target} for name, target in _secrets(process).items()],
        "volumes": [
            f"keys:{containers.KEYS}",
            f"./locations:{containers.LOCATIONS}:ro",
            f"./authorities:{containers.AUTHORITIES}:ro",
            *([f"cache:{containers.CACHE}"] if process.is_worker else []),
        ],
        "tmpfs": ["/tmp"],
        # Buckets, receivers and the identity provider are outside; so is whoever asks the gateway.
        "networks": [INSIDE, OUTSIDE] if process.is_open or process.reaches else [INSIDE],
        "healthcheck": {
            "test": ["CMD", "/opt/wedsync/venv/bin/python", "-c", f"import urllib.request as r; r.urlopen('{asked}')"],
            "interval": "30s",
            "timeout": "10s",
            "start_period": "60s",
        },
        "depends_on": {name: {"condition": "service_started"} for name in ("postgres", "nats")},
        "stop_grace_period": f"{STOP_SECONDS}s",
        "mem_limit": f"{most}m",
    }
    if process.is_open:
        service["ports"] = [f"${{BACKUP_ADDRESS:-127.0.0.1}}:{HTTP_PORT}:{HTTP_PORT}"]
    return service


def _postgres() -> dict[str, Any]:
    settings = {name: value for name, value in SETTINGS.items() if name not in _OF_EMBEDDED}
    return {
        "image": _needed("POSTGRES_IMAGE"),
        "command": ["postgres", *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
        "environment": {
            "POSTGRES_USER": ADMIN_ROLE,
            "POSTGRES_DB": DATABASE,
            "POSTGRES_PASSWORD_FILE": f"{containers.SECRETS}/postgres-admin",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --data-checksums --locale-provider=builtin --locale=C.UTF-8",
        },
        "secrets": ["postgres-admin"],
        "volumes": ["postgres:/var/lib/postgresql/data"],
        "networks": [INSIDE],
        "restart": "unless-stopped",
        "stop_signal": "SIGINT",
        "stop_grace_period": "60s",
        "shm_size": "256m",
        "logging": _LOG,
    }


def _nats() -> dict[str, Any]:
    return {
        "image": _needed("NATS_IMAGE"),
        "command": ["--config", "/etc/nats/nats.conf"],
        **_hardened(),
        "user": f"{containers.USER}:{containers.USER}",
        "volumes": [
            "./nats.conf:/etc/nats/nats.conf:ro",
            "./accounts.conf:/etc/nats/accounts.conf:ro",
            "nats:/var/lib/nats",
        ],
        "networks": [INSIDE],
        "stop_signal": "SIGUSR2",
        "stop_grace_period": "40s",
    }


def _s3() -> dict[str, Any]:
    return {
        "image": _needed("S3_IMAGE"),
        # For who has no buckets yet: `docker compose --profile s3 up`.
        "profiles": ["s3"],
        "command": ["server", "-dir=/data", "-s3", "-s3.config=/etc/s3/identities.json", "-master.telemetry=false"],
        "volumes": ["./s3-identities.json:/etc/s3/identities.json:ro", "s3:/data"],
        "networks": [INSIDE],
        "restart": "unless-stopped",
        "logging": _LOG,
    }


def _hardened() -> dict[str, Any]:
    return {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 1024,
        "restart": "unless-stopped",
        "logging": _LOG,
    }


def _needed(variable: str) -> str:
    return f"${{{variable}:?the image, by its digest}}"


def nats_conf() -> str:
    """The server's configuration; who may do what stands in `accounts.conf`, which `deploy.elsewhere` writes."""
    return "\n".join(
        [
            "# Written by `python -m deploy.production`.",
            "server_name: wedsync-backup",
            f"listen: 0.0.0.0:{containers.NATS_PORT}",
            "http: 127.0.0.1:8222",
            "max_payload: 1048576",
            "ping_interval: 20s",
            "write_deadline: 10s",
            "lame_duck_grace_period: 1s",
            "lame_duck_duration: 30s",
            "jetstream {",
            "  store_dir: /var/lib/nats",
            "  max_memory_store: 134217728",
            "  sync_interval: always",
            "}",
            "authorization { timeout: 2 }",
            "include accounts.conf",
            "",
        ]
    )
