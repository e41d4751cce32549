"""Units and manifests: what is written is what is committed, what a process reads, serves and may have."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chassis.life.health import Health, answer
from chassis.settings import load
from chassis.telemetry.instruments import Telemetry
from deploy.nats.permissions import identities
from deploy.production import compose, containers, kubernetes, network, systemd
from deploy.production.__main__ import FOLDER, files, stale
from deploy.production.processes import HTTP_PORT, OF_THE_GATEWAY, PROCESSES, SHARED, Process
from gateway.groups.service import open_routes
from tests.architecture.packages import PACKAGES, ROOT
from tests.unit.deploy.test_services import settings_of

OPERATORS = {
    "WEDSYNC_POSTGRES_DSN": "host=db.example dbname=wedsync sslmode=verify-full",
    "WEDSYNC_NATS_URL": "tls://nats.example:4222",
    "WEDSYNC_NATS_CA_FILE": "/etc/wedsync/nats-ca.pem",
    "WEDSYNC_JWKS_URL": "https://login.example/jwks.json",
    "WEDSYNC_JWT_ISSUER": "https://login.example",
}
DIRECTIVES = {
    "Unit": {"Description", "Wants", "After", "PartOf", "RequiresMountsFor", "StartLimitIntervalSec"},
    "Install": {"WantedBy"},
    "Service": {
        *("Type", "NotifyAccess", "ExecStart", "User", "Group", "WorkingDirectory", "Environment", "EnvironmentFile"),
        *("LoadCredential", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "KillMode", "Restart", "RestartSec"),
        *("RestartPreventExitStatus", "StateDirectory", "StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode"),
        *("NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome"),
        *("PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs"),
        *("ProtectControlGroups", "ProtectClock", "ProtectHostname", "ProtectProc", "RestrictAddressFamilies"),
        *("RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "RemoveIPC", "KeyringMode"),
        *("SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "UMask", "LimitNOFILE", "LimitCORE"),
        *("TasksMax", "MemoryHigh", "MemoryMax", "OOMPolicy"),
    },
}
"""As systemd 252 knows them; each was seen by `systemd-analyze verify`."""
SCHEMA = json.loads((ROOT / "tests/contract/kubernetes-1.34.schema.json").read_text())
DEFINED = {
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "Service": "io.k8s.api.core.v1.Service",
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "Namespace": "io.k8s.api.core.v1.Namespace",
    "PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}
Manifest = dict[str, Any]


def assignments(unit: str) -> list[tuple[str, str, str]]:
    """Section, name and value of each line of a unit that says something. Anything else is no unit."""
    found, section = [], ""
    for line in unit.splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif line and not line.startswith("#"):
            name, sign, value = line.partition("=")
            assert (bool(section), sign, name.isalnum()) == (True, "=", True), line
            found.append((section, name, value))
    return found


def environment(unit: str) -> dict[str, str]:
    """What a unit sets for its process."""
    words = [word for _, name, value in assignments(unit) if name == "Environment" for word in value.split()]
    return dict(word.split("=", 1) for word in words)


def of_kind(kind: str) -> list[Manifest]:
    """All manifests of a kind in the base."""
    return [each for documents in kubernetes.manifests().values() for each in documents if each["kind"] == kind]


def pods() -> Iterator[tuple[Process, Manifest]]:
    """Each process with its pod."""
    by_name = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in of_kind("Deployment")}
    assert by_name.keys() == {process.name for process in PROCESSES}
    for process in PROCESSES:
        yield process, by_name[process.name]


def given(form: str, process: Process) -> dict[str, str]:
    """The settings that a process has from its unit or manifest."""
    match form:
        case "systemd":
            return environment(systemd.units()[systemd.unit_of(process)])
        case "compose":
            return dict(compose.compose()["services"][process.name]["environment"])
    pod = next(pod for each, pod in pods() if each is process)
    return {each["name"]: each["value"] for each in pod["containers"][0]["env"]}


def test_files_are_what_the_code_makes() -> None:
    """Whoever changes a process changes its units and manifests (`python -m deploy.production`)."""
    assert stale() == []


@pytest.mark.parametrize("form", ["systemd", "compose", "kubernetes"])
@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
def test_process_starts_with_the_settings_that_it_is_given(form: str, process: Process) -> None:
    """They are all that it needs beside the operator's, none is misspelt, and it is its own role and schema."""
    settings = load(settings_of(process.service), OPERATORS | given(form, process))
    assert settings.postgres_role == process.role
    assert settings.postgres_schema == process.service.service
    beside = set(OPERATORS) - {*SHARED, *OF_THE_GATEWAY}
    assert beside == set()
    assert not OPERATORS.keys() & given(form, process).keys()


