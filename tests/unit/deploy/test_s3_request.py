"""Requests signed by hand."""

from datetime import UTC, datetime

import pytest

from chassis.clock import SystemClock
from deploy.stack.ports import choose_ports
from deploy.stack.s3_request import Answer, ServerSilent, _signed, request
from deploy.stack.secrets import S3Credentials

EXAMPLE = S3Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_signature_is_that_of_the_published_example() -> None:
    """AWS, "Examples: signature calculations", GET bucket lifecycle."""
    headers = _signed(
        "GET",
        "/",
        "lifecycle=",
        {"host": "examplebucket.s3.amazonaws.com"},
        EXAMPLE,
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


def test_answer_names_the_error() -> None:
    """S3's own name of an error is told apart from a success without one."""
    refused = Answer(403, "<?xml?><Error><Code>AccessDenied</Code><Message>no</Message></Error>")
    assert (refused.is_success, refused.code) == (False, "AccessDenied")
    assert (Answer(200, "").is_success, Answer(200, "").code) == (True, "")


async def test_server_that_does_not_answer_is_an_error_of_its_own() -> None:
    """A server that is not up yet is told apart from one that refuses."""
    port = choose_ports(["nobody"], {})["nobody"]
    with pytest.raises(ServerSilent):
        await request(port, "PUT", "/b", credentials=EXAMPLE, region="r", now=SystemClock().now())
