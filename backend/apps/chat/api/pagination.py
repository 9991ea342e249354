"""Pages by keyset: a cursor names the row a page ends at, so that page 10,000 costs what page 1 costs.

Rows are ordered by a time and, where times are equal, by id. A page answers `{results, next, previous}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

Row = TypeVar("Row", bound=Model)

DEFAULT_LIMIT = 50
MOST = 200


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after this row, in the list's order or against it."""

    at: datetime
    id: str
    back: bool

    def encode(self) -> str:
        text = json.dumps([self.at.isoformat(), self.id, int(self.back)])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        try:
            at, row_id, back = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            parsed = datetime.fromisoformat(at)
        except (ValueError, TypeError, binascii.Error):
            raise ValidationError({"cursor": "This is no cursor of this list."}) from None
        if parsed.tzinfo is None or not isinstance(row_id, str):
            raise ValidationError({"cursor": "This is no cursor of this list."})
        return cls(parsed, row_id, bool(back))


@dataclass(frozen=True, slots=True)
class Page:
    """A page's rows, in the list's order, and the links to its neighbours."""

    rows: Sequence[Any]
    next: str | None
    previous: str | None

    def answer(self, shape: Callable[[Any], Any]) -> dict[str, Any]:
        return {
            "results": [shape(row) for row in self.rows],
            "next": self.next,
            "previous": self.previous,
        }


def page(
    request: Request, rows: QuerySet[Row], time: str, *, newest_first: bool = True, id_type: Any = str
) -> Page:
    """The page that `?cursor=&limit=` ask for.

    Args:
        rows: what may be seen, in no order.
        time: the field that orders them.
        id_type: turns a cursor's id into the primary key's type; raises ValueError for nonsense.
    """
    text = request.query_params.get("cursor", "")
    cursor = Cursor.decode(text) if text else None
    limit = limit_of(request)
    backwards = cursor is not None and cursor.back
    falling = newest_first != backwards
    found = list(_after(rows, time, cursor, falling, id_type)[: limit + 1])
    more, shown = len(found) > limit, found[:limit]
    if backwards:
        shown.reverse()
    has_next = more if not backwards else True
    has_previous = more if backwards else cursor is not None
    return Page(
        shown,
        _link(request, shown[-1], time, back=False) if shown and has_next else None,
        _link(request, shown[0], time, back=True) if shown and has_previous else None,
    )


def limit_of(request: Request) -> int:
    """`?limit=`, at most `MOST`."""
    text = request.query_params.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or not int(text[:9]) >= 1:
        raise ValidationError({"limit": f"A number from 1 to {MOST}."})
    return min(int(text[:9]), MOST)


def _after(
    rows: QuerySet[Row], time: str, cursor: Cursor | None, falling: bool, id_type: Any
) -> QuerySet[Row]:
    sign, beyond = ("-", "lt") if falling else ("", "gt")
    ordered = rows.order_by(f"{sign}{time}", f"{sign}id")
    if cursor is None:
        return ordered
    try:
        row_id = id_type(cursor.id)
    except ValueError:
        raise ValidationError({"cursor": "This is no cursor of this list."}) from None
    same_time = Q(**{time: cursor.at, f"id__{beyond}": row_id})
    # The first condition says nothing new, but an index can be entered by it.
    return ordered.filter(
        Q(**{f"{time}__{beyond}e": cursor.at}), Q(**{f"{time}__{beyond}": cursor.at}) | same_time
    )


def _link(request: Request, row: Model, time: str, *, back: bool) -> str:
    cursor = Cursor(getattr(row, time), str(row.pk), back)
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor.encode())
