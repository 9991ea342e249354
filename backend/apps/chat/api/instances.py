"""The WhatsApp numbers of a tenant: are they connected, what waits for them, and making, pairing and removing them.

Never a credential in an answer, but for one: the QR code that an administrator asks for, which links an account.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Count, Q
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chat import deciding, instance_office, read_policy
from apps.chat.api import instance_schemas, schemas
from apps.chat.api.base import ChatViews
from apps.chat.api.pagination import page
from apps.chat.api.parsing import checked
from apps.chat.errors import InvalidMessage, NotFound
from apps.chat.models import Delivery, Instance
from apps.chat.realtime.shapes import stamp
from apps.chat.webhook_registration import Registration
from apps.tenancy.models import Membership


class InstanceViews(ChatViews):
    """`instances/`."""

    @extend_schema(responses=instance_schemas.InstancePage)
    def list(self, request: Request) -> Response:
        """The numbers of the caller's tenants."""
        found = page(request, self._rows(), "created_at", newest_first=False, id_type=UUID)
        waiting = _waiting([row.pk for row in found.rows])
        return Response(found.answer(lambda row: _shape(row, waiting.get(row.pk, _NOTHING))))

    @extend_schema(responses=instance_schemas.Instance)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One number."""
        return Response(_shape(self._one(pk), _waiting([pk]).get(pk, _NOTHING)))

    @extend_schema(request=schemas.Release, responses=instance_schemas.ReleasedStale)
    def release_stale(self, request: Request, pk: UUID) -> Response:
        """Decide about all messages that grew too old while the number was away: send them in order, or not at all."""
        wanted = checked(schemas.Release, request.data)
        count = deciding.release_stale(self._one(pk), send=wanted["action"] == "send")
        return Response({"action": wanted["action"], "count": count})

    @extend_schema(request=instance_schemas.InstanceCreate, responses={201: instance_schemas.NewInstance})
    def create(self, request: Request) -> Response:
        """Make a number in Evolution and here, with its webhook registered and read back. Administrators only."""
        wanted = checked(instance_schemas.InstanceCreate, request.data)
        tenant_id = self._tenant_to_administer(wanted.get("tenant"))
        made, standing = instance_office.create(tenant_id, wanted["name"], wanted.get("number") or "")
        return Response({**_shape(made, _NOTHING), "webhook": _standing(standing)}, status=201)

    @extend_schema(request=instance_schemas.InstanceChange, responses=instance_schemas.Instance)
    def change(self, request: Request, pk: UUID) -> Response:
        """Change its settings: when customers see that we have read."""
        row = self._administered(pk)
        row.read_receipts = checked(instance_schemas.InstanceChange, request.data)["read_receipts"]
        row.save(update_fields=["read_receipts"])
        read_policy.forget()
        return self.retrieve(request, pk)

    @extend_schema(request=instance_schemas.InstanceConnect, responses=instance_schemas.Pairing)
    def connect(self, request: Request, pk: UUID) -> Response:
        """Begin pairing: a QR code to scan, or with `number` a code to type on the phone."""
        wanted = checked(instance_schemas.InstanceConnect, request.data)
        return Response(_pairing(instance_office.connect(self._administered(pk), wanted.get("number") or "")))

    @extend_schema(responses=instance_schemas.Pairing)
    def qr_code(self, request: Request, pk: UUID) -> Response:
        """The latest QR code, which changes every twenty seconds or so; without asking Evolution."""
        return Response(_pairing(instance_office.latest_code(self._administered(pk))))

    @extend_schema(request=None, responses=instance_schemas.InstanceDone)
    def restart(self, request: Request, pk: UUID) -> Response:
        """Restart it in Evolution."""
        return Response({"state": instance_office.restart(self._administered(pk)), "done": True})

    @extend_schema(request=None, responses=instance_schemas.InstanceDone)
    def logout(self, request: Request, pk: UUID) -> Response:
        """Unlink the phone. What is queued waits; `connect` makes it anew."""
        done = instance_office.log_out(self._administered(pk))
        return Response({"state": Instance.Connection.CLOSE.value, "done": done})

    @extend_schema(responses=instance_schemas.InstanceRemoved)
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete it in Evolution; here, too, unless it has conversations."""
        return Response({"removed": instance_office.remove(self._administered(pk))})

    @extend_schema(responses=instance_schemas.InstanceDone)
    def state(self, request: Request, pk: UUID) -> Response:
        """Ask Evolution how its link stands now."""
        return Response({"state": instance_office.state(self._with_credentials(pk)), "done": True})

    @extend_schema(request=None, responses=instance_schemas.WebhookStanding)
    def setup_webhook(self, request: Request, pk: UUID) -> Response:
        """Register the webhook with Evolution and read it back."""
        return Response(_standing(instance_office.setup_webhook(self._administered(pk))))

    def _one(self, pk: UUID) -> Instance:
        return self._found(self._rows().filter(pk=pk).first())

    def _with_credentials(self, pk: UUID) -> Instance:
        return self._found(Instance.objects.filter(pk=pk, tenant_id__in=self.tenants).first())

    def _administered(self, pk: UUID) -> Instance:
        """The instance, for an administrator of its tenant."""
        found = self._with_credentials(pk)
        self._tenant_to_administer(found.tenant_id)
        return found

    def _tenant_to_administer(self, wanted: UUID | None) -> UUID:
        """The tenant that is meant, when the caller administers it."""
        mine = Membership.objects.filter(user=self.user, tenant_id__in=self.tenants)
        if wanted is not None:
            mine = mine.filter(tenant_id=wanted)
        elif len(self.tenants) > 1:
            raise InvalidMessage("You belong to several tenants: say which with `tenant`.")
        membership = mine.first()
        if membership is None:
            raise NotFound("There is no such tenant.")
        if membership.role != Membership.Role.ADMIN:
            raise PermissionDenied("Only an administrator of the team may do this.")
        return membership.tenant_id

    @staticmethod
    def _found(row: Instance | None) -> Instance:
        if row is None:
            raise NotFound("There is no such instance.")
        return row

    def _rows(self) -> Any:
        return Instance.objects.filter(tenant_id__in=self.tenants).defer("api_key", "webhook_secret", "qr")


