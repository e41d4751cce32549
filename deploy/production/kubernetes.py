"""Manifests for Kubernetes, as a base for Kustomize: what every installation has in common.

Promise: every pod passes the *restricted* standard for pods; a process is given its own secret and no other; what is
not written down in `deploy.production.network` nobody may reach. Readiness of a process is its own word; the gateway's
is that it answers, since with NATS away all gateways would leave the service, and refuse reads that they can answer.
"""

from typing import Any

from deploy.production import containers, network
from deploy.production.processes import HTTP_PORT, PROCESSES, READY_SECONDS, STOP_SECONDS, Process

NAMESPACE = "wedsync-backup"
IMAGE = "wedsync-backup"
"""A name that stands for the image: an overlay puts its address and digest in its place."""
PART_OF = {"app.kubernetes.io/part-of": NAMESPACE}
NAME = "app.kubernetes.io/name"
SETTINGS, LOCATIONS, AUTHORITIES, KEYS = "wedsync-settings", "wedsync-locations", "wedsync-authorities", "wedsync-keys"
_PROBE_SECONDS = 10
_LEAVE_SECONDS = 5
"""Until a gateway that ends is no longer sent to. It answers meanwhile."""

Manifest = dict[str, Any]


def manifests() -> dict[str, list[Manifest]]:
    """The manifests of the base, by the file that they are in."""
    files = {
        "namespace.yaml": [_namespace()],
        "keys.yaml": [_keys()],
        "network.yaml": network.policies(),
        **{f"{process.name}.yaml": _of(process) for process in PROCESSES},
    }
    return files | {"kustomization.yaml": [_kustomization(sorted(files))]}


def external_secrets() -> dict[str, list[Manifest]]:
    """A component that has the External Secrets Operator make the secrets, from a store named `wedsync`."""
    secrets = [_external_secret(process) for process in PROCESSES]
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": ["secrets.yaml"],
    }
    return {"kustomization.yaml": [component], "secrets.yaml": secrets}


def secret_of(process: Process) -> str:
    """The name of a process's secret; its keys are `nats-seed` and `postgres-password`."""
    return f"wedsync-{process.name}"


def _namespace() -> Manifest:
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": levels}}


def _keys() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": KEYS, "labels": PART_OF},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _kustomization(files: list[str]) -> Manifest:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": files,
    }


def _of(process: Process) -> list[Manifest]:
    made = [_account(process), _deployment(process)]
    if process.replicas > 1:
        made.append(_budget(process))
    if process.is_open:
        made.append(_door(process))
    return made


def _metadata(process: Process) -> Manifest:
    return {"name": process.name, "labels": {NAME: process.name, **PART_OF}}


def _account(process: Process) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(process),
        # No process of ours asks Kubernetes anything.
        "automountServiceAccountToken": False,
    }


def _deployment(process: Process) -> Manifest:
    labels = {NAME: process.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(process),
        "spec": {
            "replicas": process.replicas,
            "selector": {"matchLabels": labels},
            # The new one is ready before the old one goes: versions beside each other understand each other.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels | PART_OF}, "spec": _pod(process, labels)},
        },
    }


def _pod(process: Process, labels: dict[str, str]) -> Manifest:
    pod = {
        "serviceAccountName": process.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS + _LEAVE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": containers.USER,
            "runAsGroup": containers.USER,
            "fsGroup": containers.USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(process)],
        "volumes": _volumes(process),
    }
    if process.replicas > 1:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ]
    return pod


def _container(process: Process) -> Manifest:
    requested, most = containers.memory_mb(process)
    settings = process.settings(containers.places())
    container: Manifest = {
        "name": process.name,
        "image": IMAGE,
        "args": [process.module],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "ports": [{"name": "health", "containerPort": containers.HEALTH_PORT}],
        "startupProbe": _probe("/health/live", "health", failures=READY_SECONDS // _PROBE_SECONDS),
        "livenessProbe": _probe("/health/live", "health", failures=6),
        "readinessProbe": _probe("/health/ready", "health", failures=3),
        "resources": {
            "requests": {"cpu": "100m", "memory": f"{requested}Mi"},
            # None of the processor: who may take what is free is done sooner.
            "limits": {"memory": f"{most}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "secrets", "mountPath": containers.SECRETS, "readOnly": True},
            {"name": "keys", "mountPath": containers.KEYS},
            {"name": "locations", "mountPath": containers.LOCATIONS, "readOnly": True},
            {"name": "authorities", "mountPath": containers.AUTHORITIES, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
    }
    if process.is_worker:
        container["volumeMounts"].append({"name": "cache", "mountPath": containers.CACHE})
    if process.is_open:
        container["ports"].append({"name": "http", "containerPort": HTTP_PORT})
        container["readinessProbe"] = _probe("/health/live", "http", failures=3)
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}}
    return container


def _probe(path: str, port: str, *, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": _PROBE_SECONDS,
        # Readiness asks Postgres, NATS and disks, five seconds each at the same time.
        "timeoutSeconds": 7,
        "failureThreshold": failures,
    }


def _volumes(process: Process) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "secrets", "secret": {"secretName": secret_of(process), "defaultMode": 0o440}},
        {"name": "keys", "persistentVolumeClaim": {"claimName": KEYS}},
        {"name": "locations", "configMap": {"name": LOCATIONS}},
        {"name": "authorities", "configMap": {"name": AUTHORITIES}},
        {"name": "scratch", "emptyDir": {}},
    ]
    return [*volumes, {"name": "cache", "emptyDir": {"sizeLimit": "3Gi"}}] if process.is_worker else volumes


def _budget(process: Process) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(process),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {NAME: process.name}}},
    }


def _door(process: Process) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(process),
        "spec": {
            "selector": {NAME: process.name},
            "ports": [{"name": "http", "port": HTTP_PORT, "targetPort": "http"}],
        },
    }


def _external_secret(process: Process) -> Manifest:
    keys = {
        containers.NATS_SEED: f"wedsync/nats/{process.name}",
        containers.POSTGRES_PASSWORD: f"wedsync/postgres/{process.role}",
    }
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": secret_of(process), "labels": PART_OF},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "SecretStore", "name": "wedsync"},
            "target": {"name": secret_of(process), "creationPolicy": "Owner"},
            "data": [{"secretKey": name, "remoteRef": {"key": place}} for name, place in keys.items()],
        },
    }
