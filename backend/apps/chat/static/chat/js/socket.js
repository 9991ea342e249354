// The live connection: connect, subscribe, notice silence, reconnect with growing pauses, and miss nothing.

const PING_MS = 25_000;
const SILENCE_MS = 12_000; // after a ping; any frame counts as an answer
const GAP_MS = 3_000;
const LONGEST_PAUSE_MS = 30_000;

/** How long to wait before try number `n` (0 is the first), with jitter so that a thousand pages do not return at once. */
export function pauseBefore(n, random = Math.random) {
  const longest = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** Math.min(n, 10));
  return longest / 2 + (random() * longest) / 2;
}

/**
 * Puts numbered events in order. take(event) answers what may be applied now; an event from before is dropped, one
 * from beyond a gap waits until the gap is filled or `skip` gives up on it.
 */
export function createSequence() {
  let last = null; // everything up to here was handed out
  let goal = null; // the highest number heard of
  let waiting = new Map();

  function ready() {
    const events = [];
    while (waiting.has(last + 1)) {
      last += 1;
      events.push(waiting.get(last));
      waiting.delete(last);
    }
    return events;
  }

  return {
    get last() {
      return last;
    },
    get gap() {
      return last !== null && last < goal;
    },
    start(seq) {
      last = goal = seq;
      waiting = new Map();
    },
    expect(seq) {
      goal = Math.max(goal, seq);
    },
    take(event) {
      if (!Number.isFinite(event.seq)) return [event];
      if (last === null) last = event.seq - 1;
      if (event.seq > last) waiting.set(event.seq, event);
      goal = Math.max(goal, event.seq);
      return ready();
    },
    /** Gives up on what is missing; answers the events that were waiting, in order. */
    skip() {
      const events = [...waiting.values()].sort((one, other) => one.seq - other.seq);
      waiting = new Map();
      last = goal;
      return events;
    },
  };
}

/**
 * @param options.url where to connect.
 * @param options.open makes a WebSocket for the url; a test gives its own.
 * @param options.onEvent(event) one server event, in order, each once.
 * @param options.onState(state) "connecting" | "online" | "offline" | "signed_out" | "forbidden".
 * @param options.onResync() what happened meanwhile cannot be told: read everything again.
 */
export function createSocket({ url, open, onEvent, onState, onResync, random = Math.random, setTimer = setTimeout, clearTimer = clearTimeout }) {
  const sequence = createSequence();
  const timers = {};
  let socket = null;
  let failures = 0;
  let stopped = true;

  function timer(name, delay, action) {
    clearTimer(timers[name]);
    timers[name] = delay === null ? undefined : setTimer(action, delay);
  }

  function send(frame) {
    if (socket?.readyState !== 1) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function listenForSilence() {
    timer("silence", null);
    timer("ping", PING_MS, () => {
      send({ type: "ping" });
      timer("silence", SILENCE_MS, () => lost(socket));
    });
  }

  function subscribed(frame) {
    failures = 0;
    onState("online");
    const known = sequence.last;
    if (known === null || !Number.isFinite(frame.last_seq) || frame.last_seq < known) resync(frame);
    else compare(frame.last_seq);
  }

  /** The server has told us events up to `seq`: what we do not have was lost on the way. */
  function compare(seq) {
    if (!(seq > sequence.last)) return;
    sequence.expect(seq);
    askForMissing();
  }

  function askForMissing() {
    send({ type: "resume", last_seq: sequence.last });
    timer("gap", GAP_MS, () => {
      timer("gap", null);
      sequence.skip().forEach(onEvent);
      onResync();
    });
  }

  function numbered(frame) {
    sequence.take(frame).forEach(onEvent);
    if (!sequence.gap) timer("gap", null);
    else if (!timers.gap) askForMissing();
  }

  function resync(frame) {
    timer("gap", null);
    sequence.start(Number.isFinite(frame.last_seq) ? frame.last_seq : Number.isFinite(frame.seq) ? frame.seq : null);
    onResync();
  }

  function received(text) {
    listenForSilence();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === "subscribed") subscribed(frame);
    else if (frame.type === "resync_required") resync(frame);
    else if (frame.type === "pong") compare(frame.seq);
    else numbered(frame);
  }

  function lost(which, code) {
    if (which !== socket || stopped) return;
    socket = null;
    which?.close();
    ["ping", "silence", "gap"].forEach((name) => timer(name, null));
    if (code === 4001 || code === 4003) {
      stopped = true;
      onState(code === 4001 ? "signed_out" : "forbidden");
      return;
    }
    onState("offline");
    timer("connect", pauseBefore(failures, random), connect);
    failures += 1;
  }

  function connect() {
    timer("connect", null);
    if (stopped || socket) return;
    const mine = open(url);
    socket = mine;
    mine.onopen = () => {
      if (mine !== socket) return;
      // What was missed is asked for first: the server holds new events back for a moment until it was told.
      if (sequence.last !== null) send({ type: "resume", last_seq: sequence.last });
      send({ type: "subscribe" });
      listenForSilence();
    };
    mine.onmessage = (event) => mine === socket && received(event.data);
    mine.onclose = (event) => lost(mine, event.code);
    timer("silence", SILENCE_MS, () => lost(mine)); // a connection that never opens is also lost
  }

  return {
    send,
    start() {
      stopped = false;
      onState("connecting");
      connect();
    },
    /** The browser says the network is back, or a person is tired of waiting. */
    nudge() {
      failures = 0;
      if (!stopped && !socket) connect();
    },
    stop() {
      stopped = true;
      Object.keys(timers).forEach((name) => timer(name, null));
      socket?.close();
      socket = null;
    },
  };
}
