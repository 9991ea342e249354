import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiProblem } from "../../../static/chat/js/call.js";
import { createOutbox } from "../../../static/chat/js/outbox.js";

class FakeStorage {
  constructor(rows = {}) {
    this.rows = rows;
  }

  getItem(key) {
    return this.rows[key] ?? null;
  }

  setItem(key, value) {
    this.rows[key] = value;
  }

  removeItem(key) {
    delete this.rows[key];
  }
}

/** A server that answers as told: each answer is a status, 201 by default; "hang" waits for `release`. */
function setUp({ answers = [], storage = new FakeStorage() } = {}) {
  const seen = { posts: [], accepted: [], signedOut: 0, timers: [] };
  let release = () => {};
  async function post(body) {
    seen.posts.push(body.client_message_id);
    const answer = answers.shift() ?? 201;
    if (answer === "hang") await new Promise((resolve) => (release = resolve));
    else if (answer !== 201) throw new ApiProblem(answer, { detail: "why" });
    return { id: `m-${body.client_message_id}` };
  }
  const outbox = createOutbox({
    post, storage, key: "outbox",
    onChange: () => {},
    onAccepted: (item, message) => seen.accepted.push(message.id),
    onSignedOut: () => (seen.signedOut += 1),
    setTimer: (action) => seen.timers.push(action),
    clearTimer: () => {},
  });
  return { outbox, seen, storage, release: () => release() };
}

const item = (id, conversation = "c") => ({ client_message_id: id, conversation, content: `text ${id}`, created_at: "2026-11-21T12:00:00Z" });
const settle = () => new Promise((resolve) => setImmediate(resolve));
const states = (outbox) => outbox.items.map(({ client_message_id: id, state }) => `${id} ${state}`);

test("accepted, it leaves the box and the storage", async () => {
  const { outbox, seen, storage } = setUp();
  outbox.add(item("a"));
  assert.deepEqual(states(outbox), ["a posting"]);
  assert.ok(storage.rows.outbox.includes("text a"));
  await settle();
  assert.deepEqual([outbox.items, seen.accepted, storage.rows], [[], ["m-a"], {}]);
});

test("one after the other in a conversation, side by side in others", async () => {
  const { outbox, seen, release } = setUp({ answers: ["hang"] });
  outbox.add(item("a"));
  outbox.add(item("b"));
  outbox.add(item("x", "d"));
  await settle();
  assert.deepEqual(seen.posts, ["a", "x"]);
  release();
  await settle();
  assert.deepEqual(seen.posts, ["a", "x", "b"]);
});

test("no answer: the same message is posted again under the same id, and the ones behind it wait", async () => {
  const { outbox, seen } = setUp({ answers: [0, 503] });
  outbox.add(item("a"));
  outbox.add(item("b"));
  await settle();
  assert.deepEqual(states(outbox), ["a kept", "b posting"]);
  seen.timers.shift()();
  await settle();
  seen.timers.shift()();
  await settle();
  assert.deepEqual(seen.posts, ["a", "a", "a", "b"]);
  assert.deepEqual(outbox.items, []);
});

test("a refused one stays with its problem and does not stop the next; it can be tried again or removed", async () => {
  const { outbox, seen } = setUp({ answers: [400, 201, 201] });
  outbox.add(item("a"));
  outbox.add(item("b"));
  await settle();
  assert.deepEqual(states(outbox), ["a refused"]);
  assert.deepEqual(outbox.items[0].problem, { textKey: "errorInvalid", detail: "why" });
  outbox.retry("a");
  await settle();
  assert.deepEqual([seen.accepted, outbox.items], [["m-b", "m-a"], []]);
});

test("removed, it is gone", async () => {
  const { outbox } = setUp({ answers: [400] });
  outbox.add(item("a"));
  await settle();
  outbox.remove("a");
  assert.deepEqual(outbox.items, []);
});

test("a session that ended keeps everything and says so", async () => {
  const { outbox, seen } = setUp({ answers: [401] });
  outbox.add(item("a"));
  await settle();
  assert.deepEqual([states(outbox), seen.signedOut, seen.timers.length], [["a kept"], 1, 0]);
});

test("a reload finds what was not accepted and posts it again", async () => {
  const { storage } = setUp({ answers: ["hang"] });
  const first = setUp({ answers: ["hang"], storage });
  first.outbox.add(item("a"));
  const second = setUp({ storage });
  assert.deepEqual(states(second.outbox), ["a kept"]);
  second.outbox.retry();
  await settle();
  assert.deepEqual(second.seen.posts, ["a"]);
});

test("a storage that is full or broken is survived", async () => {
  const storage = new FakeStorage({ outbox: "{broken" });
  storage.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  const { outbox, seen } = setUp({ storage });
  outbox.add(item("a"));
  await settle();
  assert.deepEqual(seen.accepted, ["m-a"]);
});
