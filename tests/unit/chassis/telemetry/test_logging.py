"""Logs: structured, and silent about what is nobody's business."""

import errno
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import JsonLines, configure, describe, log_context
from contracts import errors
from contracts.envelope import MalformedEvent, UnknownEventType
from contracts.errors import PlatformError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is global: each test puts back what it found."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    levels = {name: logging.getLogger(name).level for name in ("chassis", "services", "tests", "__main__")}
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    sys.excepthook, threading.excepthook = before[2], before[3]
    logging.captureWarnings(capture=False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _line(record: logging.LogRecord) -> dict[str, object]:
    text = JsonLines("executor").format(record)
    assert "\n" not in text
    line: dict[str, object] = json.loads(text)
    return line


def _record(message: str, *args: object, name: str = "services.executor", **extra: object) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(name, logging.INFO, "f", 1, message, args, None, extra=extra)


def test_line_has_time_level_service_message_and_what_was_given() -> None:
    """A line is one JSON object with the fields that a search needs."""
    line = _line(
        _record("run begun", runId="r-1", files=3, ratio=0.5, isDone=False, tiers=("local", "offsite"), none=None)
    )
    assert list(line)[:5] == ["time", "level", "service", "logger", "message"]
    assert str(line["time"]).endswith("Z")
    assert (line["level"], line["service"], line["logger"]) == ("info", "executor", "services.executor")
    assert (line["message"], line["runId"], line["files"], line["ratio"]) == ("run begun", "r-1", 3, 0.5)
    assert (line["isDone"], line["tiers"], line["none"]) == (False, ["local", "offsite"], None)


@pytest.mark.parametrize(
    "key", ["body", "data", "payload", "password", "secret", "seed", "token", "Authorization", "headers"]
)
def test_line_withholds_what_carries_secrets_by_its_name(key: str) -> None:
    """A field whose name says that it holds a secret or a body is not written, whatever it holds."""
    line = _line(_record("x", **{key: "Anna"}))
    assert line[key] == "(withheld)"


def test_line_shows_no_structures_and_no_bytes() -> None:
    """Events, envelopes and bytes are named by their type: a line cannot carry a body by mistake."""
    line = _line(_record("x", envelope={"guest": "Anna"}, raw=b"Anna", error_=ValueError("Anna"), many=[b"Anna"] * 40))
    assert "Anna" not in json.dumps(line)
    assert line["envelope"] == "(dict)"
    assert line["raw"] == "(bytes)"
    assert len(line["many"]) == 16  # type: ignore[arg-type]


def test_long_text_is_cut() -> None:
    """A field does not grow with what a stranger sends."""
    assert len(str(_line(_record("x", note="n" * 5000))["note"])) < 300


def test_given_fields_do_not_replace_the_lines_own() -> None:
    """Nobody can make a line look like another service's."""
    line = _line(_record("x", service="gateway", level="debug", time="never"))
    assert (line["service"], line["level"]) == ("executor", "info")


def test_other_libraries_are_quoted_by_template() -> None:
    """Their arguments are hosts, rows and paths; the template says what happened."""
    line = _line(_record("connection to %s failed for %r\nmore", "10.0.0.1", "Anna", name="psycopg.pool"))
    assert line["message"] == "connection to %s failed for %r"
    assert _line(_record("%d files", 3))["message"] == "3 files"


def test_context_is_on_every_line_inside_and_on_none_outside() -> None:
    """What a message is about is bound once; blocks nest and end."""
    with log_context(eventId="e-1", consumer="c"):
        with log_context(consumer="inner", token="Anna"):  # a name that must be withheld
            line = _line(_record("x", eventId="given"))
            assert (line["eventId"], line["consumer"], line["token"]) == ("given", "inner", "(withheld)")
        assert _line(_record("x"))["consumer"] == "c"
    assert "consumer" not in _line(_record("x"))


def test_line_names_its_trace() -> None:
    """From a line one finds the trace, and from a problem's trace id the lines."""
    telemetry = Telemetry("executor")
    with telemetry.span("work"):
        assert len(str(_line(_record("x"))["traceId"])) == 32
    assert "traceId" not in _line(_record("x"))


# Errors


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001  # it is handed on
        return caught


def test_description_of_our_own_errors_is_their_code_and_message() -> None:
    """Our own texts are safe by contract."""
    assert describe(PlatformError(errors.RUN_FINISHED, "the run has ended")) == "run-finished: the run has ended"


def test_description_of_others_is_type_and_place() -> None:
    """What a driver or a library says may quote a row or a path; where it happened is ours to tell."""
    text = describe(_raised(ValueError("Anna and Ben")))
    assert text.startswith("ValueError at tests.unit.chassis.telemetry.test_logging._raised:")
    assert describe(ValueError("Anna")) == "ValueError"
    assert describe(_raised(OSError(errno.ENOSPC, "no space", "/home/anna"))).startswith("OSError[ENOSPC] at ")
    assert describe(OSError(99999, "odd")) == "OSError[99999]"


def test_description_names_a_database_errors_state() -> None:
    """SQLSTATE says what went wrong without the row."""

    class UniqueViolation(Exception):
        sqlstate = "23505"

    assert describe(UniqueViolation("Key (name)=(Anna)")) == "UniqueViolation[23505]"


def test_description_names_the_library_and_who_called_it() -> None:
    """An error in a library points at our line, too."""
    try:
        json.loads("{")
    except ValueError as error:
        text = describe(error)
    assert text.startswith("JSONDecodeError at json.decoder.")
    assert ", called by tests.unit.chassis.telemetry.test_logging.test_description_names_the_library" in text


def test_description_follows_causes_within_bounds() -> None:
    """The first cause is usually the point; a long chain is cut, and a suppressed one not followed."""

    def fail(*, openly: bool) -> None:
        try:
            raise KeyError("Anna")
        except KeyError as error:
            raise PlatformError(errors.UNAVAILABLE, "postgres does not answer") from (error if openly else None)

    with pytest.raises(PlatformError) as caught:
        fail(openly=True)
    assert describe(caught.value).startswith("unavailable: postgres does not answer ← KeyError at ")
    with pytest.raises(PlatformError) as caught:
        fail(openly=False)
    assert describe(caught.value) == "unavailable: postgres does not answer"
    chain: BaseException = ValueError()
    for _ in range(20):
        following = ValueError()
        following.__cause__ = chain
        chain = following
    assert describe(chain).count("←") == 3


def test_description_of_contract_errors_has_no_values() -> None:
    """The decoder quotes wrong values; they are taken out, types and places stay."""
    text = describe(MalformedEvent("executor.x.v1: Invalid enum value 'Anna' - at `$.tier`"))
    assert text == "malformed event: executor.x.v1: Invalid enum value (value) - at `$.tier`"
    assert describe(UnknownEventType("executor.x.v9")) == "unknown event type executor.x.v9"
    assert describe(UnknownEventType("Anna & Ben")) == "unknown event type (not a name)"
    assert describe(UnknownEventType("a." + "b" * 200)) == "unknown event type (not a name)"


# The process's logging


def test_configured_process_writes_lines_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own modules from the chosen level on, others from warnings on, each once."""
    configure("executor", "INFO")
    logging.getLogger("services.executor").info("ours")
    logging.getLogger("services.executor").debug("too fine")
    logging.getLogger("botocore").info("theirs")
    logging.getLogger("botocore").warning("their warning about %s", "Anna")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["ours", "their warning about %s"]


def test_error_in_a_line_is_described_and_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """`exc_info` never brings a traceback of values into the log."""
    configure("executor")
    try:
        raise ValueError("Anna")
    except ValueError:
        logging.getLogger("services.executor").exception("failed")
    text = capsys.readouterr().err
    assert "Anna" not in text
    assert json.loads(text)["error"].startswith("ValueError at tests.unit.chassis.telemetry.test_logging")


def test_uncaught_error_is_logged_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody catches, in any thread, is a line like any other; Ctrl-C is none."""
    configure("executor")
    sys.excepthook(ValueError, ValueError("Anna"), None)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(KeyError("Anna")))
    thread.start()
    thread.join()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    text = capsys.readouterr().err
    assert "Anna" not in text
    assert [json.loads(line)["level"] for line in text.splitlines() if line.startswith("{")] == ["critical", "critical"]
