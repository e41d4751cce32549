"""How a process runs in a container, of Compose as of Kubernetes: as nobody in particular, on a disk it cannot write.

`deploy/image/Containerfile` makes the image; its entry point is Python with `-m`, and there is no shell in it.
"""

from deploy.production.processes import WORKER_MEMORY_MB, Places, Process

USER = 10001
"""Of the image, too. Whoever mounts the folder of the keys gives it to this user."""
HEALTH_PORT = 8081
NATS_PORT, POSTGRES_PORT = 4222, 5432
KEYS = "/var/lib/wedsync/keys"
CACHE = "/var/cache/wedsync"
LOCATIONS = "/etc/wedsync/locations"
"""A folder with the registry in it: a file that is mounted alone would never change."""
AUTHORITIES = "/etc/wedsync/authorities"
"""The folder that the operator's settings name certificates in."""
SECRETS = "/run/secrets"
NATS_SEED, POSTGRES_PASSWORD = "nats-seed", "postgres-password"  # names of files


def places() -> Places:
    """Where things lie in every container."""
    return Places(
        keys=KEYS,
        locations=f"{LOCATIONS}/locations.json",
        seed=f"{SECRETS}/{NATS_SEED}",
        password=f"{SECRETS}/{POSTGRES_PASSWORD}",
        cache=CACHE,
        excluded=("/etc/wedsync", KEYS, CACHE, SECRETS),
        http_host="0.0.0.0",  # of a container of its own, behind a network policy
        health_host="0.0.0.0",  # as above: probes and Prometheus come from outside
        health_port=HEALTH_PORT,
    )


def memory_mb(process: Process) -> tuple[int, int]:
    """What a process is promised, and what it may take: a worker has its runs' memory, and as much again beside it."""
    if process.name == "executor-worker":
        return 2 * WORKER_MEMORY_MB, 3 * WORKER_MEMORY_MB
    return (512, 2048) if process.is_worker else (256, 1024)
