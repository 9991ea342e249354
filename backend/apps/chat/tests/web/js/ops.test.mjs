import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { TEXTS, translator } from "../../../static/chat/js/i18n.js";
import { createStore } from "../../../static/chat/js/store.js";
import { createActions } from "../../../static/chat/js/ops/actions.js";
import { pointsOf } from "../../../static/chat/js/ops/components/sparkline.js";
import { alertsOf, byReason, figuresOf, maskedPhone, pressing, remediesOf, troubleOf, whyFailed, whyKey } from "../../../static/chat/js/ops/figures.js";
import { initialState, reduce, SAMPLES } from "../../../static/chat/js/ops/state.js";
import { en } from "../../../static/chat/js/ops/texts/en.js";
import { pt } from "../../../static/chat/js/ops/texts/pt.js";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const before = { ...TEXTS.en }; // words.js is not loaded yet
await import("../../../static/chat/js/ops/words.js");

const places = (entry) => [...new Set(JSON.stringify(entry).match(/\{\w+\}/g) ?? [])].sort();
const shape = (entry) => (typeof entry === "string" ? "text" : Object.keys(entry).sort().join());

function stream(values = {}) {
  return { name: "s", length: 0, pending: 0, lag: 0, consumers: 1, oldest_age_seconds: null, groups: [], ...values };
}

function statusWith(values = {}) {
  return {
    stream_metrics: { send_message_stream: stream(), mark_as_read_stream: stream(), dead_letter_stream: stream({ length: values.dead ?? 0 }), total_streams_length: 0 },
    metrics: { fetch_profile_pic: { name: "l", length: 2, in_hand: 1, later: 3 }, dead: { name: "d", length: 0 }, total: 2 },
    media_metrics: { waiting: 4, oldest_age_seconds: 9, queue: null },
    workers: [], alerts: [], timestamp: new Date(NOW).toISOString(), ...values,
  };
}

const number = (values) => ({ id: "i", name: "vendas", connection: "open", gate: "open", gate_reason: "", waiting: 0, held: 0, stale: 0, throttled_at: null, ...values });
const letter = (id, values = {}) => ({ id, failure_gen: 1, reason: "x", instance: { id: "i", name: "vendas" }, contact: {}, message: {}, ...values });
const stateWith = (values) => ({ ...initialState, letters: { ...initialState.letters, rows: [] }, ...values });

test("both languages have the same keys, shapes and places, and none is the inbox's", () => {
  assert.deepEqual(Object.keys(pt).sort(), Object.keys(en).sort());
  for (const key of Object.keys(en)) {
    assert.equal(shape(pt[key]), shape(en[key]), key);
    assert.deepEqual(places(pt[key]), places(en[key]), key);
    assert.ok(!(key in before), `${key} is a text of the inbox, too`);
  }
});