def test_process_is_given_its_own_secrets_and_no_others() -> None:
    """One identity of NATS each, the role's password, and of neither another's."""
    assert {process.name for process in PROCESSES} <= {each.name for each in identities()}
    secrets = compose.compose()["secrets"]
    for process, pod in pods():
        wanted = {"nats-seed": f"seeds/{process.name}.seed", "postgres-password": f"passwords/{process.role}"}
        unit = assignments(systemd.units()[systemd.unit_of(process)])
        credentials = dict(value.split(":") for _, name, value in unit if name == "LoadCredential")
        assert credentials == {name: f"/etc/wedsync/{place}" for name, place in wanted.items()}
        service = compose.compose()["services"][process.name]
        assert {each["target"]: each["source"] for each in service["secrets"]} == wanted
        assert {secrets[each["source"]]["file"] for each in service["secrets"]} == {
            f"./secrets/{place}" for place in wanted.values()
        }
        assert [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each] == [
            f"wedsync-{process.name}"
        ]
        for form in ("systemd", "compose", "kubernetes"):
            settings = given(form, process)
            for variable, name in (("NATS_SEED_FILE", "nats-seed"), ("POSTGRES_PASSWORD_FILE", "postgres-password")):
                assert Path(settings[f"WEDSYNC_{variable}"]).name == name
    made = {each["metadata"]["name"]: each for each in kubernetes.external_secrets()["secrets.yaml"]}
    assert made.keys() == {f"wedsync-{process.name}" for process in PROCESSES}
    for each in made.values():
        assert [entry["secretKey"] for entry in each["spec"]["data"]] == ["nats-seed", "postgres-password"]


async def test_probes_ask_what_the_processes_answer() -> None:
    """Every port that is probed is one that the process listens on, every path one that it knows."""
    health = Health("any")
    paths = {path for route in (open_routes.live, open_routes.ready) for path in route.paths}
    for process, pod in pods():
        container = pod["containers"][0]
        settings = given("kubernetes", process)
        listens = {each["name"]: str(each["containerPort"]) for each in container["ports"]}
        assert listens.pop("health") == settings["WEDSYNC_HEALTH_PORT"]
        assert listens == ({"http": settings["WEDSYNC_HTTP_PORT"]} if process.is_open else {})
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[name]["httpGet"]
            if asked["port"] == "http":
                assert asked["path"] in paths
            else:
                status, _, _ = await answer(health, Telemetry("any"), asked["path"])
                assert (asked["port"], status) == ("health", 200)
    ports = [given("systemd", process)["WEDSYNC_HEALTH_PORT"] for process in PROCESSES]
    assert len(set(ports)) == len(PROCESSES)
    assert str(HTTP_PORT) not in ports


def test_units_say_nothing_that_systemd_does_not_know(tmp_path: Path) -> None:
    """A directive that is misspelt is passed over by systemd, and hardens nothing."""
    for name, text in systemd.units().items():
        for section, directive, _ in assignments(text):
            assert directive in DIRECTIVES[section], (name, directive)
        (tmp_path / name).write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", text))
    program = shutil.which("systemd-analyze")
    if program is not None:
        units = sorted(str(path) for path in tmp_path.iterdir())
        done = subprocess.run(
            [program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
        )
        about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "wedsync" in line]
        assert (about_ours, done.returncode) == ([], 0)


