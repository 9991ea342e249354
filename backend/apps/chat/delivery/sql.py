"""The lane statements, for PostgreSQL and SQLite side by side.

Why they read as they do (measured, see docs/decisions.md "Lanes in SQL"): the head is found without a lock and locked
outside; every CTE that locks is MATERIALIZED; locks are FOR NO KEY UPDATE (a foreign key's KEY SHARE must not hide a
head) and taken in id order wherever a statement waits; what tests time uses the statement's clock, what sets it the wall
clock; on SQLite all batches arrive as one JSON parameter and transactions are IMMEDIATE.

Parameters are named; rows go in as one JSON text on both databases.
States: 0 queued, 1 sending, 2 verifying, 3 held, 10 sent, 11 failed, 12 cancelled; below 10 is `live`.
"""

from __future__ import annotations

from dataclasses import dataclass

# Evolution stores nothing when these happen after a send, so that its silence proves nothing.
DOUBTS = frozenset({"failed_after_send"})
_DOUBTS = ", ".join(f"'{reason}'" for reason in sorted(DOUBTS))


@dataclass(frozen=True, slots=True)
class Statements:
    """One text per verb; `delivery.lane` runs them."""

    step: str
    attempts: str
    finalize: str
    close_attempts: str
    close_applied: str
    mark_sent: str
    parked: str
    sweep: str
    take_over: str
    claim_verifying: str
    wake_instance: str
    put_off: str
    hold_stale: str
    later: str
    now: str


_PG_FINAL_COLUMNS = """x(id bigint, n int, fence int, state int, prov text, wait float8, reason text, refund int,
    message text, closed int, http int, bytes_left boolean, bound_by int)"""

# A doubt sticks to its attempt until that is closed, whatever a later look says.
_PG_CLOSE = f"""
UPDATE chat_attempt a SET
  closed = coalesce(x.closed, a.closed),
  reason = CASE WHEN x.closed IS NULL AND a.reason IN ({_DOUBTS}) THEN a.reason ELSE x.reason END,
  http_status = coalesce(x.http, a.http_status), bytes_left = coalesce(x.bytes_left, a.bytes_left),
  closed_at = CASE WHEN x.closed IS NULL THEN a.closed_at ELSE clock_timestamp() END,
  provider_id = coalesce(x.prov, a.provider_id),
  bound_by = CASE WHEN x.prov IS NULL THEN a.bound_by ELSE x.bound_by END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS {_PG_FINAL_COLUMNS}
WHERE a.delivery_id = x.id AND a.n = x.n
  AND (a.closed IS NULL OR (x.prov IS NOT NULL AND NOT (a.closed = 2 AND a.provider_id = x.prov)))"""

