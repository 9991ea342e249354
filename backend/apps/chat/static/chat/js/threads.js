// Messages of the conversations that are loaded: merging what REST and the socket tell, in whatever order they tell it.
import { mayFollow } from "./status.js";

const THREADS_KEPT = 20;
const STATUS_FIELDS = ["status", "reason", "reason_text", "attempts", "next_attempt_at", "failure_gen"];

/** One message from two tellings of it: everything new counts, except a status that may not follow the known one. */
export function mergeMessage(known, told) {
  if (!known) return told;
  const merged = { ...known, ...told };
  if (!mayFollow(known, told)) STATUS_FIELDS.forEach((field) => (merged[field] = known[field]));
  return merged;
}

const sortTime = (message) => message.sort_at ?? message.created_at ?? "";

/** By time, then by the microseconds that a Date does not keep, then by id. */
function compare(one, other) {
  const [a, b] = [sortTime(one), sortTime(other)];
  return Date.parse(a) - Date.parse(b) || compareTexts(a, b) || compareTexts(one.id, other.id);
}

function compareTexts(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

const inOrder = (messages, ids) => [...ids].sort((a, b) => compare(messages[a], messages[b]));

/** Of a thread that is being read, what is told meanwhile is kept: the answer may have been written before it happened. */
function keepEarly(state, conversationId, told) {
  const thread = state.threads[conversationId];
  if (!thread?.loading) return state;
  return { ...state, threads: { ...state.threads, [conversationId]: { ...thread, early: [...thread.early, told] } } };
}

/** A thread's answer is there: what was told while it was read comes after it, in its order. */
export function addEarly(state, conversationId, early) {
  return early.reduce(
    (known, { messages, event }) => (messages ? addMessages(known, conversationId, messages) : applyMessageEvent(known, event)),
    state,
  );
}

/** Messages as the socket or an answer to one of our calls tells them. */
export function addMessages(state, conversationId, messages) {
  return insertMessages(keepEarly(state, conversationId, { messages }), conversationId, messages);
}

/** Takes messages of one conversation in. Of a conversation that is not loaded nothing is shown: opening it loads all. */
export function insertMessages(state, conversationId, told) {
  const thread = state.threads[conversationId];
  if (!thread?.loaded) return state;
  const messages = { ...state.messages };
  for (const message of told) messages[message.id] = mergeMessage(messages[message.id], message);
  const ids = inOrder(messages, new Set([...thread.ids, ...told.map((message) => message.id)]));
  return { ...state, messages, threads: { ...state.threads, [conversationId]: { ...thread, ids } } };
}

const PATCHES = {
  message_status_update: ({ type, seq, message_id, conversation_id, message, ...fields }) => fields,
  message_edited: ({ content, edited_at, at }) => ({ content, edited_at: edited_at ?? at ?? true }),
  message_reaction_update: ({ reactions }) => ({ reactions }),
  message_deleted: ({ deleted_at, at }) => ({ deleted_at: deleted_at ?? at ?? true }),
};

const withoutUndefined = (row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));

/** A socket event about one message: it brings the whole message, or the fields that changed. */
export function applyMessageEvent(before, event) {
  const id = event.message_id ?? event.message?.id;
  const state = keepEarly(before, event.conversation_id ?? event.message?.conversation, { event });
  const known = state.messages[id];
  if (!known) return state;
  const patch = event.message ?? withoutUndefined(PATCHES[event.type](event));
  return { ...state, messages: { ...state.messages, [id]: mergeMessage(known, { ...patch, id }) } };
}

/** A file came, or will not come: it takes the place of what was known of it. */
export function applyAttachment(state, { message_id: id, attachment }) {
  const known = state.messages[id ?? attachment?.message];
  if (!known || !attachment) return state;
  const files = known.attachments ?? [];
  const isKnown = files.some((file) => file.id === attachment.id);
  const attachments = isKnown ? files.map((file) => (file.id === attachment.id ? attachment : file)) : [...files, attachment];
  return { ...state, messages: { ...state.messages, [known.id]: { ...known, attachments } } };
}

/** Notes that a conversation was opened and forgets the ones opened longest ago. */
export function dropOldThreads(state, id) {
  const recent = id ? [id, ...state.recent.filter((other) => other !== id)] : state.recent;
  if (recent.length <= THREADS_KEPT) return { ...state, recent };
  const threads = { ...state.threads };
  const messages = { ...state.messages };
  for (const old of recent.slice(THREADS_KEPT)) {
    threads[old]?.ids.forEach((messageId) => delete messages[messageId]);
    delete threads[old];
  }
  return { ...state, recent: recent.slice(0, THREADS_KEPT), threads, messages };
}

const SILENT_KINDS = ["audio", "voice"];

/**
 * An outbox item as the messages it will be: one for each file, named as the server will name them, so that each bubble
 * becomes its message. The words go with the first file, or before it when it is a sound.
 */
export function partsOf(item) {
  const files = item.attachments ?? [];
  const shared = { ...item, local: true, outbox_id: item.client_message_id, direction: "outgoing", status: item.state };
  const apart = item.content && SILENT_KINDS.includes(files[0]?.kind);
  const said = apart || !files.length ? [{ content: item.content, attachments: [] }] : [];
  const parts = [...said, ...files.map((file, n) => ({ content: apart || n ? "" : item.content, kind: file.kind, attachments: [file] }))];
  return parts.map((part, n) => {
    const name = n ? `${item.client_message_id}#${n + 1}` : item.client_message_id;
    return { ...shared, ...part, reply_to: n ? null : item.reply_to ?? null, id: name, client_message_id: name };
  });
}

/** What was written here and is not in the list yet; a message that already came by socket is left out. */
export function waitingMessages(state, conversationId) {
  const items = state.outbox.filter((item) => item.conversation === conversationId);
  if (!items.length) return items;
  const arrived = new Set((state.threads[conversationId]?.ids ?? []).map((id) => state.messages[id].client_message_id));
  return items.flatMap(partsOf).filter((part) => !arrived.has(part.client_message_id));
}

/**
 * A thread by days, oldest first: [{key, at, rows: [{kind: "unread" | "message", key, …}]}]. `follows` marks a message
 * that continues the one before it (same side, same author, within five minutes).
 */
export function threadDays(messages, { dayOf, firstUnreadId, unreadCount }) {
  const days = [];
  let before = null;
  for (const message of messages) {
    const key = dayOf(message.created_at);
    if (days.at(-1)?.key !== key) {
      days.push({ key, at: message.created_at, rows: [] });
      before = null;
    }
    const { rows } = days.at(-1);
    const unread = message.id === firstUnreadId;
    if (unread) rows.push({ kind: "unread", key: "unread", n: unreadCount });
    rows.push({ kind: "message", key: message.client_message_id || message.id, message, follows: Boolean(before) && !unread && continues(before, message) });
    before = message;
  }
  return days;
}

function continues(before, message) {
  const same = before.direction === message.direction && before.author_name === message.author_name && before.sender?.id === message.sender?.id;
  return same && Math.abs(Date.parse(message.created_at) - Date.parse(before.created_at)) < 300_000;
}
