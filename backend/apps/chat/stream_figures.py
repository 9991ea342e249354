"""What is in streams, in figures."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import redis
from redis.exceptions import ResponseError


def figures_of(client: redis.Redis, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Name, length, pending, lag, consumers, oldest entry's age and groups of each stream, by its name.

    One round trip, of commands whose cost does not grow with the streams. Raises what the client raises.
    """
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.xlen(name)
        pipe.xrange(name, count=1)
        pipe.xinfo_groups(name)
    pipe.time()
    *told, (seconds, micros) = [_answered(one) for one in pipe.execute(raise_on_error=False)]
    of_each, now = zip(*[iter(told)] * 3, strict=True), seconds + micros / 1e6
    return {name: _figures(name, now, *one) for name, one in zip(names, of_each, strict=True)}


def _answered(answer: Any) -> Any:
    if not isinstance(answer, ResponseError):
        return answer
    if "no such key" in str(answer):  # XINFO of a stream that nobody wrote to yet
        return []
    raise answer


def _figures(name: str, now: float, length: int, first: list[Any], groups_told: list[Any]) -> dict[str, Any]:
    groups = [_group(row) for row in groups_told]
    age = now - int(str(first[0][0]).split("-")[0]) / 1000 if first else None
    return {
        "name": name,
        "length": length,
        "pending": sum(group["pending"] for group in groups),
        "lag": sum(group["lag"] for group in groups),
        "consumers": sum(group["consumers"] for group in groups),
        "oldest_age_seconds": round(max(age, 0.0), 3) if age is not None else None,
        "groups": groups,
    }


def _group(row: dict[str, Any]) -> dict[str, Any]:
    # Redis cannot always tell the lag (nil after deletions in the middle); we delete only what was acknowledged.
    fields = ("name", "consumers", "pending", "last-delivered-id")
    return {**{field.replace("-", "_"): row.get(field) for field in fields}, "lag": row.get("lag") or 0}
