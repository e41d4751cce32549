"""Who may reach whom in Kubernetes: nobody, and then what the processes need.

Where Postgres, NATS, buckets and receivers are, only an operator knows: the ports are named here, an overlay adds the
addresses. Which namespaces may come in, their labels say, which are the operator's to set.
"""

from typing import Any

from deploy.production import containers
from deploy.production.processes import HTTP_PORT, PROCESSES

ENTRANCE, WATCHERS = {"wedsync-backup/entrance": "true"}, {"wedsync-backup/monitoring": "true"}
"""Labels of the namespaces that the ingress, and Prometheus, are in."""
_DNS_PORT = 53


def policies() -> list[dict[str, Any]]:
    """The policies, the one that denies all first."""
    open_ones = [process.name for process in PROCESSES if process.is_open]
    # What differs is the port: one policy for all that talk to the same one.
    outside = {port for process in PROCESSES for port in process.reaches.values()}
    return [
        _policy("nothing", {}, ingress=[], egress=[]),
        _policy(
            "servers",
            {},
            egress=[
                {"ports": [_port(_DNS_PORT, "UDP"), _port(_DNS_PORT)]},
                {"ports": [_port(containers.POSTGRES_PORT)]},
                {"ports": [_port(containers.NATS_PORT)]},
            ],
        ),
        _policy("figures", {}, ingress=[_from(WATCHERS, containers.HEALTH_PORT)]),
        _policy("entrance", _named(open_ones), ingress=[_from(ENTRANCE, HTTP_PORT)]),
        *(
            _policy(
                f"outside-{port}",
                _named([process.name for process in PROCESSES if port in process.reaches.values()]),
                egress=[{"ports": [_port(port)]}],
            )
            for port in sorted(outside)
        ),
    ]


def _policy(name: str, selector: dict[str, Any], **rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "wedsync-backup"}},
        "spec": {
            "podSelector": selector,
            "policyTypes": [direction.capitalize() for direction in rules],
            **{direction: rule for direction, rule in rules.items() if rule},
        },
    }


def _named(names: list[str]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": names}]}


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": port, "protocol": protocol}


def _from(labels: dict[str, str], port: int) -> dict[str, Any]:
    return {"from": [{"namespaceSelector": {"matchLabels": labels}}], "ports": [_port(port)]}