test("every text the page asks for exists, and every text is asked for", () => {
  const folder = new URL("../../../static/chat/js/ops/", import.meta.url);
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js") && !name.startsWith("texts"));
  const code = files.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
  for (const [, key] of code.matchAll(/\b(?:t|translate\(\))\("(\w+)"/g)) assert.ok(key in TEXTS.en, `t("${key}")`);
  const built = /^(queue|column|link|gateIs|goTo|alert|do|why)_/;
  for (const key of Object.keys(en)) assert.ok(built.test(key) || code.includes(`"${key}"`), `nobody uses ${key}`);
});

test("every alert of the server and every place has words", () => {
  const codes = ["no_workers", "redis_away", "dead_letters", "stream_long", "stream_old", "stream_over_bound", "list_long",
    "rabbitmq_away", "no_media_workers", "media_dead_letters", "media_long", "media_old", "receipts_fail"];
  const alerts = [...codes, "never_heard_of"].map((code) => ({ code, queue: "send_message_stream", message: "plain" }));
  const shown = alertsOf(stateWith({ status: statusWith({ alerts }) }), NOW);
  assert.equal(shown.length, alerts.length);
  for (const one of shown) {
    for (const key of [one.text, one.do, `goTo_${one.to}`]) assert.ok(key in TEXTS.en, key);
    for (const lang of ["pt", "en"]) assert.doesNotMatch(translator(lang)(one.text, { name: "n", age: "a", ...one.values }), /[{}]/);
  }
  assert.ok(shown.some(({ text, values }) => text === "alert_other" && values.message === "plain"));
  for (const row of figuresOf(statusWith())) assert.ok(`queue_${row.key}` in TEXTS.en, row.key);
});

test("figures: what waits, what is in hand, what comes later", () => {
  const rows = Object.fromEntries(figuresOf(statusWith({ dead: 7 })).map((row) => [row.key, row]));
  assert.deepEqual([rows.fetch_profile_pic.waiting, rows.fetch_profile_pic.working, rows.fetch_profile_pic.outstanding], [2, 1, 6]);
  assert.deepEqual([rows.dead_letter_stream.waiting, rows.dead_letter_stream.working, rows.media.waiting], [7, null, 4]);
  assert.deepEqual(figuresOf({ stream_metrics: { error: "redis_away" }, metrics: { total: 0, error: "redis_away" }, media_metrics: null }), []);
});

test("without alerts, troubled numbers or dead letters it is quiet", () => {
  assert.deepEqual(alertsOf(stateWith({ status: statusWith(), instances: [number(), number({ connection: "unknown" })] }), NOW), []);
});

test("dead letters of others ask for nothing; one's own come first", () => {
  const alerts = [{ code: "dead_letters", queue: "dead_letter_stream", message: "" }];
  const foreign = alertsOf(stateWith({ status: statusWith({ dead: 3, alerts }) }), NOW);
  assert.deepEqual([foreign[0].level, foreign[0].values.n, pressing(foreign)], ["note", 3, 0]);
  const letters = { ...initialState.letters, rows: [letter("a"), letter("b")] };
  const own = alertsOf(stateWith({ status: statusWith({ dead: 3, alerts }), letters, instances: [number({ stale: 4, held: 4 })] }), NOW);
  assert.deepEqual(own.map(({ level, values }) => [level, values.n]), [["bad", "2"], ["warn", 4]]);
  const told = (more) => alertsOf(stateWith({ status: statusWith(), letters: { ...letters, more } }), NOW)[0].values.n;
  assert.equal(told(false), "2", "told even when the notice board is empty");
  assert.equal(told(true), "2+", "never the count of all teams");
});

test("a number's trouble has a reason, and only what helps is offered", () => {
  const cases = [
    [{ gate: "parked", gate_reason: "logged_out", connection: "close" }, "gate", "why_logged_out", { restart: false, connect: true }],
    [{ gate: "parked", gate_reason: "mute" }, "gate", "why_mute", { restart: true, connect: false }],
    [{ gate: "parked", gate_reason: "rate_limited" }, "gate", "why_rate_limited", { restart: false, connect: false }],
    [{ gate: "frozen", gate_reason: "never_heard_of" }, "gate", "why_other", { restart: false, connect: false }],
    [{ connection: "connecting" }, "link", "why_connecting", { restart: false, connect: true }],
    [{ throttled_at: new Date(NOW - 60_000).toISOString() }, "slow", "why_slow", { restart: false, connect: false }],
    [{ throttled_at: new Date(NOW - 7_200_000).toISOString() }, "", null, { restart: false, connect: false }],
  ];
  for (const [values, trouble, why, remedies] of cases) {
    assert.equal(troubleOf(number(values), NOW), trouble);
    if (why) assert.equal(whyKey(number(values), NOW), why);
    if (why) assert.ok(why in TEXTS.en, why);
    assert.deepEqual(remediesOf(number(values)), remedies);
  }
});

test("causes stand first, what ends by itself last and uncounted", () => {
  const alerts = ["stream_long", "stream_old", "no_workers"].map((code) => ({ code, queue: code === "no_workers" ? "workers" : "send_message_stream", message: "" }));
  const instances = [number({ gate: "parked", gate_reason: "rate_limited" })];
  const shown = alertsOf(stateWith({ status: statusWith({ alerts }), instances }), NOW);
  assert.deepEqual(shown.map(({ text }) => text), ["alert_no_workers", "alert_stream_old", "alert_stream_long", "alert_gate"]);
  assert.equal(pressing(shown), 3);
});

test("a numbers alert of the server is told once, from the number itself", () => {
  const alerts = [{ code: "instance_logged_out", queue: "instances", message: "", instance: { id: "i", name: "vendas" } }];
  const instances = [number({ gate: "parked", gate_reason: "logged_out", connection: "close" })];
  assert.deepEqual(alertsOf(stateWith({ status: statusWith({ alerts }), instances }), NOW).map(({ text }) => text), ["alert_gate"]);
});

test("why a message failed does not promise another try", () => {
  const slow = { en: "WhatsApp was too slow to look up the number. It will be tried again.", pt: "O WhatsApp demorou. Será tentado de novo." };
  assert.deepEqual(whyFailed(slow, "pt"), { text: "O WhatsApp demorou.", usedUp: true });
  const lasting = { en: "This number is not on WhatsApp. Check the number with the customer.", pt: "Não está no WhatsApp. Confira." };
  assert.deepEqual(whyFailed(lasting, "en"), { text: lasting.en, usedUp: false });
  assert.deepEqual(whyFailed(null, "en"), { text: "", usedUp: false });
});

test("no whole phone number is shown", () => {
  assert.equal(maskedPhone("5511988771002"), "+5511 … 1002");
  assert.equal(maskedPhone("123"), "");
  assert.equal(maskedPhone(undefined), "");
});

test("the same reason is one group, the largest first", () => {
  const groups = byReason([letter("a", { reason: "one" }), letter("b", { reason: "two" }), letter("c", { reason: "two" })]);
  assert.deepEqual(groups.map(({ reason, rows }) => [reason, rows.length]), [["two", 2], ["one", 1]]);
});

test("the trend keeps two minutes and fits its box", () => {
  let state = initialState;
  for (let n = 0; n < SAMPLES + 5; n += 1) state = reduce(state, { type: "status/loaded", status: statusWith({ dead: n }), at: NOW });
  assert.equal(state.history.dead_letter_stream.length, SAMPLES);
  const points = pointsOf(state.history.dead_letter_stream).split(" ").map((pair) => pair.split(",").map(Number));
  assert.ok(points.every(([x, y]) => x >= 0 && x <= 120 && y >= 0 && y <= 24));
});

test("what is chosen and gone is not chosen any more", () => {
  let state = reduce(initialState, { type: "letters/loaded", results: [letter("a"), letter("b")], next: "x" });
  state = reduce(state, { type: "choose", ids: ["a", "b"], on: true });
  state = reduce(state, { type: "choose/everything" });
  assert.equal(state.everything, true);
  state = reduce(state, { type: "letters/loaded", results: [letter("b")], next: null });
  assert.deepEqual([state.chosen, state.everything], [["b"], false]);
});

/** Actions on an API that a test makes up; `calls` is what they asked for. */
function setUp(api, { visible = () => true } = {}) {
  const calls = [];
  const timers = [];
  const recorded = Object.fromEntries(Object.entries({
    status: () => statusWith(), instances: () => ({ results: [] }), letters: () => ({ results: [], next: null }), ...api,
  }).map(([name, act]) => [name, async (...args) => {
    calls.push([name, ...args]);
    return act(...args);
  }]));
  const store = createStore(reduce, initialState);
  const setTimer = (action, delay) => timers.push({ action, delay }) - 1;
  const clearTimer = (n) => n !== undefined && (timers[n] = null);
  const actions = createActions({ store, api: recorded, prefs: {}, translate: () => translator("en"), isVisible: visible, setTimer, clearTimer });
  return { actions, store, calls, waiting: () => timers.filter((one) => one?.delay === 2000) };
}

test("it looks again after a pause, and not while nobody can see it", async () => {
  let visible = true;
  const { actions, calls, waiting } = setUp({}, { visible: () => visible });
  await actions.look();
  assert.equal(waiting().length, 1);
  visible = false;
  await actions.look();
  assert.equal(waiting().length, 0);
  assert.equal(calls.filter(([name]) => name === "status").length, 2);
  assert.equal(calls.filter(([name]) => name === "letters").length, 1, "dead letters are read when their count moves");
});

test("a look that fails says so and goes on; signed out ends it", async () => {
  const { ApiProblem } = await import("../../../static/chat/js/call.js");
  let status = 503;
  const { actions, store, waiting } = setUp({ status: () => { throw new ApiProblem(status); } });
  await actions.look();
  assert.deepEqual([store.getState().failing, waiting().length], [true, 1]);
  status = 401;
  await actions.look();
  assert.deepEqual([store.getState().signedOut, waiting().length], [true, 0]);
});

test("discarding names what somebody else was faster with, and stops at real trouble", async () => {
  const { ApiProblem } = await import("../../../static/chat/js/call.js");
  const answers = { a: null, b: 409, c: 503, d: null };
  const { actions, store, calls } = setUp({ discard: (id) => { if (answers[id]) throw new ApiProblem(answers[id]); } });
  await actions.discard(["a", "b", "c", "d"].map((id) => letter(id)));
  assert.deepEqual(calls.filter(([name]) => name === "discard").map(([, id, gen]) => [id, gen]), [["a", 1], ["b", 1], ["c", 1]]);
  const said = store.getState().toasts.map(({ text }) => text);
  assert.ok(said.some((text) => text.includes("1 message discarded") && text.includes("somebody else")), said.join());
});
