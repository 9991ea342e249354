"""`chat_bootstrap`: a tenant, its first user and its WhatsApp number, as many times as you like."""

from __future__ import annotations

import json
import secrets
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction

from apps.chat.models import Instance
from apps.chat.webhook_registration import webhook_url
from apps.chat.webhooks import SECRET_HEADER
from apps.tenancy.models import ApiToken, Membership, Tenant, User

_NAME_LONGEST = 100
_URL_LONGEST = 300


class Command(BaseCommand):
    help = "Provision a tenant, an admin and, with --instance, a WhatsApp number. Safe to run at each deploy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's name")
        parser.add_argument("--email", required=True, help="the admin who logs in")
        parser.add_argument("--password", help="theirs; needed the first time, changed later only when given")
        parser.add_argument("--instance", help="the instance's name in Evolution")
        parser.add_argument(
            "--evolution-url", help="where Evolution answers, as in https://evolution.example:8080"
        )
        parser.add_argument("--api-key", help="Evolution's key for this instance")
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, and nothing else, to stdout"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {
            name: _clean(name, options[name]) for name in ("tenant", "email", "instance", "evolution_url")
        }
        with transaction.atomic():
            tenant = _tenant(wanted["tenant"])
            user = _user(wanted["email"], options["password"])
            Membership.objects.update_or_create(
                tenant=tenant, user=user, defaults={"role": Membership.Role.ADMIN}
            )
            instance = _instance(tenant, wanted, options["api_key"]) if wanted["instance"] else None
            answer = _answer(tenant, user, instance)
        self._print(answer, as_json=options["json"])

    def _print(self, answer: dict[str, str | None], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(answer))
            return
        for name, value in answer.items():
            self.stdout.write(f"{name}: {value or '-'}")


def _clean(name: str, value: str | None) -> str:
    """The option without outer white space; raises CommandError when it cannot be used."""
    value = (value or "").strip()
    if "\x00" in value:
        raise CommandError(f"--{name.replace('_', '-')} contains a NUL character.")
    check = {
        "tenant": _check_tenant,
        "email": _check_email,
        "instance": _check_name,
        "evolution_url": _check_url,
    }
    check[name](value)
    return value.rstrip("/") if name == "evolution_url" else value


def _check_tenant(name: str) -> None:
    if not 0 < len(name) <= 120:
        raise CommandError("--tenant must be a name of 1 to 120 characters.")


def _check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise CommandError("--email must be an email address.") from None


def _check_name(name: str) -> None:
    if len(name) > _NAME_LONGEST or any(character in name for character in "/\\?#%"):
        raise CommandError(
            f"--instance must be a name of 1 to {_NAME_LONGEST} characters without / \\ ? # %."
        )


def _check_url(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or len(url) > _URL_LONGEST:
        raise CommandError("--evolution-url must look like http://host:8080 or https://host, without ? or #.")
    if parts.username or parts.password:
        raise CommandError("--evolution-url must not hold a password: the key goes into --api-key.")


def _tenant(name: str) -> Tenant:
    return Tenant.objects.get_or_create(name=name)[0]


def _user(email: str, password: str | None) -> User:
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        if not password:
            raise CommandError("--password is needed: there is no user with this email yet.")
        return User.objects.create_user(email, password)
    if password and not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def _instance(tenant: Tenant, wanted: dict[str, str], api_key: str | None) -> Instance:
    """The tenant's instance of this name, with URL and key as given; a changed one may send again at once."""
    url, name = wanted["evolution_url"], wanted["instance"]
    found = Instance.objects.filter(tenant=tenant, name=name).order_by("created_at").first()
    if found is None:
        return _new_instance(tenant, name, url, api_key)
    changes: dict[str, Any] = {}
    if url and url != found.base_url:
        changes["base_url"] = url
    if api_key and api_key != found.api_key:
        changes["api_key"] = api_key
    if changes:
        changes |= {"gate": Instance.Gate.OPEN, "gate_reason": "", "gate_since": None, "probe_at": None}
        for field, value in changes.items():
            setattr(found, field, value)
        found.save(update_fields=list(changes))
    return found


def _new_instance(tenant: Tenant, name: str, url: str, api_key: str | None) -> Instance:
    if not url or not api_key:
        raise CommandError("--instance needs --evolution-url and --api-key the first time.")
    return Instance.objects.create(
        tenant=tenant, name=name, base_url=url, api_key=api_key, webhook_secret=secrets.token_urlsafe(32)
    )


def _answer(tenant: Tenant, user: User, instance: Instance | None) -> dict[str, str | None]:
    return {
        "tenant_id": str(tenant.pk),
        "user_id": str(user.pk),
        "token": ApiToken.of(user),
        "instance_id": str(instance.pk) if instance else None,
        "webhook_url": webhook_url(instance.pk) if instance else None,
        "webhook_header": SECRET_HEADER if instance else None,
        "webhook_secret": instance.webhook_secret if instance else None,
    }