POSTGRESQL = Statements(
    # T1. A head that another session holds is told as busy: its wake-up must not be acknowledged.
    step="""
WITH head AS MATERIALIZED (
  SELECT h.id FROM jsonb_array_elements_text(%(lanes)s::jsonb) AS c(cid)
  CROSS JOIN LATERAL (SELECT x.id, x.conversation_id, x.instance_id, x.state, x.wake_at FROM chat_delivery x
                      WHERE x.conversation_id = c.cid::uuid AND x.live ORDER BY x.seq LIMIT 1) h
  JOIN chat_instance i ON i.id = h.instance_id AND i.gate = 0
  WHERE h.state = 0 AND h.wake_at <= statement_timestamp()
    AND NOT EXISTS (SELECT 1 FROM chat_attempt a WHERE a.conversation_id = h.conversation_id AND a.closed IS NULL
                    AND a.step_at > statement_timestamp() - %(settle)s * interval '1 s')
), mine AS MATERIALIZED (
  SELECT l.id FROM head JOIN chat_delivery l ON l.id = head.id
  WHERE l.state = 0 AND l.wake_at <= statement_timestamp()
  FOR NO KEY UPDATE OF l SKIP LOCKED
), stepped AS (
  UPDATE chat_delivery d SET
    state = 1, fence = d.fence + 1, tries = d.tries + 1, attempts = d.attempts + 1, checks = 0, reason = '',
    owner_id = %(owner)s, wake_at = clock_timestamp() + %(lease)s * interval '1 s'
  FROM mine WHERE d.id = mine.id AND d.state = 0 AND d.wake_at <= statement_timestamp()
  RETURNING d.id, d.conversation_id, d.instance_id, d.attempts, d.fence, d.fingerprint
), opened AS (
  INSERT INTO chat_attempt (delivery_id, conversation_id, instance_id, n, fence, fingerprint, worker_id, step_at, reason)
  SELECT id, conversation_id, instance_id, attempts, fence, fingerprint, %(owner)s, clock_timestamp(), '' FROM stepped
)
SELECT id, conversation_id, false FROM stepped
UNION ALL
SELECT d.id, d.conversation_id, true FROM head JOIN chat_delivery d USING (id) WHERE head.id NOT IN (SELECT id FROM mine)
""",
    attempts="",  # part of the step
    # T4 to T6, T10, T11: evidence (prov) needs no fence and no state, all else needs the fence of its step.
    # A row proven before is locked, too: the lock orders the writes to attempts and messages that follow.
    # An id that WhatsApp has rejected (T17) proves nothing any more, however late its answer comes.
    finalize=f"""
WITH v AS MATERIALIZED (
  SELECT d.id, x.fence, x.state, x.prov, x.wait, x.reason, x.refund
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS {_PG_FINAL_COLUMNS}
  JOIN chat_delivery d ON d.id = x.id
   AND (x.prov IS NOT NULL OR (d.fence = x.fence AND d.state IN (1, 2)))
   AND NOT EXISTS (SELECT 1 FROM chat_attempt a
                   WHERE a.delivery_id = x.id AND a.n = x.n AND a.closed = 2 AND a.provider_id = x.prov)
  ORDER BY d.id FOR NO KEY UPDATE OF d
)
UPDATE chat_delivery d SET
  state = CASE WHEN v.state = 0 AND d.cancel_requested THEN 12 ELSE v.state END,
  reason = v.reason, owner_id = NULL,
  tries = greatest(d.tries - v.refund, 0),
  fence = d.fence + CASE WHEN v.state < 10 THEN 1 ELSE 0 END,
  failure_gen = d.failure_gen + CASE WHEN v.state = 11 THEN 1 ELSE 0 END,
  finished_at = CASE WHEN v.state >= 10 OR (v.state = 0 AND d.cancel_requested) THEN clock_timestamp() END,
  wake_at = CASE WHEN v.wait IS NULL THEN d.wake_at ELSE clock_timestamp() + v.wait * interval '1 s' END,
  sweep_at = CASE WHEN v.wait IS NULL THEN d.sweep_at
                  ELSE least(d.sweep_at, clock_timestamp() + v.wait * interval '1 s') END
FROM v WHERE d.id = v.id
  AND ((v.prov IS NOT NULL AND d.state <> 10) OR (v.prov IS NULL AND d.fence = v.fence AND d.state IN (1, 2)))
RETURNING d.id, d.state, d.tries, d.failure_gen
""",
    close_attempts=_PG_CLOSE,
    # As one of several statements in a transaction of its own: what it wrote itself is what the finalize applied.
    # Proof needs no fence, and neither does doubt.
    close_applied=f"""{_PG_CLOSE}
  AND (x.prov IS NOT NULL OR x.reason IN ({_DOUBTS})
       OR EXISTS (SELECT 1 FROM chat_delivery d WHERE d.id = x.id AND d.xmin = pg_current_xact_id()::xid))
""",
    mark_sent=f"""
UPDATE chat_message m SET
  provider_id = x.prov, ack = greatest(m.ack, 1), ack_error = false, sent_at = coalesce(m.sent_at, clock_timestamp())
FROM jsonb_to_recordset(%(rows)s::jsonb) AS {_PG_FINAL_COLUMNS}
WHERE m.id = x.message::uuid AND x.prov IS NOT NULL
  AND (m.provider_id IS DISTINCT FROM x.prov OR m.ack < 1 OR m.sent_at IS NULL)
""",
    # Acks and echoes that came before anybody knew whose id theirs is.
    parked=f"""
SELECT d.id, e.instance_id, e.provider_id FROM jsonb_to_recordset(%(rows)s::jsonb) AS {_PG_FINAL_COLUMNS}
JOIN chat_delivery d ON d.id = x.id
JOIN chat_evidence e ON e.instance_id = d.instance_id AND e.provider_id = x.prov
""",
    sweep="""
WITH due AS MATERIALIZED (
  SELECT id FROM chat_delivery WHERE live AND sweep_at <= statement_timestamp()
  ORDER BY sweep_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE chat_delivery d SET sweep_at = CASE
    WHEN d.wake_at > statement_timestamp() THEN d.wake_at
    WHEN d.state = 3  -- a person's decision sets the alarm itself
      OR EXISTS (SELECT 1 FROM chat_delivery e WHERE e.conversation_id = d.conversation_id AND e.live AND e.seq < d.seq)
    THEN clock_timestamp() + interval '5 min'
    ELSE clock_timestamp() + %(again)s * interval '1 s' END
FROM due WHERE d.id = due.id
RETURNING d.id, d.conversation_id, d.instance_id, d.state, d.wake_at <= statement_timestamp()
""",
    # T7. Open attempts are few, so their partial index finds a dead worker's rows without one on the hot table.
    take_over="""
WITH dead AS MATERIALIZED (
  SELECT w.id FROM chat_worker w
  WHERE (w.stopped OR w.beat_at < statement_timestamp() - %(dead)s * interval '1 s')
    AND w.beat_at > statement_timestamp() - %(horizon)s * interval '1 s'
), rows AS MATERIALIZED (
  SELECT d.id FROM chat_delivery d
  WHERE d.id IN (SELECT a.delivery_id FROM chat_attempt a WHERE a.closed IS NULL AND a.worker_id IN (SELECT id FROM dead))
    AND d.live AND d.state = 1 AND d.owner_id IN (SELECT id FROM dead)
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE chat_delivery d SET state = 2, fence = d.fence + 1, owner_id = NULL, checks = 0, reason = 'worker_lost',
  wake_at = clock_timestamp(), sweep_at = clock_timestamp()
FROM rows WHERE d.id = rows.id AND d.state = 1
RETURNING d.id
""",
    # T8, and T7 for a lease that is over.
    claim_verifying="""
WITH due AS MATERIALIZED (
  SELECT id FROM chat_delivery
  WHERE id IN (SELECT value::bigint FROM jsonb_array_elements_text(%(ids)s::jsonb))
    AND state IN (1, 2) AND wake_at <= statement_timestamp()
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE chat_delivery d SET checks = CASE d.state WHEN 1 THEN 1 ELSE d.checks + 1 END, state = 2, fence = d.fence + 1,
  owner_id = %(owner)s, wake_at = clock_timestamp() + %(lease)s * interval '1 s'
FROM due WHERE d.id = due.id AND d.state IN (1, 2) AND d.wake_at <= statement_timestamp()
RETURNING d.id
""",
    wake_instance="""
WITH heads AS MATERIALIZED (
  SELECT d.id FROM chat_delivery d WHERE d.instance_id = %(instance)s AND d.live
    AND NOT EXISTS (SELECT 1 FROM chat_delivery e WHERE e.conversation_id = d.conversation_id AND e.live AND e.seq < d.seq)
  ORDER BY d.id FOR NO KEY UPDATE OF d
)
UPDATE chat_delivery d SET sweep_at = clock_timestamp() FROM heads WHERE d.id = heads.id
""",
    put_off="""
WITH heads AS MATERIALIZED (
  SELECT (SELECT h.id FROM chat_delivery h WHERE h.conversation_id = x.lane AND h.live ORDER BY h.seq LIMIT 1) AS id, x.wait
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS x(lane uuid, wait float8)
), mine AS MATERIALIZED (
  SELECT d.id, heads.wait FROM heads JOIN chat_delivery d ON d.id = heads.id
  WHERE d.state = 0 FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE chat_delivery d SET sweep_at = clock_timestamp() + mine.wait * interval '1 s' FROM mine WHERE d.id = mine.id
""",
    # What a person has released or replayed since is as fresh as that decision.
    hold_stale="""
WITH old AS MATERIALIZED (
  SELECT d.id FROM chat_delivery d
  WHERE d.instance_id = %(instance)s AND d.live AND d.state = 0 AND d.kind IN (0, 4)
    AND d.created_at < statement_timestamp() - %(age)s * interval '1 s'
    AND NOT EXISTS (SELECT 1 FROM chat_passportentry p WHERE p.message_id = d.message_id
                    AND p.event IN ('released', 'replayed')
                    AND p.at >= statement_timestamp() - %(age)s * interval '1 s')
  ORDER BY d.id FOR NO KEY UPDATE OF d
)
UPDATE chat_delivery d SET state = 3, reason = 'stale', fence = d.fence + 1
FROM old WHERE d.id = old.id AND d.state = 0
RETURNING d.message_id
""",
    later="statement_timestamp() + %s * interval '1 s'",
    now="SELECT extract(epoch FROM clock_timestamp())::float8",
)

