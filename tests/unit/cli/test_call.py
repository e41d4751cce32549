"""What `wedsync-backup call` makes of the API's answers, and the client under it."""

import argparse
import asyncio
import sys
from typing import Any

import pytest

from cli import call
from cli.api import ApiClient
from cli.exit_codes import ExitCode
from contracts.errors import CONFIGURATION_NAME_TAKEN, INTERNAL, INVALID_FIELD, UNAVAILABLE, PlatformError
from deploy.stack.ports import choose_ports
from tests.support.answering_api import api

RUN = {"id": "r", "configurationId": "c", "executionType": "manual"}


async def test_write_that_is_answered_later_is_followed() -> None:
    """A 202 that points to a request is asked again until the owner has answered, then the resource is read."""
    request = "/api/backup/requests/1"
    async with api(
        (202, {"Location": request}, {"state": "pending"}),
        (200, {}, {"state": "pending"}),
        (200, {}, {"state": "accepted", "resource": "/api/backup/configurations/2"}),
        (200, {}, {"id": "2"}),
    ) as (client, heads):
        assert await client.write("POST", "/api/backup/configurations", {}) == {"id": "2"}
    assert [head.split()[1] for head in heads] == [
        "/api/backup/configurations",
        request,
        request,
        "/api/backup/configurations/2",
    ]
    assert all("bearer token" in head.lower() for head in heads)
    assert "idempotency-key: key" in heads[0].lower()


async def test_refusal_keeps_its_code_and_hint() -> None:
    """A problem of the API, at once or in a request's answer, is told with its own code and hint."""
    problem = {"code": "configuration-name-taken", "detail": "the name is taken", "hint": "choose another"}
    async with api(
        (409, {}, problem),
        (202, {"Location": "/api/backup/requests/1"}, {}),
        (200, {}, {"state": "refused", "problem": problem}),
    ) as (client, _):
        for _attempt in range(2):
            with pytest.raises(PlatformError, match="the name is taken") as refusal:
                await client.write("POST", "/api/backup/configurations", {})
            assert refusal.value.code is CONFIGURATION_NAME_TAKEN
            assert refusal.value.hint == "choose another"


async def test_write_whose_connection_drops_is_made_again_with_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A platform that is up is asked again: what it may have done already it does once, by the key."""
    away = {"code": "unavailable", "detail": "postgres does not answer"}
    async with api(None, (503, {}, away), (202, {}, {"id": "2"})) as (client, heads):
        assert await client.write("POST", "/api/backup/execute", {}) == {"id": "2"}
    assert len(heads) == 3
    assert all("idempotency-key: key" in head.lower() for head in heads)
    assert "it is asked again" in "".join(capsys.readouterr())


async def test_answers_that_make_no_sense_are_errors() -> None:
    """An answer that is no JSON, an unknown code and a silent server each are a PlatformError."""
    async with api((200, {}, "<html>"), (500, {}, {"code": "of a newer build"})) as (client, _):
        for _attempt in range(2):
            with pytest.raises(PlatformError) as refusal:
                await client.status()
            assert refusal.value.code is INTERNAL
    port = choose_ports(["nobody"], {})["nobody"]
    client = ApiClient(f"http://127.0.0.1:{port}", lambda: "TOKEN", new_key=lambda: "KEY", patience_seconds=1)
    with pytest.raises(PlatformError) as refusal:
        await client.execution("1")
    assert refusal.value.code is UNAVAILABLE
    await client.close()


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    call.configure(parser)
    return parser.parse_args(words)


async def _call(client: ApiClient, *words: str) -> int:
    return await call.Call(_arguments(*words), key="KEY").of(client)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"state": "completed", "degraded": False}, ExitCode.OK),
        ({"state": "completed", "degraded": True}, ExitCode.DEGRADED),
        ({"state": "failed", "degraded": False, "error": {"code": "tier-full"}}, ExitCode.FAILED),
        ({"state": "cancelled", "degraded": False}, ExitCode.FAILED),
    ],
    ids=lambda value: value["state"] if isinstance(value, dict) else str(value),
)
async def test_run_is_followed_to_its_end_and_told_by_the_exit_code(
    end: dict[str, Any], code: ExitCode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is not whole is no success, and shown with what it says of itself."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(call, "SAY_SECONDS", 0.0)
    waiting = {**RUN, "state": "initializing", "waiting": {"code": "no-worker"}}
    async with api((202, {}, waiting), (200, {}, {**RUN, "state": "backing_up"}), (200, {}, {**RUN, **end})) as (
        client,
        heads,
    ):
        assert await _call(client, "post", "execute", "-d", "{}", "--until-ended") == code
    assert [head.split()[:2] for head in heads] == [
        ["POST", "/api/backup/execute"],
        ["GET", "/api/backup/executions/r"],
        ["GET", "/api/backup/executions/r"],
    ]
    said = capsys.readouterr()
    assert f'"state": "{end["state"]}"' in said.out or f'"state":"{end["state"]}"' in said.out
    assert "initializing, waits for no-worker" in said.err


async def test_cleanup_is_followed_to_its_end_and_one_that_left_a_place_out_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A location that was not cleaned is exit code 4, as of runs."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    cleanup = {"id": "x", "dryRun": False, "went": [], "state": "preparing"}
    async with api((202, {}, cleanup), (200, {}, {**cleanup, "state": "completed", "degraded": True})) as (
        client,
        heads,
    ):
        asked = ("POST", "retention/cleanup", "-d", "{}", "--until-ended")
        assert await _call(client, *asked) == ExitCode.DEGRADED
    assert heads[1].split()[1] == "/api/backup/retention/cleanups/x"


@pytest.mark.parametrize(
    ("state", "code"),
    [("completed", ExitCode.OK), ("blocked", ExitCode.DEGRADED), ("waiting", ExitCode.DEGRADED)],
)
async def test_erasure_is_followed_until_it_is_complete_or_told_to_go_on_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: str, code: ExitCode
) -> None:
    """What stands against it may do so for years: nobody waits for that, and none takes it for done."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    erasure = {"id": "e", "dataSubject": None, "receivedAt": "2026-12-01T00:00:00Z", "state": "preparing"}
    async with api((200, {}, erasure), (200, {}, {**erasure, "state": state})) as (client, heads):
        assert await _call(client, "GET", "compliance/erasures/e", "--until-ended") == code
    assert heads[1].split()[1] == "/api/backup/compliance/erasures/e"
    assert ("goes on by itself" in capsys.readouterr().err) is (code is ExitCode.DEGRADED)


