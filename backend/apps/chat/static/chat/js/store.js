// The page's state and everything that may change it. Pure: no network, no document; tests run it in Node.
import { addEarly, addMessages, applyAttachment, applyMessageEvent, dropOldThreads, insertMessages } from "./threads.js";

export const FILTERS = ["open", "pending", "closed"];

/** A store: reads by getState, changes by dispatch, tells its subscribers after each change. */
export function createStore(reducer, initial) {
  let state = initial;
  const listeners = new Set();
  return {
    getState: () => state,
    dispatch(action) {
      const next = reducer(state, action);
      if (next === state) return;
      state = next;
      listeners.forEach((listener) => listener());
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

const emptyPage = { next: null, loading: false, loaded: false, failed: false };

export const initialState = {
  connection: "connecting", // as socket.js tells it
  awaySince: null, // ms, while the connection is not there
  lang: "pt",
  theme: "",
  clockSkew: 0, // the server's clock minus ours, ms
  instances: {},
  conversations: {},
  filter: "open",
  pages: Object.fromEntries(FILTERS.map((filter) => [filter, emptyPage])),
  search: { query: "", ids: [], ...emptyPage },
  openId: null,
  threads: {}, // conversation id -> {ids, next, loading, loaded, failed}
  recent: [], // conversation ids, latest opened first
  messages: {},
  outbox: [],
  drafts: {},
  uploads: [],
  replying: {}, // conversation id -> id of the message that is replied to
  typing: {}, // conversation id -> {at: when we heard of it in ms, user: the colleague, or null for the customer}
  toasts: [],
  announcement: "",
  dialog: null,
};

const byId = (rows) => Object.fromEntries(rows.map((row) => [row.id, row]));

/** Conversations in the order of the list, latest first, for the chosen filter or search. */
export function visibleConversations(state) {
  const { conversations, search, filter } = state;
  if (search.query) return search.ids.map((id) => conversations[id]).filter(Boolean);
  return Object.values(conversations).filter((row) => (row.status ?? "open") === filter).sort(latestFirst);
}

function latestFirst(one, other) {
  const [a, b] = [Date.parse(one.last_message_at) || 0, Date.parse(other.last_message_at) || 0];
  return b - a || (other.id > one.id ? 1 : -1);
}

/** Unread messages in all conversations we know of. */
export function totalUnread(state) {
  return Object.values(state.conversations).reduce((sum, row) => sum + (row.unread_count ?? 0), 0);
}

/** Conversations with unread messages under one filter, as far as they are loaded. */
export function unreadUnder(state, filter) {
  return Object.values(state.conversations).filter((row) => row.unread_count > 0 && (row.status ?? "open") === filter).length;
}

function mergeConversations(state, rows) {
  const merged = rows.filter((row) => row?.id).map((row) => ({ ...state.conversations[row.id], ...row }));
  return { ...state, conversations: { ...state.conversations, ...byId(merged) } };
}

function patchConversation(state, id, values) {
  const row = state.conversations[id];
  return row ? { ...state, conversations: { ...state.conversations, [id]: { ...row, ...values } } } : state;
}

const listReducers = {
  "list/loading": (state, { filter }) => setPage(state, filter, { loading: true, failed: false, before: state.conversations }),
  "list/failed": (state, { filter }) => setPage(state, filter, { loading: false, failed: true }),
  "list/loaded": (state, { filter, results, next, reset }) => {
    const told = toldSince(state.pages[filter].before, state.conversations);
    const rows = results.map((row) => ({ ...row, ...told[row.id] }));
    const merged = mergeConversations(reset ? forgetList(state, filter, told) : state, rows);
    return setPage(merged, filter, { loading: false, loaded: true, failed: false, next: next ?? null, before: null });
  },
  "list/stale": (state, { filter }) => setPage(state, filter, { loaded: false }),
  "filter/set": (state, { filter }) => ({ ...state, filter }),
  "search/set": (state, { query }) => ({ ...state, search: { ...emptyPage, query, ids: [], loading: Boolean(query) } }),
  "search/loaded": (state, { query, results, next, first }) => {
    if (query !== state.search.query) return state;
    const before = first ? [] : state.search.ids;
    const ids = [...new Set([...before, ...results.map((row) => row.id)])];
    return { ...mergeConversations(state, results), search: { query, ids, next: next ?? null, loading: false, loaded: true, failed: false } };
  },
  "search/failed": (state, { query }) =>
    query === state.search.query ? { ...state, search: { ...state.search, loading: false, failed: true } } : state,
  "conversation/merge": (state, { conversation }) => mergeConversations(state, [conversation]),
  "conversation/read": (state, { id }) => patchConversation(state, id, { unread_count: 0 }),
};

/** What changed after a question was asked: its answer may be from before, and must not undo it. */
function toldSince(before, now) {
  return before ? Object.fromEntries(Object.entries(now).filter(([id, row]) => row !== before[id])) : {};
}

/** Of one filter's conversations only these and the open one are still known: the rest may have changed while nobody told us. */
function forgetList(state, filter, told) {
  const kept = Object.values(state.conversations).filter(
    (row) => row.id === state.openId || row.id in told || (row.status ?? "open") !== filter,
  );
  return { ...state, conversations: byId(kept) };
}

function setPage(state, filter, values) {
  return { ...state, pages: { ...state.pages, [filter]: { ...state.pages[filter], ...values } } };
}

const emptyThread = { ids: [], early: [], ...emptyPage };

function setThread(state, id, values) {
  return { ...state, threads: { ...state.threads, [id]: { ...emptyThread, ...state.threads[id], ...values } } };
}

const threadReducers = {
  "conversation/open": (state, { id }) => dropOldThreads({ ...state, openId: id, typing: {} }, id),
  "thread/loading": (state, { id }) => setThread(state, id, { loading: true, failed: false, early: [] }),
  "thread/failed": (state, { id }) => setThread(state, id, { loading: false, failed: true }),
  "thread/loaded": (state, { id, results, next, fresh }) => {
    const early = state.threads[id]?.early ?? [];
    const start = fresh ? setThread(state, id, { ids: [] }) : state;
    const filled = insertMessages(setThread(start, id, { loaded: true }), id, results);
    const read = setThread(filled, id, { loading: false, failed: false, next: next ?? null, early: [] });
    return addEarly(read, id, early);
  },
  "thread/forgetOthers": (state) => {
    const open = state.threads[state.openId];
    return { ...state, threads: open ? { [state.openId]: open } : {}, recent: open ? [state.openId] : [] };
  },
  "attachment/merge": (state, { attachment }) => applyAttachment(state, { attachment }),
  "message/patch": (state, { id, values }) => {
    const known = state.messages[id];
    return known ? { ...state, messages: { ...state.messages, [id]: { ...known, ...values } } } : state;
  },
  "message/merge": (state, { message }) => addMessages(state, message.conversation, [message]),
};

const pageReducers = {
  "connection/set": (state, { connection, at = Date.now() }) => ({
    ...state, connection, awaySince: connection === "online" ? null : state.awaySince ?? at,
  }),
  "clock/set": (state, { skew }) => (Math.abs(skew - state.clockSkew) < 1500 ? state : { ...state, clockSkew: skew }),
  "instances/loaded": (state, { results, before }) => {
    const told = toldSince(before, state.instances);
    return { ...state, instances: byId(results.map((row) => ({ ...row, ...told[row.id] }))) };
  },
  "outbox/set": (state, { items }) => ({ ...state, outbox: items }),
  "uploads/set": (state, { items }) => ({ ...state, uploads: items }),
  "reply/set": (state, { id, messageId }) => ({ ...state, replying: { ...state.replying, [id]: messageId || undefined } }),
  "draft/set": (state, { id, text }) => ({ ...state, drafts: { ...state.drafts, [id]: text || undefined } }),
  "typing/clear": (state, { id }) => ({ ...state, typing: { ...state.typing, [id]: undefined } }),
  "toast/add": (state, { toast }) => ({ ...state, toasts: [...state.toasts.filter((other) => other.text !== toast.text), toast].slice(-4) }),
  "toast/remove": (state, { id }) => ({ ...state, toasts: state.toasts.filter((toast) => toast.id !== id) }),
  "announce": (state, { text }) => ({ ...state, announcement: text }),
  "dialog/set": (state, { dialog }) => ({ ...state, dialog }),
  "lang/set": (state, { lang }) => ({ ...state, lang }),
  "theme/set": (state, { theme }) => ({ ...state, theme }),
};

function instanceChanged(state, instance) {
  if (!instance?.id) return state;
  const known = { ...state.instances[instance.id], ...instance };
  const rows = Object.values(state.conversations).filter((row) => row.instance?.id === instance.id);
  const next = mergeConversations(state, rows.map((row) => ({ ...row, instance: { ...row.instance, ...instance } })));
  return { ...next, instances: { ...state.instances, [instance.id]: known } };
}

const eventReducers = {
  conversation_updated: (state, { conversation }) => mergeConversations(state, [conversation]),
  new_conversation: (state, { conversation }) => mergeConversations(state, [conversation]),
  instance_status_changed: (state, event) => instanceChanged(state, event.instance ?? event),
  typing: (state, event) => {
    const heard = event.is_typing === false ? undefined : { at: event.heardAt, user: event.user ?? null };
    return { ...state, typing: { ...state.typing, [event.conversation_id]: heard } };
  },
  message_received: (state, event) => {
    const id = event.message?.conversation ?? event.conversation?.id;
    const told = event.conversation?.id ? mergeConversations(state, [event.conversation]) : bumped(state, id, event.message);
    const quiet = { ...told, typing: { ...told.typing, [id]: undefined } };
    return event.message ? addMessages(quiet, id, [{ conversation: id, ...event.message }]) : quiet;
  },
  message_status_update: applyMessageEvent,
  message_edited: applyMessageEvent,
  message_reaction_update: applyMessageEvent,
  attachment_updated: applyAttachment,
  message_deleted: applyMessageEvent,
};

/** The words of a message, or what the server's lists say of one that has none: "[image]". */
const stubOf = ({ content, kind }) => content || (kind && kind !== "text" ? `[${kind}]` : content);

/** What the list needs from a message whose event brought no conversation along. */
function bumped(state, id, message) {
  const row = state.conversations[id];
  if (!row || !message || state.messages[message.id]) return state;
  const unread = (row.unread_count ?? 0) + (message.direction === "incoming" ? 1 : 0);
  return patchConversation(state, id, {
    unread_count: unread, last_message_at: message.created_at ?? row.last_message_at, last_message_preview: stubOf(message) ?? row.last_message_preview,
  });
}

const reducers = {
  ...listReducers,
  ...threadReducers,
  ...pageReducers,
  event: (state, { event }) => eventReducers[event.type]?.(state, event) ?? state,
};

/** The next state. An action nobody knows changes nothing, so a newer server cannot break an older page. */
export function reduce(state, action) {
  return reducers[action.type]?.(state, action) ?? state;
}