_NOW = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


def _in(seconds: str) -> str:
    """SQLite's text for now + that many seconds (a parameter or a column)."""
    return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', ({seconds}) || ' seconds')"


_SQLITE_FINAL_ROWS = """(SELECT value->>'id' AS id, value->>'n' AS n, value->>'fence' AS fence, value->>'state' AS state,
    value->>'prov' AS prov, value->>'wait' AS wait, value->>'reason' AS reason, value->>'refund' AS refund,
    value->>'message' AS message, value->>'closed' AS closed, value->>'http' AS http,
    value->>'bytes_left' AS bytes_left, value->>'bound_by' AS bound_by
  FROM json_each(%(rows)s))"""

SQLITE = Statements(
    step=f"""
UPDATE chat_delivery SET
  state = 1, fence = fence + 1, tries = tries + 1, attempts = attempts + 1, checks = 0, reason = '',
  owner_id = %(owner)s, wake_at = {_in("%(lease)s")}
WHERE id IN (SELECT (SELECT h.id FROM chat_delivery h WHERE h.conversation_id = j.value AND h.live ORDER BY h.seq LIMIT 1)
             FROM json_each(%(lanes)s) j)
  AND state = 0 AND wake_at <= {_NOW}
  AND EXISTS (SELECT 1 FROM chat_instance i WHERE i.id = instance_id AND i.gate = 0)
  AND NOT EXISTS (SELECT 1 FROM chat_attempt a WHERE a.conversation_id = chat_delivery.conversation_id
                  AND a.closed IS NULL AND a.step_at > {_in("-1 * %(settle)s")})
RETURNING id, conversation_id, 0
""",
    attempts=f"""
INSERT INTO chat_attempt (delivery_id, conversation_id, instance_id, n, fence, fingerprint, worker_id, step_at, reason)
SELECT id, conversation_id, instance_id, attempts, fence, fingerprint, owner_id, {_NOW}, ''
FROM chat_delivery WHERE id IN (SELECT value FROM json_each(%(ids)s))
""",
    finalize=f"""
UPDATE chat_delivery SET
  state = CASE WHEN v.state = 0 AND cancel_requested THEN 12 ELSE v.state END,
  reason = v.reason, owner_id = NULL,
  tries = max(tries - v.refund, 0),
  fence = chat_delivery.fence + (v.state < 10),
  failure_gen = failure_gen + (v.state = 11),
  finished_at = CASE WHEN v.state >= 10 OR (v.state = 0 AND cancel_requested) THEN {_NOW} END,
  wake_at = CASE WHEN v.wait IS NULL THEN wake_at ELSE {_in("v.wait")} END,
  sweep_at = CASE WHEN v.wait IS NULL THEN sweep_at ELSE min(sweep_at, {_in("v.wait")}) END
FROM {_SQLITE_FINAL_ROWS} v
WHERE chat_delivery.id = v.id
  AND ((v.prov IS NOT NULL AND chat_delivery.state <> 10)
    OR (v.prov IS NULL AND chat_delivery.fence = v.fence AND chat_delivery.state IN (1, 2)))
  AND NOT EXISTS (SELECT 1 FROM chat_attempt a
                  WHERE a.delivery_id = v.id AND a.n = v.n AND a.closed = 2 AND a.provider_id = v.prov)
RETURNING id, state, tries, failure_gen
""",
    close_attempts=f"""
UPDATE chat_attempt SET
  closed = coalesce(x.closed, chat_attempt.closed),
  reason = CASE WHEN x.closed IS NULL AND chat_attempt.reason IN ({_DOUBTS}) THEN chat_attempt.reason
           ELSE x.reason END,
  http_status = coalesce(x.http, http_status), bytes_left = coalesce(x.bytes_left, chat_attempt.bytes_left),
  closed_at = CASE WHEN x.closed IS NULL THEN closed_at ELSE {_NOW} END,
  provider_id = coalesce(x.prov, provider_id),
  bound_by = CASE WHEN x.prov IS NULL THEN chat_attempt.bound_by ELSE x.bound_by END
FROM {_SQLITE_FINAL_ROWS} x
WHERE chat_attempt.delivery_id = x.id AND chat_attempt.n = x.n
  AND (chat_attempt.closed IS NULL
    OR (x.prov IS NOT NULL AND NOT (chat_attempt.closed = 2 AND chat_attempt.provider_id = x.prov)))
""",
    close_applied="",  # no round trips to save
    mark_sent=f"""
UPDATE chat_message SET
  provider_id = x.prov, ack = max(ack, 1), ack_error = 0, sent_at = coalesce(sent_at, {_NOW})
FROM {_SQLITE_FINAL_ROWS} x
WHERE chat_message.id = x.message AND x.prov IS NOT NULL
  AND (provider_id IS NOT x.prov OR ack < 1 OR sent_at IS NULL)
""",
    parked=f"""
SELECT d.id, e.instance_id, e.provider_id FROM {_SQLITE_FINAL_ROWS} x
JOIN chat_delivery d ON d.id = x.id
JOIN chat_evidence e ON e.instance_id = d.instance_id AND e.provider_id = x.prov
""",
    sweep=f"""
UPDATE chat_delivery SET sweep_at = CASE
    WHEN wake_at > {_NOW} THEN wake_at
    WHEN state = 3
      OR EXISTS (SELECT 1 FROM chat_delivery e WHERE e.conversation_id = chat_delivery.conversation_id AND e.live
                 AND e.seq < chat_delivery.seq)
    THEN {_in("300")}
    ELSE {_in("%(again)s")} END
WHERE id IN (SELECT id FROM chat_delivery WHERE live AND sweep_at <= {_NOW} ORDER BY sweep_at LIMIT %(limit)s)
RETURNING id, conversation_id, instance_id, state, wake_at <= {_NOW}
""",
    take_over=f"""
UPDATE chat_delivery SET state = 2, fence = fence + 1, owner_id = NULL, checks = 0, reason = 'worker_lost',
  wake_at = {_NOW}, sweep_at = {_NOW}
WHERE id IN (
    SELECT a.delivery_id FROM chat_attempt a JOIN chat_worker w ON w.id = a.worker_id
    WHERE a.closed IS NULL AND (w.stopped OR w.beat_at < {_in("-1 * %(dead)s")}) AND w.beat_at > {_in("-1 * %(horizon)s")})
  AND live AND state = 1
  AND owner_id IN (SELECT w.id FROM chat_worker w WHERE w.stopped OR w.beat_at < {_in("-1 * %(dead)s")})
RETURNING id
""",
    claim_verifying=f"""
UPDATE chat_delivery SET checks = CASE state WHEN 1 THEN 1 ELSE checks + 1 END, state = 2, fence = fence + 1,
  owner_id = %(owner)s, wake_at = {_in("%(lease)s")}
WHERE id IN (SELECT value FROM json_each(%(ids)s)) AND state IN (1, 2) AND wake_at <= {_NOW}
RETURNING id
""",
    wake_instance=f"""
UPDATE chat_delivery SET sweep_at = {_NOW}
WHERE instance_id = %(instance)s AND live
  AND NOT EXISTS (SELECT 1 FROM chat_delivery e WHERE e.conversation_id = chat_delivery.conversation_id AND e.live
                  AND e.seq < chat_delivery.seq)
""",
    put_off=f"""
UPDATE chat_delivery SET sweep_at = {_in("v.wait")}
FROM (SELECT (SELECT h.id FROM chat_delivery h WHERE h.conversation_id = value->>'lane' AND h.live
              ORDER BY h.seq LIMIT 1) AS head, value->>'wait' AS wait
      FROM json_each(%(rows)s)) v
WHERE chat_delivery.id = v.head AND chat_delivery.state = 0
""",
    hold_stale=f"""
UPDATE chat_delivery SET state = 3, reason = 'stale', fence = fence + 1
WHERE instance_id = %(instance)s AND live AND state = 0 AND kind IN (0, 4) AND created_at < {_in("-1 * %(age)s")}
  AND NOT EXISTS (SELECT 1 FROM chat_passportentry p WHERE p.message_id = chat_delivery.message_id
                  AND p.event IN ('released', 'replayed') AND p.at >= {_in("-1 * %(age)s")})
RETURNING message_id
""",
    later=_in("%s"),
    now="SELECT (julianday('now') - 2440587.5) * 86400.0",
)


def statements(vendor: str) -> Statements:
    """The statements for a Django connection's `vendor`."""
    return POSTGRESQL if vendor == "postgresql" else SQLITE
