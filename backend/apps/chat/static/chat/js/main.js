// Puts the parts together and starts them.
import { createActions } from "./actions.js";
import { createApi } from "./api.js";
import { App, AppContext } from "./components/app.js";
import { createUploads } from "./files.js";
import { translator } from "./i18n.js";
import { createOutbox } from "./outbox.js";
import { html, render } from "./preact.js";
import { createPrefs } from "./prefs.js";
import { createSocket } from "./socket.js";
import { createStore, initialState, reduce, totalUnread } from "./store.js";

const SOCKET_HEAD_START_MS = 400;

const boot = JSON.parse(document.body.dataset.boot);
const prefs = createPrefs({ document, storage: localStorage, userId: boot.user.id, secure: boot.cookie_secure });
const store = createStore(reduce, {
  ...initialState,
  lang: boot.lang,
  theme: document.documentElement.dataset.theme ?? "",
  drafts: prefs.drafts(),
});
const { dispatch, getState } = store;
const api = createApi({
  fetch: (...args) => fetch(...args),
  cookies: () => document.cookie,
  onServerTime: (now) => dispatch({ type: "clock/set", skew: now - Date.now() }),
});
const isVisible = () => document.visibilityState === "visible";
const actions = createActions({
  store, api, prefs, isVisible, me: boot.user.id, tenant: boot.tenant.id,
  outbox: () => outbox, uploads: () => uploads, socket: () => socket, translate: () => translator(getState().lang),
});
const outbox = createOutbox({
  post: api.send,
  storage: localStorage,
  key: prefs.outboxKey,
  onChange: (items) => dispatch({ type: "outbox/set", items }),
  onAccepted(item, { messages, ...first }) {
    for (const message of messages ?? [first]) dispatch({ type: "message/merge", message: { conversation: item.conversation, ...message } });
  },
  onSignedOut: () => dispatch({ type: "connection/set", connection: "signed_out" }),
});

const uploads = createUploads({ upload: api.upload, largest: boot.max_file, onChange: (items) => dispatch({ type: "uploads/set", items }) });

let firstSubscription;
const subscribedOrLate = new Promise((resolve) => {
  firstSubscription = resolve;
  setTimeout(resolve, SOCKET_HEAD_START_MS);
});
let loading = false; // until the first load began, there is nothing to read again
const socket = createSocket({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/chat/tenant/${boot.tenant.id}/`,
  open: (url) => new WebSocket(url),
  onEvent: actions.onEvent,
  onState(connection) {
    dispatch({ type: "connection/set", connection });
    if (connection === "online") outbox.retry();
  },
  onResync() {
    firstSubscription();
    if (loading) actions.refresh();
  },
});

function followAddress() {
  actions.open(/^#\/c\/([\w-]+)$/.exec(location.hash)?.[1] ?? null);
}

function showUnreadInTitle() {
  const unread = totalUnread(getState());
  const title = unread ? `(${unread}) ALREA Sense` : "ALREA Sense";
  if (document.title !== title) document.title = title;
}

const nudge = () => {
  socket.nudge();
  outbox.retry();
};
window.addEventListener("hashchange", followAddress);
window.addEventListener("online", nudge);
document.addEventListener("visibilitychange", () => {
  if (!isVisible()) return;
  socket.nudge();
  actions.seen();
});
store.subscribe(showUnreadInTitle);

dispatch({ type: "outbox/set", items: outbox.items });
const root = document.getElementById("app");
root.textContent = "";
render(html`<${AppContext.Provider} value=${{ store, actions, boot, prefs, nudge }}><${App} /><//>`, root);

socket.start();
// Subscribed first, read second: then nothing can fall between the two. A slow socket does not hold the page up.
await subscribedOrLate;
loading = true;
followAddress();
await actions.refresh();
outbox.retry();