async def test_recovery_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is shown, and by the same words."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    recovery = {"id": "o", "recoveryPointId": "p", "configurationId": "c", "state": "initializing"}
    async with api((202, {}, recovery), (200, {}, {**recovery, "state": "completed", "degraded": False})) as (
        client,
        heads,
    ):
        assert await _call(client, "POST", "recovery/initiate", "-d", "{}", "--until-ended") == ExitCode.OK
    assert heads[1].split()[1] == "/api/backup/recovery/operations/o"


@pytest.mark.parametrize(
    ("verdict", "degraded", "code"),
    [("whole", False, ExitCode.OK), ("whole", True, ExitCode.DEGRADED), ("damaged", False, ExitCode.FAILED)],
)
async def test_validation_is_followed_and_damage_is_no_success(
    monkeypatch: pytest.MonkeyPatch, verdict: str, degraded: bool, code: ExitCode
) -> None:
    """It has completed, and what it found is bad: the exit code says so."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    begun = {"id": "v", "recoveryPointId": "p", "configurationId": "c", "depth": "whole", "state": "validating"}
    end = {**begun, "state": "completed", "degraded": degraded, "result": {"verdict": verdict}}
    async with api((202, {}, begun), (200, {}, end)) as (client, heads):
        assert await _call(client, "POST", "recovery/validate", "-d", "{}", "--until-ended") == code
    assert heads[1].split()[1] == "/api/backup/recovery/validations/v"


async def test_every_wrong_field_of_a_refusal_is_told() -> None:
    """The first as the refusal's own, each other one by its field in a line of the hint."""
    wrong = [{"field": name, "code": "invalid-field", "hint": f"mend {name}"} for name in ("name", "tags")]
    problem = {
        "code": "invalid-field",
        "detail": "two are wrong",
        "field": "name",
        "hint": "mend name",
        "errors": wrong,
    }
    async with api((422, {}, problem)) as (client, _):
        with pytest.raises(PlatformError) as refused:
            await _call(client, "POST", "configurations", "-d", "{}")
    assert (refused.value.field, refused.value.hint) == ("name", "mend name\n  tags: mend tags [invalid-field]")