def test_units_start_what_is_there() -> None:
    """The modules are those of the processes; all belong to the target; none gains a right."""
    (wanted,) = [value for _, name, value in assignments(systemd.units()[systemd.TARGET]) if name == "Wants"]
    assert wanted.split() == [systemd.unit_of(process) for process in PROCESSES]
    for process in PROCESSES:
        unit = assignments(systemd.units()[systemd.unit_of(process)])
        said: Mapping[str, str] = {name: value for _, name, value in unit}
        assert said["ExecStart"].endswith(f" -P -m {process.module}")
        assert (said["NoNewPrivileges"], said["ProtectSystem"], said["PrivateTmp"]) == ("yes", "strict", "yes")
        assert (said["CapabilityBoundingSet"], said["AmbientCapabilities"], said["LimitCORE"]) == ("", "", "0")
        assert said["RestartPreventExitStatus"] == "78"


def test_manifests_are_what_kubernetes_takes() -> None:
    """By the schemas of its release 1.34, which know every field."""
    seen = set()
    for name, documents in kubernetes.manifests().items():
        for each in documents if name != "kustomization.yaml" else []:
            schema = SCHEMA | {"$ref": f"#/definitions/{DEFINED[each['kind']]}"}
            jsonschema.Draft7Validator(schema).validate(each)
            seen.add(each["kind"])
    assert seen == DEFINED.keys()
    wrong = of_kind("Deployment")[0]
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="readinesProbe"):
        jsonschema.Draft7Validator(SCHEMA | {"$ref": f"#/definitions/{DEFINED['Deployment']}"}).validate(wrong)


def test_pods_pass_the_restricted_standard() -> None:
    """Its controls, one by one, and the read-only root that it does not ask for."""
    for process, pod in pods():
        context, (container,) = pod["securityContext"], pod["containers"]
        own = container["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"] > 0) == (True, True)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (own["allowPrivilegeEscalation"], own["capabilities"]) == (False, {"drop": ["ALL"]})
        assert (own["readOnlyRootFilesystem"], "privileged" in own) == (True, False)
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"secret", "persistentVolumeClaim", "configMap", "emptyDir"}
        assert {each["name"] for each in pod["volumes"]} == {each["name"] for each in container["volumeMounts"]}
        assert not any("hostPort" in port for port in container["ports"])
        assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, process.name)
        assert container["resources"]["limits"]["memory"]