class _Waiting(NamedTuple):
    """What has not left yet; how much of it a person must decide about; how much of that is only too old."""

    live: int
    held: int
    stale: int


_NOTHING = _Waiting(0, 0, 0)


def _waiting(ids: list[UUID]) -> dict[UUID, _Waiting]:
    """Per instance with anything live."""
    live = Delivery.objects.filter(instance_id__in=ids, live=True).order_by()
    held = Q(state=Delivery.State.HELD)
    stale = held & Q(reason="stale")
    counts = (Count("id"), Count("id", filter=held), Count("id", filter=stale))
    rows = live.values("instance_id").annotate(live_rows=counts[0], held_rows=counts[1], stale_rows=counts[2])
    return {
        row["instance_id"]: _Waiting(row["live_rows"], row["held_rows"], row["stale_rows"]) for row in rows
    }


def _standing(registration: Registration) -> dict[str, Any]:
    return {"ok": registration.ok, "state": registration.state, "sentence": registration.sentence}


def _pairing(pairing: instance_office.Pairing) -> dict[str, Any]:
    code = pairing.code
    shown = {"base64": code.base64, "code": code.code, "pairing_code": code.pairing_code} if code else None
    return {"state": pairing.state, "qr_code": shown, "recreated": pairing.recreated}


def _shape(row: Instance, waiting: _Waiting) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "connection": row.connection,
        "connection_reason": row.connection_reason,
        "connection_changed_at": stamp(row.connection_changed_at),
        "gate": Instance.Gate(row.gate).name.lower(),
        "gate_reason": row.gate_reason,
        "gate_since": stamp(row.gate_since),
        "next_probe_at": stamp(row.probe_at) if row.gate == Instance.Gate.PARKED else None,
        "throttled_at": stamp(row.throttled_at),
        "waiting": waiting.live,
        "held": waiting.held,
        "stale": waiting.stale,
        "read_receipts": row.read_receipts,
        "receipt_failed_at": stamp(row.receipt_failed_at),
        "receipt_reason": row.receipt_reason,
        "logged_out_at": stamp(row.logged_out_at),
        "healed_until": stamp(row.healed_until),
        "created_at": stamp(row.created_at),
    }
