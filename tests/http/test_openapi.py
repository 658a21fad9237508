"""The OpenAPI document: one that others can read, of every address, and that is true."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from agentd.http import openapi
from agentd.http.routes import ROUTES, Kind
from agentd.http.schemas import SCHEMAS
from tests.http.listening import Listening
from tests.http.site import TOKEN, Site

EXAMPLES = 8
"""Requests drawn for each address; few enough for every run of the tests."""


async def test_every_address_is_in_it_and_needs_no_token() -> None:
    answer = await Site(token=TOKEN).get("/api/v1/openapi.json")
    assert answer.status == 200
    told = answer.json()
    assert {(path, method.upper()) for path, each in told["paths"].items() for method in each} == {
        (route.path, route.method) for route in ROUTES
    }
    for each in told["paths"].values():
        for operation in each.values():
            assert operation["summary"].endswith((".", "?"))


def test_what_it_points_at_is_there() -> None:
    told = openapi.document()
    pointed = set(re.findall(r"#/components/schemas/(\w+)", str(told)))
    assert pointed == set(SCHEMAS)
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_no_two_operations_have_one_name() -> None:
    names = [
        operation["operationId"]
        for each in openapi.document()["paths"].values()
        for operation in each.values()
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("moment", ["24h", "90m", "7d", "1h30m", "1500ms", 1764057600000, "2026-11-21"]),
        ("moment", ["2026-11-21T08:00:00Z", "2026-11-21T09:00:00.5+01:00"]),
        ("date", ["2026-11-20", "today", "yesterday"]),
    ],
)
async def test_what_the_documents_promise_it_permits(kind: Kind, told: list[Any]) -> None:
    formats = jsonschema.FormatChecker()
    # Its own would need another library, and takes everything without.
    formats.checks("date-time", ValueError)(
        lambda text: datetime.fromisoformat(text) and "T" in text
    )
    check = jsonschema.Draft202012Validator(openapi.KINDS[kind], format_checker=formats)
    paths = {"moment": "/api/v1/events?since=", "date": "/api/v1/report?date="}
    for each in told:
        check.validate(each)
        answer = await Site().get(f"{paths[kind]}{quote(str(each))}")
        assert answer.status == 200, each
    assert not check.is_valid("soon")


def without_security() -> dict[str, Any]:
    """The document as the one who always sends the token reads it.

    What becomes of those who don't is tests/http/test_security.py; here each request carries
    it, and one drawn without would be answered against what was drawn.
    """
    told = openapi.document()
    for each in told["paths"].values():
        for operation in each.values():
            operation.pop("security", None)
    return told


# A stream has no end that a client of one request could wait for: tests/http/test_stream.py.
schema = schemathesis.openapi.from_dict(without_security()).exclude(path="/api/v1/stream")


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    with Listening(token=TOKEN, operate=True) as server:
        yield server


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_what_it_says_is_what_is_answered(case: schemathesis.Case, listening: Listening) -> None:
    """Drawn requests, right ones and wrong ones: each answer is one of those told of."""
    case.call_and_validate(
        base_url=listening.url,
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
