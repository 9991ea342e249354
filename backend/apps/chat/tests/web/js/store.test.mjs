import assert from "node:assert/strict";
import { test } from "node:test";
import { createStore, initialState, reduce, totalUnread, visibleConversations } from "../../../static/chat/js/store.js";
import { partsOf, threadDays, waitingMessages } from "../../../static/chat/js/threads.js";

const at = (minute) => new Date(Date.UTC(2026, 10, 21, 12, minute)).toISOString();
const conversation = (id, minute, more = {}) => ({ id, status: "open", unread_count: 0, last_message_at: at(minute), contact: { name: id }, ...more });
const message = (id, minute, more = {}) => ({ id, conversation: "c", direction: "outgoing", status: "queued", attempts: 0, created_at: at(minute), content: id, ...more });
const run = (state, ...actions) => actions.reduce(reduce, state);
const event = (type, fields) => ({ type: "event", event: { type, ...fields } });
const loaded = (...results) => run(initialState, { type: "thread/loaded", id: "c", results, next: null, fresh: true });
const idsOf = (state) => state.threads.c.ids;

test("an unknown action or event changes nothing", () => {
  assert.equal(run(initialState, { type: "no such" }, event("from_the_future", { seq: 1 })), initialState);
});

test("subscribers hear of changes, and only of changes", () => {
  const store = createStore(reduce, initialState);
  let heard = 0;
  const leave = store.subscribe(() => (heard += 1));
  store.dispatch({ type: "no such" });
  store.dispatch({ type: "filter/set", filter: "closed" });
  leave();
  store.dispatch({ type: "filter/set", filter: "open" });
  assert.equal(heard, 1);
});

test("the list shows the chosen filter, latest first, and follows an update out of it", () => {
  const state = run(initialState, { type: "list/loaded", filter: "open", results: [conversation("a", 1), conversation("b", 2)], next: null });
  assert.deepEqual(visibleConversations(state).map(({ id }) => id), ["b", "a"]);
  const after = run(state, event("conversation_updated", { conversation: conversation("b", 3, { status: "closed" }) }));
  assert.deepEqual(visibleConversations(after).map(({ id }) => id), ["a"]);
});

test("a search shows what the server found, in its order, and a late answer to an older query is dropped", () => {
  const state = run(
    initialState,
    { type: "search/set", query: "an" },
    { type: "search/set", query: "ana" },
    { type: "search/loaded", query: "ana", first: true, results: [conversation("a", 1), conversation("z", 9)], next: null },
    { type: "search/loaded", query: "an", first: true, results: [conversation("x", 1)], next: null },
  );
  assert.deepEqual(visibleConversations(state).map(({ id }) => id), ["a", "z"]);
});

test("reading everything again forgets what is gone, and keeps the open conversation", () => {
  const state = run(
    initialState,
    { type: "list/loaded", filter: "open", results: [conversation("gone", 1), conversation("c", 2), conversation("p", 2, { status: "pending" })], next: "more" },
    { type: "conversation/open", id: "c" },
    { type: "list/loaded", filter: "open", reset: true, results: [conversation("new", 3)], next: null },
  );
  assert.deepEqual(Object.keys(state.conversations).sort(), ["c", "new", "p"]);
});

test("messages are kept in WhatsApp's order, each once, whatever order they come in", () => {
  const late = message("m3", 9, { sort_at: at(1), direction: "incoming" });
  const state = run(
    loaded(message("m2", 2), message("m1", 0)),
    event("message_received", { message: late }),
    event("message_received", { message: message("m2", 2) }),
  );
  assert.deepEqual(idsOf(state), ["m1", "m3", "m2"]);
});

test("microseconds decide when the rest of the time is equal", () => {
  const state = loaded(
    message("m-a", 0, { created_at: "2026-11-21T12:00:00.123900Z" }), message("m-b", 0, { created_at: "2026-11-21T12:00:00.123100Z" }),
  );
  assert.deepEqual(idsOf(state), ["m-b", "m-a"]);
});

test("older pages are added above", () => {
  const state = run(loaded(message("m5", 5)), { type: "thread/loaded", id: "c", results: [message("m4", 4)], next: null });
  assert.deepEqual(idsOf(state), ["m4", "m5"]);
});

test("of a conversation that is not loaded only the list entry is kept", () => {
  const state = run(
    initialState,
    { type: "conversation/merge", conversation: conversation("c", 1) },
    event("message_received", { message: message("m1", 5, { direction: "incoming", content: "oi" }) }),
  );
  assert.deepEqual(state.messages, {});
  assert.equal(state.conversations.c.unread_count, 1);
  assert.equal(state.conversations.c.last_message_preview, "oi");
  assert.equal(totalUnread(state), 1);
});