async def test_write_of_before_that_was_superseded_shows_nobody_elses_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is there now may be another's: the request is shown, and the exit code is none of success."""
    request = {"id": "q", "state": "accepted", "resource": "/api/backup/configurations/2", "supersededBy": 3}
    async with api((202, {"Location": "/api/backup/requests/q"}, request)) as (client, _):
        assert await _call(client, "PUT", "configurations/2", "-d", "{}", "--key", "once") == ExitCode.DEGRADED
    said = capsys.readouterr()
    assert '"supersededBy": 3' in said.out or '"supersededBy":3' in said.out
    assert "changed since" in said.err


async def test_request_of_which_some_is_refused_ends_as_degraded(capsys: pytest.CaptureFixture[str]) -> None:
    """Each item is shown, and no script takes it for all of them."""
    some = {"id": "q", "state": "accepted", "refusedItems": 1, "items": [{"index": 0}, {"index": 1}]}
    async with api((207, {"Location": "/api/backup/requests/q"}, some)) as (client, _):
        assert await _call(client, "POST", "configurations/bulk-create", "-d", "{}") == ExitCode.DEGRADED
    said = capsys.readouterr()
    assert '"refusedItems"' in said.out
    assert "1 of 2 are refused" in said.err


@pytest.mark.parametrize(
    ("verdict", "code"), [("pass", ExitCode.OK), ("fail", ExitCode.FAILED), ("unknown", ExitCode.DEGRADED)]
)
async def test_test_of_a_configuration_ends_as_it_says(
    verdict: str, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not seen to pass is no success for a script."""
    test = {"verdict": verdict, "findings": []}
    async with api((200, {}, test)) as (client, _):
        assert await _call(client, "GET", "configurations/1/test") == code
    assert (verdict in capsys.readouterr().err) is (code is not ExitCode.OK)


async def test_run_that_does_not_begin_and_write_that_is_not_answered_are_left_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what may still become of them, and how to go on."""
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.0)
    waiting = {**RUN, "state": "initializing", "waiting": {"code": "tier-full"}}
    arguments = _arguments("GET", "executions/r", "--until-ended", "--organisation", "org-a", "--home", "/elsewhere")
    arguments.patience = -1
    async with api((200, {}, waiting)) as (client, _):
        with pytest.raises(PlatformError, match="waits for tier-full") as left:
            await call.Call(arguments, key="KEY").of(client)
    assert left.value.code is UNAVAILABLE
    again = "call GET executions/r --until-ended --organisation org-a --home /elsewhere"
    assert again in capsys.readouterr().err

    arguments = _arguments("POST", "execute")
    arguments.patience = 0.05
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), "127.0.0.1", 0)
    async with silent:
        client = ApiClient(
            f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}", lambda: "TOKEN", new_key=lambda: "KEY"
        )
        with pytest.raises(PlatformError, match="may be carried out yet") as left:
            await call.Call(arguments, key="KEY").of(client)
        await client.close()
    assert left.value.code is UNAVAILABLE
    assert "--key KEY" in left.value.hint


