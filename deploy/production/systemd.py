"""Units of systemd for one machine: a service for each process, and a target for all.

Promise: a process may do nothing that its work does not need, and no unit claims what a process does not give. It says
that it is ready (`READY=1`, once all parts have started) and that its event loop runs (`WATCHDOG=1`):
`chassis/life/init_system.py`. Exit code 78, a setting that can never work, is not tried again; all else is, for ever:
that Postgres is away for a night is no reason to be down in the morning.

Of another process's credentials none sees anything: systemd hands each its own, which root alone can read on disk.
"""

from deploy.production.processes import (
    PROCESSES,
    READY_SECONDS,
    SHARED,
    STOP_SECONDS,
    WORKER_MEMORY_MB,
    Places,
    Process,
)

ROOT = "/opt/wedsync-backup/current"
"""A link to the folder of the version that runs."""
SETTINGS_FILE = "/etc/wedsync/wedsync.env"
TARGET = "wedsync.target"
_FIRST_HEALTH_PORT = 9101
_WATCHDOG_SECONDS = 60
_HEAD = "# Written by `python -m deploy.production`; yours go into a drop-in (docs/deployment.md)."

_SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""
_LIMITS = """\
LimitNOFILE=65536
# What a process of ours has in its memory are keys.
LimitCORE=0
TasksMax=1024
"""


def units() -> dict[str, str]:
    """The text of each unit by its file's name."""
    return {TARGET: _target(), **{unit_of(process): _service(process) for process in PROCESSES}}


def unit_of(process: Process) -> str:
    """The file's name of a process's unit."""
    return f"wedsync-{process.name}.service"


def places_of(process: Process) -> Places:
    """Where things lie on the machine. `%d`: the folder of the unit's credentials, `%C`: that of all caches."""
    return Places(
        keys="/var/lib/wedsync/keys",
        locations="/etc/wedsync/locations.json",
        seed="%d/nats-seed",
        password="%d/postgres-password",  # the file that has it
        cache="%C/wedsync",
        excluded=("/etc/wedsync", "/var/lib/wedsync", "/var/cache/wedsync"),
        http_host="127.0.0.1",
        health_host="127.0.0.1",
        health_port=_FIRST_HEALTH_PORT + PROCESSES.index(process),
    )


def _target() -> str:
    return "\n".join(
        [
            _HEAD,
            "[Unit]",
            "Description=WedSync Backup, all processes",
            f"Wants={' '.join(unit_of(process) for process in PROCESSES)}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _service(process: Process) -> str:
    lines = [
        _HEAD,
        "[Unit]",
        f"Description=WedSync Backup, {process.name}",
        "Wants=network-online.target",
        "After=network-online.target",
        f"PartOf={TARGET}",
        # Where they have a disk of their own it is there first; that its mount point is empty the process says.
        "RequiresMountsFor=/var/lib/wedsync/keys",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={ROOT}/.venv/bin/python -P -m {process.module}",
        "User=wedsync",
        "Group=wedsync",
        f"WorkingDirectory={ROOT}",
        # Not by -P alone: a process of ours that starts another one of ours does not hand that on.
        f"Environment=PYTHONPATH={ROOT} PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1",
        f"# {', '.join(SHARED)}, and whatever else docs/settings.md names.",
        f"EnvironmentFile={SETTINGS_FILE}",
        f"LoadCredential=nats-seed:/etc/wedsync/seeds/{process.name}.seed",
        f"LoadCredential=postgres-password:/etc/wedsync/passwords/{process.role}",
        *(f"Environment={name}={value}" for name, value in process.settings(places_of(process)).items()),
        f"TimeoutStartSec={READY_SECONDS}",
        f"TimeoutStopSec={STOP_SECONDS}",
        f"WatchdogSec={_WATCHDOG_SECONDS}",
        "KillMode=mixed",
        "Restart=always",
        "RestartSec=2",
        "RestartPreventExitStatus=78",
        "",
        "StateDirectory=wedsync",
        "StateDirectoryMode=0700",
        *(["CacheDirectory=wedsync", "CacheDirectoryMode=0700"] if process.is_worker else []),
        *_SANDBOX.splitlines(),
        *_own_sandbox(process),
        *_LIMITS.splitlines(),
        *_memory(process),
        "",
        "[Install]",
        f"WantedBy={TARGET}",
        "",
    ]
    return "\n".join(lines)


def _own_sandbox(process: Process) -> list[str]:
    """What the work of one process asks for, and that of the others does not."""
    if process.name == "executor-worker":
        # It reads sources. Of other users' files by a drop-in with CAP_DAC_READ_SEARCH, on an operator's word.
        return ["ProtectHome=read-only", "RestrictSUIDSGID=yes"]
    if process.name == "recovery":
        # It looks at the folder that is restored to.
        return ["ProtectHome=read-only", "RestrictSUIDSGID=yes"]
    if process.name == "recovery-worker":
        # A restored file has the bits that the saved one had, setuid and setgid as well. Where to is a drop-in's.
        return ["ProtectHome=read-only"]
    return ["ProtectHome=yes", "RestrictSUIDSGID=yes"]


def _memory(process: Process) -> list[str]:
    """A worker that takes more than it may is ended alone, and its runs go on at another one."""
    if process.name == "executor-worker":
        return [f"MemoryHigh={2 * WORKER_MEMORY_MB}M", f"MemoryMax={3 * WORKER_MEMORY_MB}M", "OOMPolicy=kill"]
    return ["MemoryMax=2G", "OOMPolicy=kill"] if process.is_worker else ["MemoryMax=1G", "OOMPolicy=stop"]