def test_only_what_is_written_down_may_be_reached() -> None:
    """All is denied; each process reaches what it names and is reached where it listens, for who has the label."""
    first, *others = network.policies()
    assert first["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for process in PROCESSES:
        mine = [each["spec"] for each in others if _selects(each["spec"]["podSelector"], process.name)]
        out = {port["port"] for each in mine for rule in each.get("egress", []) for port in rule["ports"]}
        assert out == {53, containers.POSTGRES_PORT, containers.NATS_PORT, *process.reaches.values()}
        rules = [rule for each in mine for rule in each.get("ingress", [])]
        assert all(peer["namespaceSelector"]["matchLabels"] for rule in rules for peer in rule["from"])
        reached = {port["port"] for rule in rules for port in rule["ports"]}
        assert reached == ({containers.HEALTH_PORT, HTTP_PORT} if process.is_open else {containers.HEALTH_PORT})


def _selects(selector: Manifest, name: str) -> bool:
    return not selector or any(name in each["values"] for each in selector["matchExpressions"])


def test_who_is_scaled_may_be_disrupted_one_at_a_time() -> None:
    """A budget for each that there are several of, and for none that there is one of: its node could not be emptied."""
    replicas = {each["metadata"]["name"]: each["spec"]["replicas"] for each in of_kind("Deployment")}
    budgets = {each["metadata"]["name"]: each["spec"]["maxUnavailable"] for each in of_kind("PodDisruptionBudget")}
    assert budgets == {name: 1 for name, number in replicas.items() if number > 1}
    assert {"gateway", "executor", "recovery", "executor-worker", "recovery-worker"} == budgets.keys()


def test_overlay_completes_the_base() -> None:
    """What the base names and does not make, the example of an overlay makes; the files that both list are there."""
    named = {
        source["name"] if "name" in source else source.get("secretName") or source.get("claimName")
        for _, pod in pods()
        for volume in pod["volumes"]
        for kind, source in volume.items()
        if kind in ("configMap", "persistentVolumeClaim")
    }
    named |= {each["configMapRef"]["name"] for _, pod in pods() for each in pod["containers"][0]["envFrom"]}
    example = FOLDER / "kubernetes/example"
    overlay = yaml.safe_load((example / "kustomization.yaml").read_text())
    made = {each["name"] for each in overlay["configMapGenerator"]} | {kubernetes.KEYS}
    assert made == named
    for each in overlay["configMapGenerator"]:
        for file in each.get("files", []) + each.get("envs", []):
            assert (example / file.rpartition("=")[2]).is_file(), file
    assert [(example / place).is_dir() for place in overlay["resources"] + overlay["components"]] == [True, True]
    (image,) = overlay["images"]
    assert image["name"] == kubernetes.IMAGE
    settings = dict(line.split("=", 1) for line in (example / "settings.env").read_text().splitlines() if "=" in line)
    for process in PROCESSES:
        load(settings_of(process.service), settings | given("kubernetes", process))
    listed = yaml.safe_load((FOLDER / "kubernetes/base/kustomization.yaml").read_text())["resources"]
    assert {f"kubernetes/base/{name}" for name in [*listed, "kustomization.yaml"]} == {
        name for name in files() if name.startswith("kubernetes/base/")
    }


def test_compose_opens_the_gateway_alone_and_names_no_image() -> None:
    """Everything else is inside; every image is the operator's, by a variable that has to be set."""
    whole = yaml.safe_load((FOLDER / "compose/compose.yaml").read_text())
    services = whole["services"]
    assert [name for name, each in services.items() if "ports" in each] == ["gateway"]
    assert whole["networks"]["inside"] == {"internal": True}
    for name, each in services.items():
        assert re.fullmatch(r"\$\{[A-Z0-9_]+_IMAGE:\?[^}]+\}", each["image"]), name
        assert set(each["networks"]) <= whole["networks"].keys()
        for volume in each["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("./") or source in whole["volumes"]
        assert not any("PASSWORD" in variable and "FILE" not in variable for variable in each.get("environment", {}))
    for process in PROCESSES:
        each = services[process.name]
        assert (each["read_only"], each["cap_drop"], each["user"]) == (True, ["ALL"], "10001:10001")
        assert ("outside" in each["networks"]) == (process.is_open or bool(process.reaches))


def test_image_has_our_packages_and_what_the_locks_pin_and_needs_no_shell() -> None:
    """Each package that is installed is named by its hash, each step and the entry point are without a shell."""
    recipe = (FOLDER / "image/Containerfile").read_text()
    steps = [line for line in recipe.splitlines() if line and not line.startswith("#")]
    assert [line for line in steps if line.startswith("FROM")] == ["FROM ${BUILD_BASE} AS build", "FROM ${RUN_BASE}"]
    assert {line for line in steps if line.startswith("ARG")} == {
        "ARG BUILD_BASE",
        "ARG RUN_BASE",
        "ARG SOURCE_DATE_EPOCH",
    }
    for line in steps:
        if line.startswith(("RUN", "ENTRYPOINT", "CMD")):
            words = json.loads(line.partition(" ")[2])
            if "install" in words:
                assert {"--require-hashes", "--no-deps"} <= set(words)
    copied = {words[1] for line in steps if (words := line.split())[0] == "COPY" and not words[1].startswith("--")}
    packages = {package for package in PACKAGES if package not in ("benchmarks", "tests")}
    assert copied == packages | {"requirements-build.lock"}
    assert f"USER {containers.USER}:{containers.USER}" in steps
    let_in = (FOLDER / "image/Containerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in let_in if line.startswith("!")} == {
        *packages,
        "requirements-build.lock",
        "requirements.lock",
    }


def test_nats_takes_the_file_of_compose(tmp_path: Path) -> None:
    """With the accounts that `nats-accounts` makes, as the server itself reads both."""
    accounts = [sys.executable, "-m", "deploy.elsewhere", "nats-accounts", str(tmp_path / "seeds")]
    subprocess.run([*accounts, str(tmp_path / "accounts.conf")], check=True, cwd=ROOT, capture_output=True)
    config = tmp_path / "nats.conf"
    config.write_text((ROOT / "deploy" / "compose" / "nats.conf").read_text())
    server = Path(sys.executable).with_name("nats-server")
    subprocess.run([server, "-t", "-c", config], check=True, capture_output=True)