@pytest.mark.parametrize("words", [("GET", "status"), ("POST", "configurations", "-d", "{}")], ids=lambda each: each[0])
async def test_wait_for_an_answer_is_told_with_what_keeps_it(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a gateway that does not answer nor a read model that cannot be written keeps anybody in silence."""
    monkeypatch.setattr(call, "FIRST_SAY_SECONDS", 0.0)
    monkeypatch.setattr(call, "SAY_SECONDS", 0.005)
    is_told = asyncio.Event()

    def troubles() -> str:
        if words[0] == "GET" or client.pending:
            is_told.set()
        return "gateway: not-ready, no such table for this role"

    class Waiting(ApiClient):
        async def get(self, path: str) -> dict[str, Any]:
            await is_told.wait()
            return {"state": "accepted", "resource": None} if "requests" in path else {"id": "2"}

    pending = {"requestId": "q", "state": "pending"}
    async with api((202, {"Location": "/api/backup/requests/q"}, pending)) as (made, _):
        client = Waiting(made._url, lambda: "TOKEN", new_key=lambda: "KEY")
        try:
            assert await call.Call(_arguments(*words), key="KEY", troubles=troubles).of(client) == ExitCode.OK
        finally:
            await client.close()
    said = capsys.readouterr().err
    assert ("the API has not answered" if words[0] == "GET" else "the request q is pending") in said
    assert "Not well is gateway: not-ready, no such table for this role" in said


async def test_second_factor_that_is_needed_is_an_option_here() -> None:
    """Nobody signs in to a command line; with a key of one's own another is needed as well."""
    needed = (403, {}, {"code": "second-factor-needed", "hint": "Sign in again.", "field": "schedule.cron"})
    async with api(needed, needed, needed) as (client, _):
        for words, hint in (
            ((), "Here that is the same command with --second-factor. Sign in again."),
            (("--key", "K"), "with --second-factor and another --key. Sign in again."),
            (("--second-factor",), "Sign in again."),
        ):
            with pytest.raises(PlatformError) as refused:
                await _call(client, "PUT", "configurations/2", "-d", "{}", *words)
            assert refused.value.hint.endswith(hint)
            assert refused.value.field == "schedule.cron"


async def test_field_is_printed_alone_and_one_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shell gets the text itself; of a slip of the pen it gets nothing that it could take for a value."""
    answer = (200, {}, {"id": "2", "tags": ["ü"]})
    async with api(answer, answer, answer) as (client, _):
        assert await _call(client, "GET", "configurations/2", "--field", "id") == ExitCode.OK
        assert await _call(client, "GET", "configurations/2", "--field", "tags") == ExitCode.OK
        assert capsys.readouterr().out == '2\n["ü"]\n'
        with pytest.raises(PlatformError, match="no field name") as refused:
            await _call(client, "POST", "configurations", "-d", "{}", "--field", "name")
    said = capsys.readouterr()
    assert (refused.value.code, said.out) == (INVALID_FIELD, "")
    assert '"id": "2"' in said.err, "it was made, and nobody would know as what"


async def test_drop_of_the_connection_is_told_beside_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell that takes the value takes nothing else."""
    away = (503, {}, {"code": "unavailable", "detail": "postgres does not answer"})
    async with api(away, away, (200, {}, {"id": "2"})) as (client, _):
        assert await _call(client, "GET", "configurations/2", "--field", "id") == ExitCode.OK
    said = capsys.readouterr()
    assert (said.out, "it is asked again" in said.err) == ("2\n", True)


async def test_cancellation_that_was_asked_for_is_a_good_end() -> None:
    """And what ended otherwise before it is none."""
    ended = {**RUN, "degraded": False}
    async with api((202, {}, {**ended, "state": "cancelled"}), (202, {}, {**ended, "state": "completed"})) as (
        client,
        _,
    ):
        assert await _call(client, "POST", "executions/r/cancel", "--until-ended") == ExitCode.OK
        assert await _call(client, "POST", "executions/r/cancel", "--until-ended") == ExitCode.FAILED


async def test_change_names_its_version_and_what_has_no_run_has_no_end() -> None:
    """`--if-match` is the header; an answer without content is an empty one."""
    async with api((200, {}, {"id": "2"}), (204, {}, ""), (200, {}, {"id": "2"})) as (client, heads):
        assert await _call(client, "PUT", "/api/backup/configurations/2", "-d", "{}", "--if-match", "3") == 0
        assert await _call(client, "DELETE", "configurations/2", "--key", "once") == 0
        with pytest.raises(PlatformError, match="is no run"):
            await _call(client, "GET", "configurations/2", "--until-ended")
    assert 'if-match: "3"' in heads[0].lower()
    assert "idempotency-key: once" in heads[1].lower()


@pytest.mark.parametrize(
    "words",
    [
        ("POST", "x", "-d", "{name: Photos}"),
        ("POST", "x", "-d", "[" * 100_000),
        ("POST", "x", "-d", '{"a": NaN}'),
        ("POST", "x", "-d", '"\\ud800"'),
        ("POST", "x", "-d", "@/nowhere"),
        ("POST", "x", "-d", "@/"),
        ("POST", "x", "-d", f"@{sys.executable}"),
        ("GET", "x", "-d", "{}"),
    ],
)
def test_body_that_is_none_is_refused_before_anything_is_asked(words: tuple[str, ...]) -> None:
    """By its option, with the shell's quotes in mind."""
    with pytest.raises(PlatformError) as refused:
        call.Call(_arguments(*words), key="KEY")
    assert (refused.value.code, refused.value.field) == (INVALID_FIELD, "--data")


@pytest.mark.parametrize(
    "words", [("GET", "a\nb"), ("GET", ""), ("PUT", "x", "--key", "ü"), ("PUT", "x", "--if-match", "ü")]
)
def test_what_no_request_can_carry_is_a_usage_error(words: tuple[str, ...]) -> None:
    """Not a traceback of the library that would send it."""
    with pytest.raises(SystemExit) as refused:
        _arguments(*words)
    assert refused.value.code == ExitCode.USAGE