test("the server's list entry wins over counting ourselves", () => {
  const state = run(initialState, event("message_received", {
    message: message("m1", 5, { direction: "incoming" }), conversation: conversation("c", 5, { unread_count: 7 }),
  }));
  assert.equal(state.conversations.c.unread_count, 7);
});

const statusAfter = (known, told) => {
  const state = run(loaded(message("m1", 1, known)), event("message_status_update", { message_id: "m1", conversation_id: "c", ...told }));
  return state.messages.m1.status;
};

test("proof of sending never goes back", () => {
  assert.equal(statusAfter({ status: "delivered", attempts: 1 }, { status: "sent", attempts: 1 }), "delivered");
  assert.equal(statusAfter({ status: "sent", attempts: 1 }, { status: "verifying", attempts: 1 }), "sent");
  assert.equal(statusAfter({ status: "sent", attempts: 1 }, { status: "seen" }), "seen");
});

test("evidence and rejection are taken from any state", () => {
  assert.equal(statusAfter({ status: "failed", attempts: 5 }, { status: "submitted", attempts: 0 }), "submitted");
  assert.equal(statusAfter({ status: "sent", attempts: 1 }, { status: "failed", attempts: 1 }), "failed");
});

test("a snapshot from before an attempt does not undo it", () => {
  assert.equal(statusAfter({ status: "sending", attempts: 1 }, { status: "queued", attempts: 0 }), "sending");
  assert.equal(statusAfter({ status: "sending", attempts: 1 }, { status: "retrying", attempts: 1 }), "retrying");
  assert.equal(statusAfter({ status: "failed", attempts: 3, failure_gen: 1 }, { status: "queued", attempts: 0, failure_gen: 2 }), "queued");
});

test("a status update takes the reason along and an absent field erases nothing", () => {
  const state = run(
    loaded(message("m1", 1, { provider_id: "P1" })),
    event("message_status_update", { message_id: "m1", status: "retrying", attempts: 1, reason: "x", reason_text: { en: "why" }, provider_id: undefined }),
  );
  assert.deepEqual(state.messages.m1.reason_text, { en: "why" });
  assert.equal(state.messages.m1.provider_id, "P1");
});

test("edits and deletions show, a status is not touched by them", () => {
  const state = run(
    loaded(message("m1", 1, { status: "seen" }), message("m2", 2)),
    event("message_edited", { message_id: "m1", content: "better", edited_at: at(3) }),
    event("message_deleted", { message_id: "m2" }),
    event("message_deleted", { message_id: "unknown" }),
  );
  assert.deepEqual([state.messages.m1.content, state.messages.m1.status, Boolean(state.messages.m2.deleted_at)], ["better", "seen", true]);
});

test("what was written here shows until its message has come, by REST or by socket", () => {
  const item = { client_message_id: "k", conversation: "c", content: "x", created_at: at(1), state: "posting" };
  const before = run(loaded(message("m1", 0)), { type: "outbox/set", items: [item] });
  assert.equal(waitingMessages(before, "c").length, 1);
  assert.equal(waitingMessages(before, "other").length, 0);
  const after = run(before, event("message_received", { message: message("m2", 1, { client_message_id: "k" }) }));
  assert.equal(waitingMessages(after, "c").length, 0);
});

test("files that were sent here show as the messages they will be, one each, until those have come", () => {
  const file = (id, kind) => ({ id, kind });
  const item = { client_message_id: "k", conversation: "c", content: "x", created_at: at(1), state: "posting", reply_to: "m1", attachments: [file("a", "image"), file("b", "document")] };
  const said = (parts) => parts.map(({ id, content, reply_to, attachments }) => [id, content, reply_to, attachments.map((one) => one.id).join()]);
  assert.deepEqual(said(partsOf(item)), [["k", "x", "m1", "a"], ["k#2", "", null, "b"]]);
  assert.deepEqual(said(partsOf({ ...item, attachments: [file("v", "voice")] })), [["k", "x", "m1", ""], ["k#2", "", null, "v"]]);
  const before = run(loaded(message("m1", 0)), { type: "outbox/set", items: [item] });
  const after = run(before, event("message_received", { message: message("m2", 1, { client_message_id: "k" }) }));
  assert.deepEqual(waitingMessages(after, "c").map((part) => [part.id, part.outbox_id]), [["k#2", "k"]]);
});

test("reactions and files change with their events, whichever comes first", () => {
  const start = loaded(message("m1", 1, { reactions: [], attachments: [{ id: "a", status: "pending" }] }));
  const done = { id: "a", message: "m1", status: "completed" };
  const state = run(
    start,
    event("message_reaction_update", { message_id: "m1", reactions: [{ emoji: "x", from_me: true }] }),
    event("attachment_updated", { message_id: "m1", attachment: done }),
    event("attachment_updated", { message_id: "m1", attachment: { id: "b", status: "pending" } }),
    event("attachment_updated", { message_id: "unknown", attachment: done }),
  );
  assert.equal(state.messages.m1.reactions.length, 1);
  assert.deepEqual(state.messages.m1.attachments.map((file) => file.status), ["completed", "pending"]);
});

