"""Every webhook that a real Evolution 2.3.6 was seen to send, posted through HTTP: what it leaves behind.

`GOLDEN=write pytest …/test_golden.py` writes the results anew; look at the difference before you keep it.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from apps.chat import journal, webhook_secrets
from apps.chat.inbound.state import state_of
from apps.chat.models import Instance, WebhookEvent
from apps.tenancy.models import Tenant

from .conftest import CAPTURES, SECRET, capture, make_instance
from .test_webhook_http import _close, post

pytestmark = pytest.mark.urls("apps.chat.tests.inbound.urls")
GOLDEN = Path(__file__).parent / "golden.json"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.json"))
Json = dict[str, Any]


def _told(instances: dict[str, Instance], names: list[str]) -> dict[str, tuple[int, str]]:
    """Post these captures, each to an instance of its own, all at once; status and word of the answer."""

    async def one(name: str) -> tuple[int, str]:
        answer = await post(instances[name].pk, capture(name))
        return answer.status_code, json.loads(answer.content)["status"]

    async def run() -> dict[str, tuple[int, str]]:
        answers = await asyncio.gather(*map(one, names))
        await sync_to_async(_close)()
        return dict(zip(names, answers, strict=True))

    answers = asyncio.run(run())
    assert journal.drain(60)
    return answers


def _left(instance: Instance) -> Json:
    found = {part: rows for part, rows in state_of(instance).items() if rows}
    found["journal"] = [
        [WebhookEvent.State(row.state).name.lower(), row.note]
        for row in WebhookEvent.objects.filter(instance=instance).order_by("id")
    ]
    instance.refresh_from_db()
    found["instance"] = [instance.connection, instance.connection_reason, bool(instance.qr)]
    return found


def _instances() -> dict[str, Instance]:
    webhook_secrets.forget()
    return {
        name: make_instance(Tenant.objects.create(name=f"{name} {os.urandom(4).hex()}")) for name in NAMES
    }


PARTS = ("contacts", "conversations", "messages", "reactions", "evidence", "instance")


def test_every_capture_leaves_what_it_left_before_and_no_more_when_it_comes_twice(
    transactional_db: None,
) -> None:
    instances = _instances()
    answers = _told(instances, NAMES)
    results = {name: {"answer": list(answers[name]), **_left(instances[name])} for name in NAMES}
    if os.environ.get("GOLDEN") == "write":
        lines = (f"{json.dumps(name)}: {json.dumps(results[name], sort_keys=True)}" for name in NAMES)
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    golden = json.loads(GOLDEN.read_text())
    got = json.loads(json.dumps(results))
    assert {name: got[name] for name in NAMES if got[name] != golden.get(name)} == {}
    assert golden.keys() == got.keys()
    assert all(status == 200 for status, _ in answers.values())

    one_of_each = list(
        {(capture(name).get("event"), str(got[name]["journal"])): name for name in NAMES}.values()
    )
    _told(instances, one_of_each)
    for name in one_of_each:
        left = json.loads(json.dumps(_left(instances[name])))
        assert {part: left.get(part) for part in PARTS} == {part: got[name].get(part) for part in PARTS}, name
    stored = json.dumps(list(WebhookEvent.objects.values_list("body", flat=True)))
    assert not [secret for secret in ("-token", "2@SYN", "ABCD1234", SECRET) if secret in stored]
