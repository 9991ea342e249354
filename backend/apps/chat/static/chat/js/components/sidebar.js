// The left pane: brand and menu, search, filters and the list of conversations.
import { FILTERS, totalUnread, unreadUnder } from "../store.js";
import { html, useEffect, useRef } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { ConversationList } from "./conversation-list.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";

function Search() {
  const { actions } = useApp();
  const { t } = useWords();
  const query = useStore((state) => state.search.query);
  const input = useRef(null);
  const clear = () => {
    input.current.value = "";
    actions.setSearch("");
    input.current.focus();
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape" && input.current.value) {
      event.preventDefault();
      clear();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      document.querySelector(".row")?.focus();
    }
  };
  return html`
    <div class="search" role="search">
      <${Icon} name="lens" />
      <input ref=${input} id="search" type="text" inputmode="search" enterkeyhint="search" autocomplete="off" spellcheck=${false}
        placeholder=${t("search")} aria-label=${t("search")} onInput=${(event) => actions.setSearch(event.target.value)} onKeyDown=${onKeyDown} />
      ${query && html`<button class="icon-button small" type="button" aria-label=${t("searchClear")} onClick=${clear}><${Icon} name="cross" /></button>`}
    </div>`;
}

const FILTER_TEXTS = { open: "filterOpen", pending: "filterPending", closed: "filterClosed" };

function Filter({ name }) {
  const { actions } = useApp();
  const { t } = useWords();
  const chosen = useStore((state) => state.filter === name);
  const unread = useStore((state) => unreadUnder(state, name));
  return html`
    <button type="button" aria-pressed=${String(chosen)} onClick=${() => actions.setFilter(name)}>
      ${t(FILTER_TEXTS[name])}
      ${unread > 0 && html` <span class="count" aria-hidden="true">${unread}</span><span class="visually-hidden">${t("unreadConversations", { n: unread })}</span>`}
    </button>`;
}

function Filters() {
  const { t } = useWords();
  const searching = useStore((state) => Boolean(state.search.query));
  if (searching) return null;
  return html`<div class="filters" role="group" aria-label=${t("filters")}>${FILTERS.map((name) => html`<${Filter} key=${name} name=${name} />`)}</div>`;
}

function AwayInstances() {
  const { t } = useWords();
  const instances = useStore((state) => state.instances);
  const away = Object.values(instances).filter((instance) => isAway(instance.connection));
  if (!away.length) return null;
  const names = away.map((instance) => instance.name).join(", ");
  return html`<p class="away-note"><${Icon} name="plug" /> <span>${t("instancesAway", { n: away.length, names })}</span></p>`;
}

/** Whether an instance's connection is known to be down; one we know nothing about is not called disconnected. */
export function isAway(connection) {
  return connection === "close" || connection === "connecting";
}

export function Sidebar() {
  const { actions, boot } = useApp();
  const { t } = useWords();
  const unread = useStore(totalUnread);
  const heading = useRef(null);
  useEffect(() => heading.current?.setAttribute("aria-label", unread ? `${t("conversations")}, ${t("unread", { n: unread })}` : t("conversations")), [unread, t]);
  return html`
    <aside class="sidebar">
      <header class="sidebar-head">
        <${Menu} />
        <div class="sidebar-title"><h1 ref=${heading}>${t("conversations")}</h1><p>${boot.tenant.name}</p></div>
        <button class="icon-button accent" type="button" aria-label=${t("newConversation")} title=${t("newConversation")}
          onClick=${() => actions.showDialog("new")}><${Icon} name="plus" /></button>
      </header>
      <${Search} />
      <${Filters} />
      <${AwayInstances} />
      <${ConversationList} />
    </aside>`;
}
