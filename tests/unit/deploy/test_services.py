"""What each of our own processes is started with."""

import importlib
from pathlib import Path

import pytest

from chassis.settings import ServiceSettings, load
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import SERVICES
from deploy.stack import nats, postgres, s3, services
from deploy.stack.layout import Layout
from deploy.stack.secrets import Secrets, open_secrets


def settings_of(service: services.Service) -> type[ServiceSettings]:
    """The settings that a process's main module reads."""
    program = service.module if service.module.endswith(".worker") else f"{service.module}.__main__"
    main = importlib.import_module(program)
    (found,) = [
        each
        for each in vars(main).values()
        if isinstance(each, type) and issubclass(each, ServiceSettings) and each is not ServiceSettings
    ]
    return found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home with ports, in a path with a comma and a blank at its end."""
    layout = Layout.create(tmp_path / "a, home ")
    names = [postgres.NAME, *nats.PORT_NAMES, *services.port_names(), *s3.port_names()]
    layout.remembered.ports = {name: 20_000 + number for number, name in enumerate(names)}
    return layout


@pytest.fixture
def secrets(layout: Layout) -> Secrets:
    """The home's secrets."""
    return open_secrets(layout, roles=list(services.ROLES.values()), regions=s3.credential_names())


@pytest.mark.parametrize("service", services.SERVICES, ids=lambda service: service.identity)
def test_process_gets_settings_that_it_accepts(layout: Layout, secrets: Secrets, service: services.Service) -> None:
    """Every setting that a process needs is there, in the form that it expects."""
    settings = load(settings_of(service), services.environment_of(layout, secrets, service))
    assert settings.postgres_schema == service.service
    assert settings.nats_seed_file == layout.nats_seeds / f"{service.identity}.seed"
    assert settings.health_port == layout.port(f"{service.identity}.health")


@pytest.mark.parametrize("service", services.SERVICES, ids=lambda service: service.identity)
def test_process_gets_its_own_password_and_nobody_else_s(
    layout: Layout, secrets: Secrets, service: services.Service
) -> None:
    """What a process could leak is what it needs itself."""
    environment = "\n".join(services.environment_of(layout, secrets, service).values())
    own = services.ROLES[service.service]
    assert secrets.postgres_roles[own] in environment
    others = [password for role, password in secrets.postgres_roles.items() if role != own]
    others += [secrets.postgres_admin, *(each.secret_access_key for each in secrets.s3.values())]
    assert not [secret for secret in others if secret in environment]


