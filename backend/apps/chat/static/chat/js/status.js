// What each status looks like and which buttons it offers. One table, so that a new status is one line.

/** icon: a name in components/icons.js. tone: a class. actions: buttons offered. strip: shown below the bubble. */
export const STATUSES = {
  posting: { icon: "clock", tone: "calm", actions: [] },
  kept: { icon: "cloud", tone: "warn", actions: ["remove"], strip: true },
  refused: { icon: "alert", tone: "bad", actions: ["sendAgain", "remove"], strip: true },
  queued: { icon: "clock", tone: "calm", actions: ["cancel"] },
  sending: { icon: "arrow", tone: "calm", actions: [] },
  submitted: { icon: "arrow", tone: "calm", actions: [] },
  sent: { icon: "tick", tone: "calm", actions: [] },
  delivered: { icon: "ticks", tone: "calm", actions: [] },
  seen: { icon: "ticks", tone: "seen", actions: [] },
  retrying: { icon: "retry", tone: "warn", actions: ["cancel"], strip: true },
  verifying: { icon: "lens", tone: "warn", actions: [], strip: true },
  held: { icon: "hand", tone: "warn", actions: ["sendAnyway", "discard"], strip: true },
  failed: { icon: "alert", tone: "bad", actions: ["sendAgain"], strip: true },
  cancelled: { icon: "cross", tone: "calm", actions: [] },
};

/** The look of a status word; one we do not know yet is shown calmly, by its own name. */
export function lookOf(status) {
  return STATUSES[status] ?? { icon: "clock", tone: "calm", actions: [] };
}

const RANKS = { submitted: 1, sent: 2, delivered: 3, seen: 4 };

/**
 * Whether `next` may replace the status of `current`: proof of sending never goes back, except that WhatsApp may
 * reject what it had accepted, and a snapshot from before an attempt never undoes that attempt.
 */
export function mayFollow(current, next) {
  const [had, gets] = [RANKS[current.status] ?? 0, RANKS[next.status] ?? 0];
  if (had) return gets >= had || next.status === "failed";
  if (gets) return true;
  const replayed = (next.failure_gen ?? 0) > (current.failure_gen ?? 0);
  return replayed || (next.attempts ?? Infinity) >= (current.attempts ?? 0);
}
