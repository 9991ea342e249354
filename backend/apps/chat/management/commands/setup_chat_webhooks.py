"""`setup_chat_webhooks`: tell Evolution where to post, with which secret and events, and check that it knows."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.db.models import Q, QuerySet

from apps.chat.models import Instance
from apps.chat.webhook_registration import Registration, register_all
from apps.tenancy.models import Tenant


class Command(BaseCommand):
    help = (
        "Register our webhook (PUBLIC_URL, secret header, events) with Evolution for each instance, and read it back. "
        "Safe to run at any time. Exit code 0: all are right; 1: one differs or cannot be reached; 2: wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--instance", default="", help="only this one: its name or id")
        parser.add_argument("--tenant", default="", help="only this tenant's: its name or id")
        parser.add_argument("--check", action="store_true", help="change nothing, only read back and compare")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            ids = _chosen(options["instance"], options["tenant"])
            found = register_all(ids, only_check=options["check"])
        except DatabaseError as error:
            raise CommandError(f"The database does not answer ({type(error).__name__}).") from None
        self._print(found, as_json=options["json"])
        wrong = sum(not one.ok for one in found)
        if wrong:
            raise CommandError(f"{wrong} of {len(found)} webhooks are not as they should be.")

    def _print(self, found: list[Registration], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"instances": [asdict(one) for one in found]}, default=str))
            return
        for one in found:
            self.stdout.write(f"{one.instance} ({one.tenant}): {one.state}: {one.sentence}")
        if not found:
            self.stdout.write("There is no instance yet: make one with chat_bootstrap.")


def _chosen(instance: str, tenant: str) -> list[UUID]:
    rows: QuerySet[Instance] = Instance.objects.order_by("tenant__name", "name")
    if tenant:
        if not Tenant.objects.filter(_named(tenant)).exists():
            raise CommandError(f"There is no tenant {tenant!r}.", returncode=2)
        rows = rows.filter(tenant__in=Tenant.objects.filter(_named(tenant)))
    if instance:
        rows = rows.filter(_named(instance))
    ids = list(rows.values_list("pk", flat=True))
    if instance and not ids:
        raise CommandError(f"There is no instance {instance!r}.", returncode=2)
    return ids


def _named(name: str) -> Q:
    try:
        return Q(pk=UUID(name))
    except ValueError:
        return Q(name=name)
