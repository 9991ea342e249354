// What was written here and is not yet known to be in the server's database. It survives a reload, keeps the order of
// each conversation, and repeats a POST until it is answered: client_message_id makes the repetition harmless.
import { pauseBefore } from "./socket.js";

/**
 * @param options.post(item) the REST call; throws ApiProblem.
 * @param options.storage a Storage, and `key` the item in it; a full or forbidden storage is survived.
 * @param options.onChange(items) after every change; items: {client_message_id, conversation, content, created_at, state,
 *   attachments?, reply_to?, problem?}
 *   with state "posting" | "kept" | "refused".
 * @param options.onAccepted(item, message) the server has it.
 */
export function createOutbox({ post, storage, key, onChange, onAccepted, onSignedOut = () => {}, setTimer = setTimeout, clearTimer = clearTimeout }) {
  let items = load();
  const busy = new Set(); // conversations with a POST on its way
  const pauses = new Map(); // conversation -> {timer, n}

  function load() {
    try {
      const kept = JSON.parse(storage.getItem(key) ?? "[]");
      return kept.map((item) => (item.state === "refused" ? item : { ...item, state: "kept" }));
    } catch {
      return [];
    }
  }

  function changed(next) {
    items = next;
    try {
      if (items.length) storage.setItem(key, JSON.stringify(items));
      else storage.removeItem(key);
    } catch {
      // storage full or forbidden: the items live as long as the page does
    }
    onChange(items);
  }

  const patch = (id, values) => changed(items.map((item) => (item.client_message_id === id ? { ...item, ...values } : item)));
  const without = (id) => changed(items.filter((item) => item.client_message_id !== id));
  const head = (conversation) => items.find((item) => item.conversation === conversation && item.state !== "refused");

  async function work(conversation) {
    const item = head(conversation);
    if (!item || busy.has(conversation)) return;
    busy.add(conversation);
    clearTimer(pauses.get(conversation)?.timer);
    let again = true;
    try {
      const { client_message_id, content, attachments, reply_to } = item;
      const files = attachments?.length ? { attachments: attachments.map((file) => file.id) } : {};
      const message = await post({ conversation, content, client_message_id, ...files, ...(reply_to ? { reply_to } : {}) });
      pauses.delete(conversation);
      onAccepted(item, message);
      without(client_message_id);
    } catch (problem) {
      again = refused(item, problem);
    }
    busy.delete(conversation);
    if (again) work(conversation);
  }

  /** Whether the conversation's next item may go at once. */
  function refused(item, problem) {
    if (problem.signedOut) {
      patch(item.client_message_id, { state: "kept" });
      onSignedOut();
      return false;
    }
    if (problem.retryable === false) {
      patch(item.client_message_id, { state: "refused", problem: { textKey: problem.textKey, detail: problem.detail } });
      return true;
    }
    const n = pauses.get(item.conversation)?.n ?? 0;
    patch(item.client_message_id, { state: "kept" });
    pauses.set(item.conversation, { n: n + 1, timer: setTimer(() => work(item.conversation), pauseBefore(n)) });
    return false;
  }

  return {
    get items() {
      return items;
    },
    add(item) {
      changed([...items, { ...item, state: head(item.conversation)?.state === "kept" ? "kept" : "posting" }]);
      work(item.conversation);
    },
    /** Tries a refused one again, or everything that waits. */
    retry(id) {
      if (id) patch(id, { state: "posting", problem: undefined });
      new Set(items.map((item) => item.conversation)).forEach(work);
    },
    remove: without,
    clear: () => changed([]),
  };
}
