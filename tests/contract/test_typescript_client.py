"""The TypeScript client: what is committed is what the API says, and what is written by hand does what it promises.

That its types are right is a part of `make static`; that it works with the platform, of
`tests/system/test_typescript_client.py`.
"""

from pathlib import Path

import pytest

from tests.contract import typescript_client
from tests.support import node


def test_hand_written_part_does_what_it_promises() -> None:
    """Keys, what is sent again, errors, waiting: against a server that answers as it is told."""
    assert node.node("--conditions=wedsync:source", "test/alone.mjs").strip() == "well"


def test_changed_api_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module or a README that is missing or different is named; writing mends it."""
    (tmp_path / "src" / "generated").mkdir(parents=True)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "one.ts").write_text("const one = 1\n")
    (tmp_path / "README.md").write_text("<!-- example: one -->\n```ts\n```\nEnd\n")
    monkeypatch.setattr(typescript_client, "types", lambda: {"api.ts": "new\n"})
    assert typescript_client.main(check=True, folder=tmp_path) == 1
    said = capsys.readouterr().err
    assert "api.ts" in said
    assert "README.md" in said
    assert typescript_client.main(check=False, folder=tmp_path) == 0
    assert typescript_client.main(check=True, folder=tmp_path) == 0
    assert (tmp_path / "README.md").read_text() == "<!-- example: one -->\n```ts\nconst one = 1\n```\nEnd\n"


def test_types_say_what_may_be_left_out() -> None:
    """A key that the client makes, what has a default in a body, and what an error or an old event may lack."""
    document = typescript_client.api_document()
    (key,) = (each for each in document["paths"]["/api/backup/execute"]["post"]["parameters"] if each["in"] == "header")
    assert (key["name"], key["required"]) == ("Idempotency-Key", False)
    assert "default" not in document["components"]["schemas"]["NewConfiguration"]["properties"]["tags"]
    assert "default" not in document["components"]["schemas"]["Problem"]["properties"]["field"]
    # Of what it tells of itself the API writes all.
    assert document["components"]["schemas"]["Execution"]["properties"]["isUrgent"]["default"] is False
    facts = typescript_client.facts_document()["components"]["schemas"]
    assert "worker" not in facts["BackupPreparing"]["properties"]
    assert "default" not in facts["BackupCompleted"]["properties"]["code"]


def test_every_example_is_in_the_readme() -> None:
    """What is run against the platform is what a reader sees."""
    readme = (node.CLIENT / "README.md").read_text()
    examples = sorted(path.stem for path in (node.CLIENT / "examples").glob("*.ts"))
    assert len(examples) >= 5
    assert [name for name in examples if f"<!-- example: {name} -->" not in readme] == []
