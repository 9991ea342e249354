// From the answers of the API to what a person is told. Pure: no words, only keys of words and the values in them.

const SLOW_MS = 20 * 60_000; // after WhatsApp asked to slow down, the pace stays lower for about this long
const BAD = new Set(["no_workers", "redis_away", "dead_letters", "stream_old"]);
const KNOWN = new Set([
  ...BAD, "stream_long", "stream_over_bound", "list_long", "rabbitmq_away", "no_media_workers", "media_dead_letters", "media_long", "media_old", "receipts_fail",
]);
const WHYS = new Set([
  "disconnected", "connection_closed", "logged_out", "removed", "mute", "rate_limited", "connect_failed", "unauthorized", "forbidden",
  "bad_address", "wrong_base_url", "instance_missing", "instance_not_loaded",
]);
const PLACES = { workers: "workers", instances: "numbers" };
const RESTART_HELPS = new Set(["mute", "instance_not_loaded"]);

function stream(key, row) {
  const dead = key === "dead_letter_stream";
  const [waiting, working] = dead ? [row.length, null] : [row.lag, row.pending];
  return { key, known: true, waiting, working, later: 0, oldest: row.oldest_age_seconds, readers: dead ? null : row.consumers, outstanding: waiting + (working ?? 0) };
}

function list(key, row) {
  const { length: waiting, in_hand: working = null, later = 0 } = row;
  return { key, known: true, waiting, working, later, oldest: null, readers: null, outstanding: waiting + (working ?? 0) + later };
}

function media({ waiting, oldest_age_seconds: oldest, queue }) {
  return { key: "media", known: true, waiting, working: null, later: 0, oldest, readers: queue?.consumers ?? null, outstanding: waiting };
}

const rowsOf = (metrics, shape) => Object.entries(metrics ?? {}).filter(([, row]) => row && typeof row === "object").map(([key, row]) => shape(key, row));

/** One row per queue: `{key, known, waiting, working, later, oldest (s), readers, outstanding}`; null where it cannot be told. */
export function figuresOf(status) {
  return [
    ...rowsOf(status.stream_metrics, stream),
    ...rowsOf(status.metrics, list),
    ...(status.media_metrics ? [media(status.media_metrics)] : []),
  ];
}

/** What is wrong with a number, if anything: "gate" | "link" | "slow" | "". */
export function troubleOf(instance, now) {
  if (instance.gate !== "open") return "gate";
  if (instance.connection === "close" || instance.connection === "connecting") return "link";
  return instance.throttled_at && now - Date.parse(instance.throttled_at) < SLOW_MS ? "slow" : "";
}

/** The key of the sentence that says why a number does not send as it should, and what to press. */
export function whyKey(instance, now) {
  const trouble = troubleOf(instance, now);
  if (trouble === "slow") return "why_slow";
  if (trouble === "link") return `why_${instance.connection}`;
  return WHYS.has(instance.gate_reason) ? `why_${instance.gate_reason}` : "why_other";
}

/** Which buttons a number offers its administrator. */
export function remediesOf(instance) {
  const restart = RESTART_HELPS.has(instance.gate_reason);
  const linked = instance.connection === "open" || instance.connection === "unknown";
  return { restart, connect: !restart && (!linked || ["logged_out", "removed", "instance_missing"].includes(instance.gate_reason)) };
}

/** Messages of an instance whose outcome a person must decide, other than those that grew too old. */
export const unclearOf = (instance) => Math.max(0, (instance.held ?? 0) - (instance.stale ?? 0));

function numberAlerts(instance, now) {
  const { id, name, stale = 0 } = instance;
  const unclear = unclearOf(instance);
  const trouble = troubleOf(instance, now);
  const why = { do: whyKey(instance, now), values: { name, reason: instance.gate_reason } };
  return [
    ...(trouble === "gate" ? [{ id: `gate ${id}`, level: instance.gate_reason === "rate_limited" ? "note" : "bad", text: "alert_gate", ...why, to: "numbers" }] : []),
    ...(trouble === "link" ? [{ id: `link ${id}`, level: "warn", text: "alert_link", ...why, to: "numbers" }] : []),
    ...(trouble === "slow" ? [{ id: `slow ${id}`, level: "note", text: "alert_slow", ...why, to: "numbers" }] : []),
    ...(stale ? [{ id: `stale ${id}`, level: "warn", text: "alert_stale", do: "do_stale", values: { name, n: stale }, to: "numbers" }] : []),
    ...(unclear ? [{ id: `held ${id}`, level: "warn", text: "alert_held", do: "heldHint", values: { name, n: unclear }, to: "numbers" }] : []),
  ];
}

