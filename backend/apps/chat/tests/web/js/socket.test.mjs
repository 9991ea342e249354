import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { createSequence, createSocket, pauseBefore } from "../../../static/chat/js/socket.js";

mock.timers.enable({ apis: ["setTimeout"] });

class FakeSocket {
  constructor() {
    this.readyState = 0;
    this.sent = [];
    this.closed = false;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  say(frame) {
    this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  close(code) {
    if (this.closed) return;
    this.closed = true;
    this.readyState = 3;
    this.onclose({ code });
  }
}

function setUp() {
  const made = [];
  const heard = { events: [], states: [], resyncs: 0 };
  const socket = createSocket({
    url: "ws://x/", random: () => 1,
    open: () => made[made.push(new FakeSocket()) - 1],
    onEvent: (event) => heard.events.push(event.n ?? event.seq),
    onState: (state) => heard.states.push(state),
    onResync: () => (heard.resyncs += 1),
  });
  socket.start();
  return { socket, made, heard, last: () => made[made.length - 1] };
}

function subscribed(seq = 10) {
  const all = setUp();
  all.last().open();
  all.last().say({ type: "subscribed", last_seq: seq });
  all.heard.resyncs = 0;
  return all;
}

const types = (fake) => fake.sent.map(({ type }) => type);

test("pauses grow, have jitter and an end", () => {
  assert.ok(pauseBefore(0, () => 0) >= 250 && pauseBefore(0, () => 1) <= 500);
  assert.ok(pauseBefore(3, () => 0) < pauseBefore(3, () => 1));
  assert.equal(pauseBefore(99, () => 1), 30_000);
});

test("it subscribes, and the first subscription asks for everything once", () => {
  const { heard, last } = setUp();
  last().open();
  assert.deepEqual(types(last()), ["subscribe"]);
  last().say({ type: "subscribed", last_seq: 10 });
  assert.deepEqual(heard, { events: [], states: ["connecting", "online"], resyncs: 1 });
});

test("events are handed out in order, each once", () => {
  const { heard, last } = subscribed();
  [11, 12, 12, 11, 13].forEach((seq) => last().say({ type: "x", seq }));
  assert.deepEqual(heard.events, [11, 12, 13]);
});

test("a gap holds what comes after it, asks for what is missing, and goes on in order", () => {
  const { heard, last } = subscribed();
  last().say({ type: "x", seq: 13 });
  last().say({ type: "x", seq: 14 });
  assert.deepEqual(heard.events, []);
  assert.deepEqual(last().sent.slice(1), [{ type: "resume", last_seq: 10 }]);
  [11, 12, 13, 14].forEach((seq) => last().say({ type: "x", seq }));
  assert.deepEqual(heard.events, [11, 12, 13, 14]);
  mock.timers.tick(5_000);
  assert.equal(heard.resyncs, 0);
});

test("a gap that nobody fills ends in reading everything again, and what came after is not lost", () => {
  const { heard, last } = subscribed();
  last().say({ type: "x", seq: 13 });
  mock.timers.tick(3_000);
  assert.deepEqual([heard.events, heard.resyncs], [[13], 1]);
  last().say({ type: "x", seq: 14 });
  assert.deepEqual(heard.events, [13, 14]);
});

test("after a broken connection it asks first for what it missed", () => {
  const { heard, made, last } = subscribed();
  last().say({ type: "x", seq: 11 });
  last().close(1006);
  assert.equal(heard.states.at(-1), "offline");
  mock.timers.tick(500);
  assert.equal(made.length, 2);
  last().open();
  assert.deepEqual(last().sent, [{ type: "resume", last_seq: 11 }, { type: "subscribe" }]);
  last().say({ type: "x", seq: 12 });
  last().say({ type: "subscribed", last_seq: 12 });
  assert.deepEqual([heard.events, heard.resyncs, heard.states.at(-1)], [[11, 12], 0, "online"]);
});

test("resync_required means reading everything again, from its number on", () => {
  const { heard, last } = subscribed();
  last().say({ type: "resync_required", seq: 500 });
  last().say({ type: "x", seq: 501 });
  assert.deepEqual([heard.resyncs, heard.events], [1, [501]]);
});

test("a server whose numbers began anew is read again", () => {
  const { heard, last } = subscribed(1_000);
  last().close(1006);
  mock.timers.tick(500);
  last().open();
  last().say({ type: "subscribed", last_seq: 3 });
  last().say({ type: "x", seq: 4 });
  assert.deepEqual([heard.resyncs, heard.events], [1, [4]]);
});

test("a pong tells of events that were lost on the way", () => {
  const { last } = subscribed();
  last().say({ type: "pong", seq: 12 });
  assert.deepEqual(last().sent.at(-1), { type: "resume", last_seq: 10 });
});

test("silence is noticed: a ping nobody answers ends the connection", () => {
  const { heard, made, last } = subscribed();
  mock.timers.tick(25_000);
  assert.equal(last().sent.at(-1).type, "ping");
  last().say({ type: "pong", seq: 10 });
  mock.timers.tick(25_000);
  assert.equal(made[0].closed, false);
  mock.timers.tick(12_000);
  assert.equal(made[0].closed, true);
  assert.equal(heard.states.at(-1), "offline");
});

test("a connection that never opens is tried again, with longer and longer pauses", () => {
  const { made } = setUp();
  mock.timers.tick(12_000);
  assert.equal(made[0].closed, true);
  mock.timers.tick(500);
  assert.equal(made.length, 2);
  made[1].close(1006);
  mock.timers.tick(999);
  assert.equal(made.length, 2);
  mock.timers.tick(1);
  assert.equal(made.length, 3);
});

test("who may not come in is not tried again", () => {
  for (const [code, state] of [[4001, "signed_out"], [4003, "forbidden"]]) {
    const { heard, made, last } = subscribed();
    last().close(code);
    mock.timers.tick(120_000);
    assert.equal(heard.states.at(-1), state);
    assert.equal(made.length, 1);
  }
});

test("the network coming back is used at once", () => {
  const { socket, made, last } = subscribed();
  last().close(1006);
  socket.nudge();
  assert.equal(made.length, 2);
  socket.nudge();
  assert.equal(made.length, 2);
});

test("a frame that is no JSON is survived, one without a number is handed on", () => {
  const { heard, last } = subscribed();
  last().say("not json");
  last().say({ type: "error", n: "error" });
  assert.deepEqual(heard.events, ["error"]);
});

test("stopped, it stays so", () => {
  const { socket, made } = subscribed();
  socket.stop();
  mock.timers.tick(120_000);
  assert.equal(made.length, 1);
});

test("random losses, repetitions and swaps: every event is handed out once, in order", () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SEED=${seed}`);
  let state = seed;
  const random = () => ((state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31);
  for (let round = 0; round < 200; round += 1) {
    const sequence = createSequence();
    sequence.start(0);
    const out = [];
    const log = Array.from({ length: 20 }, (_, i) => ({ seq: i + 1 }));
    const wire = log.flatMap((event) => (random() < 0.2 ? [] : random() < 0.2 ? [event, event] : [event]));
    if (random() < 0.5) wire.sort(() => random() - 0.5);
    for (const event of wire) out.push(...sequence.take(event));
    sequence.expect(20);
    if (sequence.gap) log.filter(({ seq }) => seq > sequence.last).forEach((event) => out.push(...sequence.take(event)));
    assert.deepEqual(out.map(({ seq }) => seq), log.map(({ seq }) => seq));
  }
});
