"""`chat_journal`: look at the webhooks as they came, apply them once more, remove old ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.chat import inbound, upkeep
from apps.chat.inbound.applier import mark_done
from apps.chat.inbound.state import state_hash
from apps.chat.models import Instance, WebhookEvent
from apps.chat.realtime.broadcast import flush
from apps.chat.realtime.shapes import stamp

State = WebhookEvent.State
_CHUNK = 200


class Command(BaseCommand):
    help = (
        "The journal of webhooks. `show` lists them, `replay` applies them once more (which changes nothing that was "
        "applied already: the state's hash before and after is printed), `prune` removes old ones. "
        "Exit code 0: done; 1: some could not be applied; 2: wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        show = actions.add_parser("show", help="list webhooks")
        _selection(show)
        show.add_argument("--limit", type=int, default=50, help="the latest so many (50)")
        show.add_argument(
            "--body", action="store_true", help="with their bodies: they hold what customers wrote"
        )
        replay = actions.add_parser("replay", help="apply webhooks once more, in their order")
        _selection(replay)
        replay.add_argument("--all", action="store_true", help="every webhook there is")
        prune = actions.add_parser("prune", help="remove old webhooks")
        days = settings.CHAT_JOURNAL_RETENTION_DAYS
        prune.add_argument("--days", type=float, default=days, help=f"older than so many days ({days:g})")
        prune.add_argument("--dry-run", action="store_true", help="only count them")
        for one in (show, replay, prune):
            one.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        verbs = {"show": self._show, "replay": self._replay, "prune": self._prune}
        verbs[action](options)

    def _show(self, options: dict[str, Any]) -> None:
        rows = list(_chosen(options).order_by("-id")[: max(1, options["limit"])])[::-1]
        found = [_shown(row, body=options["body"]) for row in rows]
        if options["json"]:
            self.stdout.write(json.dumps({"events": found}))
            return
        for one in found:
            words = [one["id"], one["received_at"], one["instance"], one["event"] or "-", one["state"]]
            self.stdout.write("  ".join(str(word) for word in [*words, one["note"]]))
            if options["body"]:
                self.stdout.write(json.dumps(one["body"], indent=2, ensure_ascii=False))
        self.stdout.write(f"{len(found)} webhooks.")

    def _replay(self, options: dict[str, Any]) -> None:
        chosen = _chosen(options)
        if not options["all"] and not any(options[name] for name in _SELECTORS):
            raise CommandError("Say which: by id, time, instance or event, or --all.", returncode=2)
        ids = list(chosen.order_by("instance_id").values_list("instance_id", flat=True).distinct())
        instances = list(Instance.objects.defer("api_key", "webhook_secret", "qr").filter(pk__in=ids))
        before = {row.pk: state_hash(row) for row in instances}
        applied, failed = self._apply(chosen)
        flush(5.0)
        states = [_state(row, before[row.pk]) for row in instances]
        self._tell_replay(applied, failed, states, as_json=options["json"])
        if failed:
            raise CommandError(f"{len(failed)} webhooks could not be applied.")

    def _apply(self, chosen: QuerySet[WebhookEvent]) -> tuple[int, list[dict[str, Any]]]:
        """How many were applied, and those that could not be, with the kind of error."""
        applied, failed = 0, []
        for row in _in_order(chosen):
            try:
                note = inbound.apply(row)
            except Exception as error:
                failed.append({"id": row.pk, "error": type(error).__name__})
            else:
                applied += 1
                WebhookEvent.objects.filter(pk=row.pk, state=State.FAILED).update(state=State.NEW)
                mark_done([(row.pk, note)])
        return applied, failed

    def _tell_replay(
        self, applied: int, failed: list[dict[str, Any]], states: list[dict[str, Any]], *, as_json: bool
    ) -> None:
        if as_json:
            self.stdout.write(json.dumps({"applied": applied, "failed": failed, "instances": states}))
            return
        self.stdout.write(f"{applied} webhooks applied, {len(failed)} failed.")
        for one in failed:
            self.stdout.write(f"  {one['id']}: {one['error']}")
        for one in states:
            changed = "changed" if one["changed"] else "unchanged"
            self.stdout.write(f"{one['name']}: state {one['after']} ({changed}, before {one['before']})")

    def _prune(self, options: dict[str, Any]) -> None:
        days, count = options["days"], 0
        if days < 0:
            raise CommandError("--days must not be negative.", returncode=2)
        if options["dry_run"]:
            count = upkeep.count_old(days) if days else 0
        else:
            while removed := upkeep.prune_journal(days):
                count += removed
        if options["json"]:
            self.stdout.write(json.dumps({"count": count, "days": days, "dry_run": options["dry_run"]}))
            return
        if not days:
            self.stdout.write("Nothing is removed: CHAT_JOURNAL_RETENTION_DAYS is 0. Give --days.")
            return
        verb = "would be" if options["dry_run"] else "were"
        self.stdout.write(f"{count} webhooks older than {days:g} days {verb} removed.")


_SELECTORS = ("id", "since", "until", "instance", "event", "state")


def _selection(parser: Any) -> None:
    parser.add_argument("--id", default="", help="one id, or a range such as 100-200")
    parser.add_argument(
        "--since", default="", help="received at or after this time (ISO, UTC unless it says so)"
    )
    parser.add_argument("--until", default="", help="received before this time")
    parser.add_argument("--instance", default="", help="only this one's: its name or id")
    parser.add_argument("--event", default="", help="only such events, as messages.upsert")
    states = [state.name.lower() for state in State]
    parser.add_argument("--state", default="", choices=["", *states], help="only in this state")


def _chosen(options: dict[str, Any]) -> QuerySet[WebhookEvent]:
    rows = WebhookEvent.objects.select_related("instance").defer(
        "instance__api_key", "instance__webhook_secret", "instance__qr"
    )
    if options["id"]:
        first, last = _range(options["id"])
        rows = rows.filter(pk__range=(first, last))
    if options["since"]:
        rows = rows.filter(received_at__gte=_time(options["since"]))
    if options["until"]:
        rows = rows.filter(received_at__lt=_time(options["until"]))
    if options["event"]:
        rows = rows.filter(event=options["event"])
    if options["state"]:
        rows = rows.filter(state=WebhookEvent.State[options["state"].upper()])
    return rows.filter(_named(options["instance"])) if options["instance"] else rows


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise CommandError("--id is a number, or two with a dash between.", returncode=2)
    return int(first), int(last or first)


def _time(text: str) -> datetime:
    try:
        at = parse_datetime(text) or parse_datetime(f"{text}T00:00:00")
    except ValueError:
        at = None
    if at is None:
        raise CommandError(f"{text!r} is no time; write it as 2026-11-21T14:00:00.", returncode=2)
    return at if timezone.is_aware(at) else timezone.make_aware(at, timezone.get_fixed_timezone(0))


def _named(name: str) -> Q:
    try:
        found = Instance.objects.filter(pk=UUID(name))
    except ValueError:
        found = Instance.objects.filter(name=name)
    ids = list(found.values_list("pk", flat=True))
    if not ids:
        raise CommandError(f"There is no instance {name!r}.", returncode=2)
    return Q(instance_id__in=ids)


def _in_order(chosen: QuerySet[WebhookEvent]) -> Iterator[WebhookEvent]:
    """By id, in chunks: what the applying writes does not disturb the reading."""
    last = 0
    while rows := list(chosen.filter(pk__gt=last).order_by("id")[:_CHUNK]):
        yield from rows
        last = rows[-1].pk


def _shown(row: WebhookEvent, *, body: bool) -> dict[str, Any]:
    shown = {
        "id": row.pk,
        "received_at": stamp(row.received_at),
        "instance": row.instance.name,
        "instance_id": str(row.instance_id),
        "event": row.event,
        "state": State(row.state).name.lower(),
        "tries": row.tries,
        "note": row.note,
    }
    return {**shown, "body": row.body} if body else shown


def _state(instance: Instance, before: str) -> dict[str, Any]:
    after = state_hash(instance)
    return {
        "instance_id": str(instance.pk),
        "name": instance.name,
        "before": before,
        "after": after,
        "changed": after != before,
    }