function letterAlert(row, letters) {
  const own = letters.rows?.length ?? 0;
  if (!own && letters.rows) return { id: "foreign", level: "note", text: "alert_foreign_letters", do: "do_foreign_letters", values: { n: row?.waiting ?? 0 }, to: "letters" };
  const n = letters.rows ? `${own}${letters.more ? "+" : ""}` : row.waiting;
  return { id: "letters", level: "bad", text: "alert_dead_letters", do: "do_dead_letters", values: { n }, to: "letters" };
}

function serverAlert(alert, figures, letters) {
  const mediaQueue = alert.queue.includes("media");
  const row = figures.find(({ key }) => key === (mediaQueue ? "media" : alert.queue));
  if (alert.code === "dead_letters" && alert.queue !== "dead") return letterAlert(row, letters);
  const key = alert.queue === "dead" ? "list_dead" : KNOWN.has(alert.code) ? alert.code : "other";
  const values = { queue: row ? `queue_${row.key}` : "", n: row?.outstanding ?? 0, age: row?.oldest ?? 0, message: alert.message, ...(alert.instance && { name: alert.instance.name }) };
  const level = key === "list_dead" ? "note" : BAD.has(key) ? "bad" : "warn";
  return { id: `${alert.queue} ${alert.code} ${alert.instance?.id ?? ""}`, level, text: `alert_${key}`, do: `do_${key}`, values, to: PLACES[alert.queue] ?? "queues" };
}

/** What `numberAlerts` tells in more words, from the numbers themselves. */
const isTold = ({ queue, code }) => queue === "instances" && code.startsWith("instance_");

const RANK = { bad: 0, warn: 1, note: 2 };
const CAUSES = new Set(["alert_no_workers", "alert_redis_away"]); // what explains others stands before them
const rankOf = ({ text, level }) => (CAUSES.has(text) ? -1 : RANK[level]);

/**
 * Everything a person should know now, the worst first: `{id, level: "bad"|"warn"|"note", text, do, values, to}`.
 * `values.queue` is a key of words, `values.age` is in seconds. A note asks for nothing.
 */
export function alertsOf({ status, instances, letters, clockSkew }, now) {
  const figures = status ? figuresOf(status) : [];
  const told = (status?.alerts ?? []).filter((alert) => !isTold(alert)).map((alert) => serverAlert(alert, figures, letters));
  const mine = letters.rows?.length && !told.some(({ id }) => id === "letters") ? [letterAlert(null, letters)] : [];
  const numbers = (instances ?? []).flatMap((instance) => numberAlerts(instance, now + clockSkew));
  return [...told, ...mine, ...numbers].sort((one, other) => rankOf(one) - rankOf(other));
}

/** How many of the alerts ask for something. */
export const pressing = (alerts) => alerts.filter(({ level }) => level !== "note").length;

/** Dead letters by reason, the largest group first: `[{reason, reason_text, rows}]`. */
export function byReason(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row.reason)) groups.set(row.reason, { reason: row.reason, reason_text: row.reason_text, rows: [] });
    groups.get(row.reason).rows.push(row);
  }
  return [...groups.values()].sort((one, other) => other.rows.length - one.rows.length);
}

/** How many of these dead letters belong to each instance: `[{name, n, connection, id}]`. */
export function byInstance(rows) {
  const counts = new Map();
  for (const { instance } of rows) counts.set(instance.id, { ...instance, n: (counts.get(instance.id)?.n ?? 0) + 1 });
  return [...counts.values()];
}

/** A number as far as this page may show it: country, area, and the last four digits. */
export function maskedPhone(digits) {
  return /^\d{8,}$/.test(digits ?? "") ? `+${digits.slice(0, 4)} … ${digits.slice(-4)}` : "";
}

const HOPEFUL = /tried again|tried once more|trying again|is tried|the message waits|we are checking/i;

/**
 * Why these messages failed: `{text, usedUp}`. The server's sentences are those of a message under way; where one ends with
 * the promise of another try, that try is over: only what happened is left, and `usedUp` says that it was the last.
 */
export function whyFailed(reasonText, lang) {
  const text = reasonText?.[lang] ?? reasonText?.en ?? "";
  if (!HOPEFUL.test(reasonText?.en ?? "")) return { text, usedUp: false };
  return { text: `${text.split(/[.;] /)[0].replace(/\.$/, "")}.`, usedUp: true };
}

/** Numbers with trouble first, then those with decisions to take, else in the server's order. */
export function troubledFirst(instances, now) {
  const rank = (instance) => (["gate", "link"].includes(troubleOf(instance, now)) ? 0 : instance.held || instance.stale ? 1 : 2);
  return [...instances].sort((one, other) => rank(one) - rank(other));
}
