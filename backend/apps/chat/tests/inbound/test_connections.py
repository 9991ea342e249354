"""The instance's link, as webhooks tell of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from apps.chat.models import Instance

from .conftest import Body, capture

Apply = Callable[..., str]


def link(state: str, reason: int | None = None) -> Body:
    return {"event": "connection.update", "instance": "lab", "data": {"state": state, "statusReason": reason}}


def at(second: int) -> datetime:
    return datetime(2026, 11, 21, 12, 0, second, tzinfo=UTC)


def test_open_is_recorded_with_our_number(apply: Apply, instance: Instance) -> None:
    assert apply(capture("stub_connection_open__0_connection_update")) == "connection open"
    instance.refresh_from_db()
    assert (instance.connection, instance.connection_reason) == ("open", "")
    assert instance.owner_jid == "5511900000000@s.whatsapp.net"


def test_a_final_close_parks_and_open_lets_go(apply: Apply, instance: Instance) -> None:
    apply(link("close", 401), at(1))
    instance.refresh_from_db()
    assert (instance.connection, instance.connection_reason) == ("close", "401")
    assert instance.gate == Instance.Gate.PARKED
    apply(link("open", 200), at(2))
    instance.refresh_from_db()
    assert instance.gate == Instance.Gate.OPEN


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_three_webhooks_of_a_logout_agree(
    apply: Apply, instance: Instance, order: tuple[int, ...]
) -> None:
    names = (
        "wa_close_401__0_logout_instance",
        "wa_close_401__1_connection_update",
        "wa_close_401__2_status_instance",
    )
    for number in order:
        apply(capture(names[number]))
    instance.refresh_from_db()
    assert (instance.connection, instance.connection_reason) == ("close", "401")


def test_an_older_webhook_does_not_undo_a_newer_one(apply: Apply, instance: Instance) -> None:
    apply(link("open"), at(9))
    assert apply(link("close", 401), at(5)) == "ignored: overtaken"
    instance.refresh_from_db()
    assert (instance.connection, instance.gate) == ("open", Instance.Gate.OPEN)


def test_an_unscanned_code_is_a_closed_link(apply: Apply, instance: Instance) -> None:
    apply(capture("wa_qr_limit__5_connection_update"))
    instance.refresh_from_db()
    assert instance.connection == "close"


def test_an_unknown_state_is_ignored(apply: Apply, instance: Instance) -> None:
    assert apply(link("half-open")).startswith("ignored")
    instance.refresh_from_db()
    assert instance.connection == "unknown"


def test_a_removed_instance_is_closed(apply: Apply, instance: Instance) -> None:
    apply({"event": "remove.instance", "instance": "lab", "data": None})
    instance.refresh_from_db()
    assert instance.connection == "close"
