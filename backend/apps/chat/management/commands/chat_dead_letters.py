"""`chat_dead_letters`: look at messages that failed for good, send them again, or give them up."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.chat import dead_letter_office as office
from apps.chat import redis_dead_letters, redis_queue
from apps.chat.api.timeline import timeline
from apps.chat.dead_letter_office import Failed, Preview, Wanted
from apps.chat.delivery import dead_letters
from apps.chat.errors import QueueAway
from apps.chat.models import Delivery, Message
from apps.chat.realtime.shapes import SEND_KINDS, reason_text, stamp
from apps.chat.redis_dead_letters import DeadLetter
from apps.tenancy.models import Tenant

_SHOWN: Final = 20
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIST_PREFIX: Final = "list-"
_ENTRY_ID: Final = re.compile(r"\d{1,20}-\d{1,20}|list-[0-9a-f]{12}")

Json = dict[str, Any]


class WrongUse(CommandError):
    """The arguments cannot be followed: exit code 2."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, returncode=2)


class Command(BaseCommand):
    help = (
        "Dead letters: messages that failed for good. list and show look at them, replay sends them once more at the "
        "end of their conversation's queue, discard gives them up. Exit code 0: done; 1: something named could not "
        "be done; 2: wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|replay|discard")
        _listing(verbs.add_parser("list", help="the latest failures first"))
        show = verbs.add_parser("show", help="all that is known of one")
        show.add_argument("message", type=_message_id, metavar="MESSAGE_ID")
        show.add_argument("--json", action="store_true", help="one JSON object on stdout")
        _acting(verbs.add_parser("replay", help="send once more"), "send again", "MESSAGE_ID", _message_id)
        _acting(
            verbs.add_parser("discard", help="give up; entries of the stream without a message, too"),
            "give up",
            "MESSAGE_OR_ENTRY_ID",
            _any_id,
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(options)
        except DatabaseError as error:
            raise CommandError(f"The database does not answer ({type(error).__name__}).") from None

    # --- looking --------------------------------------------------------------------------------

    def _list(self, options: Json) -> None:
        wanted = _wanted(options)
        rows = office.latest(wanted, options["limit"] or None)
        total = office.matching(wanted).count()
        others = self._others() if wanted == Wanted() else []
        if options["json"]:
            found = [_row_json(row) for row in rows]
            self._print_json(
                {"total": total, "dead_letters": found, "others": [asdict(one) for one in others]}
            )
            return
        self._print_rows(rows, total)
        for one in others:
            self.stdout.write(
                f"entry {one.entry_id}  {one.reason}  from {one.source}  {_words(one.metadata)}"
            )
        if others:
            self.stdout.write("Entries have no message to send again: discard them by their id.")

    def _print_rows(self, rows: Sequence[Failed], total: int) -> None:
        if not rows:
            self.stdout.write("No dead letters.")
            return
        for row in rows:
            self.stdout.write(
                f"{stamp(row.failed_at) or '-'}  {row.message_id}  {row.reason or '-'}  "
                f"{_count(row.attempts, 'attempt')}  {row.instance}  {row.tenant}"
            )
        more = f"; the latest {len(rows)} are shown" if len(rows) < total else ""
        self.stdout.write(f"{_count(total, 'dead letter')}{more}.")

    def _others(self) -> list[DeadLetter]:
        """Entries without a row, from a stream that agrees with the rows."""
        self._agree()
        try:
            letters = [letter for letter in redis_dead_letters.entries() if letter.delivery_id is None]
            return letters + [_of_list(item) for item in redis_queue.get_dead_items()]
        except QueueAway:
            return []

    def _agree(self) -> None:
        try:
            dead_letters.reconcile()
        except QueueAway:
            self.stderr.write("Redis does not answer: its stream of dead letters was not looked at.")

    def _show(self, options: Json) -> None:
        found = office.latest(Wanted(message_ids=[options["message"]]))
        if not found:
            raise CommandError(_why_not(options["message"]))
        shown = _row_json(found[0])
        shown["timeline"] = timeline(Message.objects.get(pk=found[0].message_id))
        if options["json"]:
            self._print_json(shown)
            return
        for name, value in shown.items():
            if name != "timeline":
                self.stdout.write(f"{name:16} {value}")
        for entry in shown["timeline"]:
            self.stdout.write(
                f"  {entry['at']}  {entry['event']}  {_words(_short(entry['detail']))}".rstrip()
            )

    # --- doing ----------------------------------------------------------------------------------

    def _replay(self, options: Json) -> None:
        self._act(options, "sent again, each at the end of its conversation's queue", office.replay)

    def _discard(self, options: Json) -> None:
        self._act(options, "given up", office.discard)

    def _act(self, options: Json, what: str, verb: Any) -> None:
        names = options["ids"]
        _check_choice(options)
        messages = [one for one in names if isinstance(one, UUID)]
        entries = self._entries_to_discard(options, [one for one in names if isinstance(one, str)])
        wanted = _wanted(options, None if options["all"] else messages)
        rows = office.in_lane_order(wanted, options["limit"] or None)
        absent = sorted(set(messages) - {row.message_id for row in rows})
        plan = office.preview(rows)
        if not options["json"]:
            self._print_preview(plan, rows, len(entries), what)
        go = not options["dry_run"] and bool(rows or entries) and self._confirmed(options)
        result = verb(rows) if go else office.Done([], [])
        removed = self._remove_entries(entries) if go else 0
        if go:
            self._agree()
        self._report(options, plan, rows, result, removed, absent)

    def _entries_to_discard(self, options: Json, named: Sequence[str]) -> list[str]:
        """Entries without a row: those named, or with a bare --all (and perhaps --reason) all of them."""
        plain = _wanted({**options, "reason": ""}) == Wanted()
        if options["verb"] != "discard" or not (named or (options["all"] and plain)):
            return []
        others = [one for one in self._others() if not options["reason"] or one.reason == options["reason"]]
        return [one.entry_id for one in others if options["all"] or one.entry_id in named]

    def _print_preview(self, plan: Preview, rows: Sequence[Failed], entries: int, what: str) -> None:
        if entries:
            self.stdout.write(f"{_count(entries, 'entry', 'entries')} without a message to be removed.")
        if not rows:
            if not entries:
                self.stdout.write("No dead letters match.")
            return
        self.stdout.write(f"{_count(plan.messages, 'message')} to be {what}:")
        self.stdout.write(f"  reasons        {_words(plan.reasons)}")
        self.stdout.write(f"  instances      {_words(plan.instances)}")
        most = max(plan.conversations.values())
        self.stdout.write(f"  conversations  {len(plan.conversations)}, at most {most} in one")
        for instance, why in plan.waiting.items():
            self.stdout.write(
                f"  {instance} cannot send now ({why or 'parked'}): what is replayed waits for it"
            )
        for place, row in enumerate(rows[:_SHOWN], 1):
            self.stdout.write(f"  {place:>4}. {row.message_id}  {row.reason}  in {row.conversation_id}")
        if len(rows) > _SHOWN:
            self.stdout.write(f"        and {len(rows) - _SHOWN} more, in the same order")

    def _confirmed(self, options: Json) -> bool:
        if options["yes"]:
            return True
        if options["json"] or not sys.stdin.isatty():
            raise WrongUse("Nobody to ask here: add --yes to go ahead, or --dry-run to look only.")
        if input("Go ahead? Type yes: ").strip().lower() != "yes":
            raise CommandError("Nothing was done.")
        return True

    def _remove_entries(self, entries: Sequence[str]) -> int:
        try:
            of_lists = [one for one in entries if one.startswith(_LIST_PREFIX)]
            of_stream = [one for one in entries if not one.startswith(_LIST_PREFIX)]
            return redis_dead_letters.remove_entries(of_stream) + redis_queue.remove_dead_items(of_lists)
        except QueueAway:
            raise CommandError("Redis does not answer: its entries are still there.") from None

    def _report(
        self,
        options: Json,
        plan: Preview,
        rows: Sequence[Failed],
        result: office.Done,
        removed: int,
        absent: Sequence[UUID],
    ) -> None:
        done = {"replay": "replayed", "discard": "discarded"}[options["verb"]]
        if options["json"]:
            answer = {"dry_run": options["dry_run"], "plan": asdict(plan)}
            answer["order"] = [str(row.message_id) for row in rows]
            answer |= {done: [str(one) for one in result.done], "entries_removed": removed}
            self._print_json({**answer, "missed": [str(one) for one in (*result.missed, *absent)]})
        elif options["dry_run"]:
            self.stdout.write("Dry run: nothing was done.")
        elif rows or removed:
            entries = f", {_count(removed, 'entry', 'entries')} removed" if removed else ""
            self.stdout.write(f"{_count(len(result.done), 'message')} {done}{entries}.")
        problems = [_why_not(one) for one in (*absent, *result.missed)]
        if problems:
            raise CommandError("\n".join(problems))

    def _print_json(self, value: Json) -> None:
        self.stdout.write(json.dumps(value, default=str))


# --- arguments ------------------------------------------------------------------------------------


def _filters(parser: CommandParser, limit: int) -> None:
    parser.add_argument("--tenant", default="", help="only this tenant's: its name or id")
    parser.add_argument("--instance", default="", help="only of the instance of this name")
    parser.add_argument("--reason", default="", help="only with this reason, as `list` shows it")
    parser.add_argument("--since", type=_since, help="failed since: 30m, 2h, 7d or 2025-01-31T08:00Z")
    parser.add_argument(
        "--limit", type=_limit, default=limit, help=f"at most so many (default {limit}; 0: all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _listing(parser: CommandParser) -> None:
    _filters(parser, 50)


def _acting(parser: CommandParser, what: str, named: str, parse: Any) -> None:
    parser.add_argument("ids", nargs="*", type=parse, metavar=named, help=f"which to {what}")
    parser.add_argument("--all", action="store_true", help="all that match the filters")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _filters(parser, 0)


def _check_choice(options: Json) -> None:
    if options["all"] and options["ids"]:
        raise WrongUse("Give ids or --all, not both.")
    if not options["all"] and not options["ids"]:
        raise WrongUse("Name the messages by their ids, or say --all.")
    if options["ids"] and (options["limit"] or _wanted(options) != Wanted()):
        raise WrongUse("The filters go with --all; messages named by id need none.")


def _wanted(options: Json, messages: Sequence[UUID] | None = None) -> Wanted:
    return Wanted(
        tenant_id=_tenant(options["tenant"]) if options["tenant"] else None,
        instance=options["instance"],
        reason=options["reason"],
        since=options["since"],
        message_ids=messages,
    )


def _tenant(name: str) -> UUID:
    try:
        rows = Tenant.objects.filter(pk=UUID(name))
    except ValueError:
        rows = Tenant.objects.filter(name=name)
    found = list(rows.values_list("pk", flat=True)[:2])
    if len(found) != 1:
        raise WrongUse(f"There is {'no' if not found else 'more than one'} tenant {name!r}.")
    return UUID(str(found[0]))


def _message_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no message id (a UUID, as `list` shows it).") from None


def _of_list(item: Json) -> DeadLetter:
    """A request for a picture, a name or a group, given up."""
    known = {name: str(value) for name, value in item.items() if value is not None}
    return DeadLetter(known.pop("id", ""), known.pop("queue", ""), known.pop("reason", ""), known)


def _any_id(text: str) -> UUID | str:
    return text if _ENTRY_ID.fullmatch(text) else _message_id(text)


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no number of messages.")
    return int(text)


def _since(text: str) -> datetime:
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return timezone.now() - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise ArgumentTypeError(f"{text!r} is neither like 30m, 2h, 7d nor a time like 2025-01-31T08:00Z.")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# --- words ----------------------------------------------------------------------------------------


def _row_json(row: Failed) -> Json:
    words = reason_text(row.reason)
    return {
        "message_id": str(row.message_id),
        "failed_at": stamp(row.failed_at),
        "reason": row.reason,
        "reason_text": words["en"] if words else None,
        "attempts": row.attempts,
        "failure_gen": row.failure_gen,
        "tenant": row.tenant,
        "tenant_id": str(row.tenant_id),
        "instance": row.instance,
        "instance_id": str(row.instance_id),
        "conversation_id": str(row.conversation_id),
        "delivery_id": row.delivery_id,
    }


def _why_not(message_id: UUID) -> str:
    states = Delivery.objects.filter(message_id=message_id, kind__in=SEND_KINDS)
    state = states.values_list("state", flat=True).first()
    if state is None:
        return f"{message_id}: there is no such message."
    return f"{message_id}: it is no dead letter (any more): it is {Delivery.State(state).name.lower()}."


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _short(detail: Json) -> Json:
    return {name: value for name, value in detail.items() if name != "reason_text"}


def _words(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, ""))
