// Puts the parts of the operations page together and starts them.
import { AppContext } from "../components/context.js";
import { translator } from "../i18n.js";
import { html, render } from "../preact.js";
import { createPrefs } from "../prefs.js";
import { createSocket } from "../socket.js";
import { createStore } from "../store.js";
import { createActions } from "./actions.js";
import { createApi } from "./api.js";
import { Page } from "./components/page.js";
import { initialState, reduce } from "./state.js";
import "./words.js";

const boot = JSON.parse(document.body.dataset.boot);
const prefs = createPrefs({ document, storage: localStorage, userId: boot.user.id, secure: boot.cookie_secure });

/** What the inbox has not sent yet: signing out here would lose it, too. */
function unsent() {
  try {
    return JSON.parse(localStorage.getItem(prefs.outboxKey) ?? "[]");
  } catch {
    return [];
  }
}

const store = createStore(reduce, { ...initialState, lang: boot.lang, theme: document.documentElement.dataset.theme ?? "", outbox: unsent() });
const isVisible = () => document.visibilityState === "visible";
const actions = createActions({
  store, prefs, isVisible,
  api: createApi({ fetch: (...args) => fetch(...args), cookies: () => document.cookie }),
  translate: () => translator(store.getState().lang),
});
const socket = createSocket({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/chat/tenant/${boot.tenant.id}/`,
  open: (url) => new WebSocket(url),
  onEvent: actions.onEvent,
  onState() {},
  onResync() {},
});

function comeBack() {
  if (!isVisible()) return;
  socket.nudge();
  actions.look();
}
document.addEventListener("visibilitychange", comeBack);
window.addEventListener("online", comeBack);

const root = document.getElementById("app");
root.textContent = "";
render(html`<${AppContext.Provider} value=${{ store, actions, boot, prefs }}><${Page} /><//>`, root);
socket.start();
await actions.look();
