// What the page does: REST calls, their outcome in the store, and words for what went wrong.
import { nameOf, quoteLine } from "./format.js";
import { reasonIn } from "./i18n.js";
import { randomId } from "./ids.js";

const SEARCH_PAUSE_MS = 250;
const TYPING_MS = 8_000;
const TELL_TYPING_EVERY_MS = 4_000;
const TOAST_MS = 9_000;

/**
 * @param env.store, env.api, env.outbox(), env.uploads(), env.socket(): the parts it works with; the last three are made later.
 * @param env.me, env.tenant ids of who is here, and of the team whose conversations these are.
 * @param env.prefs remembers drafts, language and theme (prefs.js).
 * @param env.translate() the current translator.
 * @param env.isVisible() whether a person can see the page now.
 */
export function createActions({ store, api, outbox, uploads, socket, prefs, translate, isVisible, me, tenant }) {
  const { dispatch, getState } = store;
  let searchTimer;

  function toast(text, more = {}) {
    const id = randomId();
    dispatch({ type: "toast/add", toast: { id, text, ...more } });
    setTimeout(() => dispatch({ type: "toast/remove", id }), TOAST_MS);
  }

  function tell(problem) {
    if (!problem.textKey) throw problem;
    if (problem.signedOut) dispatch({ type: "connection/set", connection: "signed_out" });
    toast(translate()(problem.textKey, { detail: problem.detail }), { tone: "bad" });
  }

  /** Runs a call; answers what it answers, or null after having told the person what went wrong. */
  async function attempt(call) {
    try {
      return await call();
    } catch (problem) {
      tell(problem);
      return null;
    }
  }

  // --- the list

  async function loadList(filter, { first = true, reset = false } = {}) {
    const page = getState().pages[filter];
    if (page.loading) return;
    dispatch({ type: "list/loading", filter });
    try {
      const answer = await (first ? api.conversations({ status: filter, tenant }) : api.follow(page.next));
      dispatch({ type: "list/loaded", filter, reset, ...answer });
    } catch (problem) {
      dispatch({ type: "list/failed", filter });
      if (problem.signedOut) tell(problem);
    }
  }

  async function loadSearch(query, { first = true } = {}) {
    try {
      const answer = await (first ? api.conversations({ search: query, tenant }) : api.follow(getState().search.next));
      dispatch({ type: "search/loaded", query, first, ...answer });
    } catch (problem) {
      dispatch({ type: "search/failed", query });
      if (problem.signedOut) tell(problem);
    }
  }

  function setSearch(text) {
    const query = text.trim();
    clearTimeout(searchTimer);
    if (query === getState().search.query) return;
    dispatch({ type: "search/set", query });
    if (query) searchTimer = setTimeout(() => loadSearch(query), SEARCH_PAUSE_MS);
  }

  function setFilter(filter) {
    dispatch({ type: "filter/set", filter });
    if (!getState().pages[filter].loaded) loadList(filter);
  }

  function loadMore() {
    const { search, filter, pages } = getState();
    if (search.query) return search.next && loadSearch(search.query, { first: false });
    return pages[filter].next && loadList(filter, { first: false });
  }

  // --- one conversation

  async function open(id) {
    if (id === getState().openId) return;
    dispatch({ type: "conversation/open", id });
    if (!id) return;
    if (!getState().threads[id]?.loaded) await loadThread(id);
    if (!getState().conversations[id]) await loadConversation(id);
    seen();
  }

  async function loadConversation(id) {
    try {
      dispatch({ type: "conversation/merge", conversation: await api.conversation(id) });
    } catch (problem) {
      if (problem.status === 404 && getState().openId === id) location.hash = "#/";
      if (problem.status === 404 || problem.signedOut) tell(problem);
    }
  }

  async function loadThread(id, { fresh = true } = {}) {
    if (getState().threads[id]?.loading) return;
    dispatch({ type: "thread/loading", id });
    try {
      const answer = await (fresh ? api.messages(id) : api.follow(getState().threads[id].next));
      dispatch({ type: "thread/loaded", id, fresh, ...answer });
    } catch (problem) {
      dispatch({ type: "thread/failed", id });
      if (problem.signedOut) tell(problem);
    }
  }

  /** Tells the server that what is on screen was read. */
  function seen() {
    const { openId, conversations } = getState();
    if (!openId || !isVisible() || !conversations[openId]?.unread_count) return;
    dispatch({ type: "conversation/read", id: openId });
    api.markAsRead(openId).catch(() => {}); // reading again, or the next message, says it again
  }

  async function changeConversation(call) {
    const conversation = await attempt(call);
    if (conversation?.id) dispatch({ type: "conversation/merge", conversation });
  }

  async function start(phone, instance) {
    const conversation = await attempt(() => api.start({ contact_phone: phone, ...(instance ? { instance_id: instance } : { tenant }) }));
    if (!conversation) return false;
    dispatch({ type: "conversation/merge", conversation });
    dispatch({ type: "filter/set", filter: conversation.status ?? "open" });
    dispatch({ type: "dialog/set", dialog: null });
    location.hash = `#/c/${conversation.id}`;
    return true;
  }

  // --- messages

  function send(conversation, content) {
    const attachments = uploads().take(conversation);
    const reply_to = getState().replying[conversation];
    outbox().add({ client_message_id: randomId(), conversation, content, attachments, reply_to, created_at: new Date().toISOString() });
    reply(conversation, null);
    write(conversation, "");
  }

  function reply(id, messageId) {
    dispatch({ type: "reply/set", id, messageId });
    if (messageId) document.querySelector(".composer textarea")?.focus();
  }

  async function react({ id }, emoji) {
    const answer = await attempt(() => api.react(id, emoji));
    if (answer) dispatch({ type: "message/patch", id, values: { reactions: answer.reactions } });
  }

  // --- files

  async function downloadAgain({ id }) {
    const attachment = await attempt(() => api.downloadAgain(id));
    if (attachment?.id) dispatch({ type: "attachment/merge", attachment });
  }

  const askedAgain = new Set();

  /** A link that has ended is fetched anew; once for each link, so that a broken file is not asked for for ever. */
  async function fileAgain({ id, url }) {
    if (!url || askedAgain.has(url)) return;
    askedAgain.add(url);
    try {
      const attachment = await api.attachment(id);
      if (attachment.url !== url) dispatch({ type: "attachment/merge", attachment });
    } catch {
      // it stays as it is: the browser shows that it could not be loaded
    }
  }

  function saveDraft(id, text) {
    dispatch({ type: "draft/set", id, text });
    prefs.saveDrafts(getState().drafts);
  }

  let toldTyping = { id: null, at: 0 };

  /** Lets colleagues see who is writing; at most every few seconds. */
  function tellTyping(id, isTyping) {
    const sameAsBefore = toldTyping.id === id && Date.now() - toldTyping.at < TELL_TYPING_EVERY_MS;
    if (isTyping ? sameAsBefore : toldTyping.id !== id) return;
    toldTyping = isTyping ? { id, at: Date.now() } : { id: null, at: 0 };
    socket().send({ type: "typing", conversation_id: id, is_typing: isTyping });
  }

  function write(id, text) {
    saveDraft(id, text);
    tellTyping(id, text !== "");
  }

  async function changeMessage(call) {
    const message = await attempt(call);
    if (message?.id && message.conversation) dispatch({ type: "message/merge", message });
  }

  const CANCEL_WORDS = { stopped_maybe: "cancelMaybe", pending: "cancelPending" };

  async function cancel({ id }) {
    const answer = await attempt(() => api.cancel(id));
    if (!answer) return;
    const { result, ...message } = answer;
    dispatch({ type: "message/merge", message });
    if (CANCEL_WORDS[result]) toast(translate()(CANCEL_WORDS[result]));
  }

  const onMessage = {
    cancel,
    sendAgain: (message) =>
      message.local ? outbox().retry(message.outbox_id) : changeMessage(() => api.sendAgain(message.id, message.failure_gen)),
    sendAnyway: (message) => changeMessage(() => api.release(message.id, "send")),
    discard: (message) => changeMessage(() => api.release(message.id, "discard")),
    remove: (message) => outbox().remove(message.outbox_id),
    react,
    reply: (message) => reply(message.conversation, message.id),
  };

  // --- what the socket tells

  function onEvent(event) {
    if (event.type === "typing" && event.user?.id === me) return;
    const before = getState();
    dispatch({ type: "event", event: event.type === "typing" ? { ...event, heardAt: Date.now() } : event });
    reactions[event.type]?.(event, before);
  }

  const reactions = {
    message_received(event) {
      const id = event.message?.conversation ?? event.conversation?.id;
      if (id && !getState().conversations[id]) loadConversation(id);
      if (event.message?.direction === "incoming") announce(id, event.message);
      seen();
    },
    message_status_update(event, before) {
      const id = event.conversation_id;
      const key = { failed: "toastFailed", held: "toastHeld" }[event.status];
      if (!key || id === before.openId) return;
      const name = nameOf(getState().conversations[id], translate());
      toast(translate()(key, { name }), { tone: "bad", href: `#/c/${id}` });
    },
    message_reaction_update({ failed }) {
      if (!failed) return;
      const [t, { lang }] = [translate(), getState()];
      toast(t(failed.emoji ? "reactionFailed" : "reactionStays", { emoji: failed.emoji, reason: reasonIn(lang, failed.reason_text) }), { tone: "bad" });
    },
    typing({ conversation_id: id }) {
      setTimeout(() => Date.now() - (getState().typing[id]?.at ?? 0) >= TYPING_MS && dispatch({ type: "typing/clear", id }), TYPING_MS);
    },
    conversation_updated: () => seen(),
  };

  function announce(id, message) {
    const t = translate();
    const name = nameOf(getState().conversations[id], t);
    const here = id === getState().openId;
    dispatch({ type: "announce", text: t(here ? "announceFrom" : "announceElsewhere", { name, text: quoteLine(message, t) }) });
  }

  // --- the page

  async function loadInstances() {
    const before = getState().instances;
    try {
      const { results } = await api.instances();
      dispatch({ type: "instances/loaded", results, before });
    } catch {
      // the conversations carry their instance; the list of all only adds the choice in "new conversation"
    }
  }

  let refreshing = false;
  let refreshAgain = false;

  /** Reads everything on screen again: at the start, and when the socket cannot tell what was missed. */
  async function refresh() {
    refreshAgain = refreshing;
    if (refreshing) return;
    refreshing = true;
    await readAll();
    refreshing = false;
    if (refreshAgain) await refresh();
  }

  async function readAll() {
    const { filter, openId, search } = getState();
    dispatch({ type: "thread/forgetOthers" });
    // Open and pending are always known, so that their unread counts are; closed ones wait until somebody looks.
    if (filter !== "closed") dispatch({ type: "list/stale", filter: "closed" });
    const wanted = [...new Set([filter, "open", "pending"])];
    const reload = [...wanted.map((name) => loadList(name, { reset: true })), loadInstances()];
    if (search.query) reload.push(loadSearch(search.query));
    if (openId) reload.push(loadThread(openId), loadConversation(openId));
    await Promise.all(reload);
    seen();
  }

  function setLanguage(lang) {
    prefs.saveLanguage(lang);
    dispatch({ type: "lang/set", lang });
  }

  function setTheme(theme) {
    prefs.saveTheme(theme);
    dispatch({ type: "theme/set", theme });
  }

  return {
    loadList, loadMore, setSearch, setFilter, open, loadThread, seen, start, send, write, onMessage, onEvent, refresh, setLanguage, setTheme,
    uploads, reply, downloadAgain, fileAgain,
    closeConversation: (id) => changeConversation(() => api.close(id)),
    reopenConversation: (id) => changeConversation(() => api.reopen(id)),
    showDialog: (dialog) => dispatch({ type: "dialog/set", dialog }),
    dismissToast: (id) => dispatch({ type: "toast/remove", id }),
  };
}