def test_process_gets_the_caller_s_settings_but_not_the_rest_of_its_environment(
    layout: Layout, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting of the caller's reaches the processes, where the stack does not decide it; other variables do not."""
    monkeypatch.setenv("WEDSYNC_LOG_LEVEL", "debug")
    monkeypatch.setenv("WEDSYNC_POSTGRES_DSN", "of another platform")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the user's own")
    environment = services.environment_of(layout, secrets, services.GATEWAY)
    assert environment["WEDSYNC_LOG_LEVEL"] == "debug"
    assert environment["WEDSYNC_POSTGRES_DSN"].startswith("postgresql://wedsync_gateway:")
    assert "AWS_SECRET_ACCESS_KEY" not in environment


def test_setting_of_the_caller_that_the_stack_decides_itself_is_refused(layout: Layout, secrets: Secrets) -> None:
    """Nobody believes in a port that nothing listens on; what is decided here is named in one place."""
    of_all = {name for each in services.SERVICES for name in services.environment_of(layout, secrets, each)}
    in_the_string = {"WEDSYNC_POSTGRES_ROLE", "WEDSYNC_POSTGRES_PASSWORD_FILE"}
    set_by_it = {name for name in of_all if name.startswith("WEDSYNC_")} - {"WEDSYNC_CACHE"}
    assert set_by_it | in_the_string == services.DECIDED
    services.refuse_decided({"WEDSYNC_HTTP_PORT": "", "WEDSYNC_QUEUE_IN_ALL": "5", "PATH": "/bin"})
    with pytest.raises(PlatformError) as refused:
        services.refuse_decided({"WEDSYNC_HTTP_PORT": "8080"})
    assert (refused.value.code, refused.value.field) == (errors.INVALID_SETTING, "WEDSYNC_HTTP_PORT")


@pytest.mark.parametrize("service", services.SERVICES, ids=lambda service: service.identity)
def test_platform_s_own_folders_are_no_source_and_no_tier(
    layout: Layout, secrets: Secrets, service: services.Service
) -> None:
    """Keys, data, configuration, logs and state; the demo's folder is none of them, and the stack's tier may lie there.

    All services know: what a run would refuse is refused when it is submitted.
    """
    settings = load(ServiceSettings, services.environment_of(layout, secrets, service))
    assert any(layout.local_tier.is_relative_to(folder) for folder in settings.tier_folders)
    assert set(settings.excluded_folders) == {layout.keys, layout.data, layout.config, layout.logs, layout.run}
    assert not any(layout.demo.is_relative_to(folder) for folder in settings.excluded_folders)


def test_connections_of_all_processes_fit_into_the_server() -> None:
    """What the processes may open of Postgres at most, and a dozen more workers, leaves room for the administrator.

    None of it depends on a setting: a worker that finds too few free does not start, and says why.
    """
    from deploy.postgres.settings import SETTINGS
    from gateway import bootstrap as gateway
    from services.compliance import bootstrap as compliance
    from services.config import bootstrap as config
    from services.dr import bootstrap as dr
    from services.executor import bootstrap as executor
    from services.recovery import bootstrap as recovery

    record, relay, projector_and_feed, administrator, reserved = 3, 2, 3, 5, 3
    needed = (
        len(SERVICES) * (record + relay),
        compliance.POOL_CONNECTIONS,
        config.TIMER_CONNECTIONS,
        dr.POOL_CONNECTIONS,
        executor.POOL_CONNECTIONS,
        gateway.POOL_CONNECTIONS + projector_and_feed,
        recovery.POOL_CONNECTIONS,
        13 * executor.WORKER_CONNECTIONS_MAX,
        recovery.WORKER_CONNECTIONS_MAX,
        administrator + reserved,
    )
    assert sum(needed) <= int(SETTINGS["max_connections"])


def test_stop_of_the_platform_takes_fifteen_seconds_at_most() -> None:
    """Our own processes first, then the servers that they need, each with its time; beside them the S3 servers.

    Those end within 11.2 s whenever they are asked: none has to be killed.
    """
    from deploy.stack.child import KILL_SIGNAL_SECONDS, KILLED_SECONDS
    from deploy.stack.part import SERVER_STOP_SECONDS, SERVICE_STOP_SECONDS, UNNEEDED_STOP_SECONDS

    assert SERVICE_STOP_SECONDS + SERVER_STOP_SECONDS + KILL_SIGNAL_SECONDS <= 15
    assert 11.2 < UNNEEDED_STOP_SECONDS <= 15 - KILLED_SECONDS


def test_s3_server_has_the_time_that_it_takes_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """No part needs one, so that each is stopped from the beginning on."""
    from deploy.stack.part import UNNEEDED_STOP_SECONDS
    from deploy.stack.platform import prepare
    from deploy.stack.s3 import s3_part
    from deploy.stack.s3_regions import REGIONS

    layout = Layout.create(tmp_path / "home")
    secrets = prepare(layout)
    parts = [s3_part(layout, secrets, region) for region in REGIONS]
    assert {part.stop_seconds for part in parts} == {UNNEEDED_STOP_SECONDS}
    needed = {name for service in services.SERVICES for name in services.service_part(layout, secrets, service).needs}
    assert needed.isdisjoint(part.name for part in parts)