test("an instance's connection reaches its conversations", () => {
  const state = run(
    initialState,
    { type: "conversation/merge", conversation: conversation("c", 1, { instance: { id: "i", name: "vendas", connection: "open" } }) },
    event("instance_status_changed", { instance: { id: "i", connection: "close", gate: "parked" } }),
  );
  assert.equal(state.conversations.c.instance.connection, "close");
  assert.equal(state.conversations.c.instance.name, "vendas");
  assert.equal(state.instances.i.gate, "parked");
});

test("being away is dated from its beginning", () => {
  const state = run(initialState,
    { type: "connection/set", connection: "offline", at: 5 }, { type: "connection/set", connection: "connecting", at: 9 });
  assert.equal(state.awaySince, 5);
  assert.equal(reduce(state, { type: "connection/set", connection: "online", at: 10 }).awaySince, null);
});

test("only the conversations opened last keep their messages", () => {
  let state = loaded(message("m1", 1));
  state = run(state, { type: "conversation/open", id: "c" });
  for (let i = 0; i < 25; i += 1) state = run(state, { type: "conversation/open", id: `other-${i}` });
  assert.equal(state.threads.c, undefined);
  assert.equal(state.messages.m1, undefined);
  assert.equal(state.recent.length, 20);
});

test("a thread is shown by days, with a line above the first unread one, and runs of one author", () => {
  const rows = [message("m1", 0), message("m2", 1), message("m3", 2, { direction: "incoming" }), message("m4", 60 * 24)];
  const days = threadDays(rows, { dayOf: (iso) => iso.slice(0, 10), firstUnreadId: "m3", unreadCount: 1 });
  assert.deepEqual(days.map((day) => day.key), ["2026-11-21", "2026-11-22"]);
  assert.deepEqual(days[0].rows.map((row) => row.kind), ["message", "message", "unread", "message"]);
  assert.deepEqual(days[0].rows.filter((row) => row.message).map((row) => row.follows), [false, true, false]);
});

test("what is told while a thread is read is not lost to an answer from before it", () => {
  const told = (id, minute) => event("message_received", { conversation_id: "c", message: message(id, minute, { direction: "incoming" }) });
  const first = run(initialState, { type: "thread/loading", id: "c" }, told("m2", 2), { type: "thread/loaded", id: "c", results: [message("m1", 1)], next: null, fresh: true });
  assert.deepEqual(idsOf(first), ["m1", "m2"]);
  const again = run(
    first,
    { type: "thread/loading", id: "c" },
    told("m3", 3),
    event("message_edited", { conversation_id: "c", message_id: "m1", content: "edited", edited_at: at(4) }),
    { type: "thread/loaded", id: "c", results: [message("m1", 1), message("m2", 2)], next: null, fresh: true },
  );
  assert.deepEqual(idsOf(again), ["m1", "m2", "m3"]);
  assert.equal(again.messages.m1.content, "edited");
  assert.deepEqual(again.threads.c.early, []);
});

test("what is told while the list is read is not undone by an answer from before it", () => {
  const row = (id, values) => ({ id, status: "open", unread_count: 0, last_message_at: at(1), ...values });
  const state = run(
    initialState,
    { type: "list/loading", filter: "open" },
    { type: "list/loaded", filter: "open", results: [row("a"), row("gone")], next: null, reset: true },
    { type: "list/loading", filter: "open" },
    event("conversation_updated", { conversation: row("a", { unread_count: 3 }) }),
    event("new_conversation", { conversation: row("new") }),
    { type: "list/loaded", filter: "open", results: [row("a"), row("b")], next: null, reset: true },
  );
  assert.equal(state.conversations.a.unread_count, 3);
  assert.deepEqual(Object.keys(state.conversations).sort(), ["a", "b", "new"]);
  const again = run(state, { type: "list/loading", filter: "open" }, { type: "list/loaded", filter: "open", results: [row("a")], next: null, reset: true });
  assert.equal(again.conversations.a.unread_count, 0);
  assert.deepEqual(Object.keys(again.conversations), ["a"]);
});

test("what is told of a number while the numbers are read is not undone by an answer from before it", () => {
  const number = { id: "i", name: "vendas", connection: "open" };
  const before = initialState.instances;
  const told = run(initialState, event("instance_status_changed", { instance: { ...number, connection: "close" } }));
  const loaded = run(told, { type: "instances/loaded", results: [number, { id: "j", connection: "open" }], before });
  assert.equal(loaded.instances.i.connection, "close");
  assert.equal(loaded.instances.j.connection, "open");
  const again = run(loaded, { type: "instances/loaded", results: [number], before: loaded.instances });
  assert.equal(again.instances.i.connection, "open");
});
