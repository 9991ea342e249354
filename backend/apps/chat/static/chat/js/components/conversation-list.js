// The list of conversations: rows are links, arrows move between them, more are loaded near the end.
import { nameOf, previewLine, shortWhen } from "../format.js";
import { html, memo, useEffect, useRef } from "../preact.js";
import { visibleConversations } from "../store.js";
import { Avatar } from "./avatar.js";
import { useApp, useNow, useStore, useWords } from "./context.js";

const MORE_WITHIN_PX = 400;

const Row = memo(({ conversation, selected, draft, today, lang, t, locale }) => {
  const { id, unread_count: unread = 0, last_message_preview: preview, last_message_at: at } = conversation;
  const name = nameOf(conversation, t);
  const line = draft
    ? html`<em class="draft">${t("draft")}</em> ${draft}`
    : previewLine(preview, t) || html`<span class="faint">${t("noMessagesYet")}</span>`;
  return html`
    <li>
      <a class="row ${unread ? "is-unread" : ""}" href="#/c/${id}" data-conversation=${id} aria-current=${selected ? "true" : undefined}>
        <${Avatar} conversation=${conversation} name=${name} />
        <span class="row-name">${name}</span>
        <time class="row-when">${preview || unread ? shortWhen(at, new Date(today), locale, t) : ""}</time>
        <span class="row-preview">${line}</span>
        ${unread > 0 && html`<span class="badge"><span aria-hidden="true">${unread > 99 ? "99+" : unread}</span><span class="visually-hidden">${t("unread", { n: unread })}</span></span>`}
      </a>
    </li>`;
});

function Skeleton() {
  const { t } = useWords();
  const row = () => html`<li class="row skeleton"><span class="avatar"></span><span class="bar"></span><span class="bar long"></span></li>`;
  return html`<ul class="rows" aria-busy="true" aria-label=${t("loading")}>${[1, 2, 3, 4, 5, 6].map(row)}</ul>`;
}

const EMPTY = {
  open: ["listEmptyOpen", "listEmptyOpenHint"],
  pending: ["listEmptyPending", null],
  closed: ["listEmptyClosed", null],
};

function Empty({ query, filter }) {
  const { t } = useWords();
  const [title, hint] = query ? ["listEmptySearch", "listEmptySearchHint"] : EMPTY[filter];
  return html`<div class="empty"><h2>${t(title, { query })}</h2>${hint && html`<p>${t(hint)}</p>`}</div>`;
}

function Failed({ onRetry }) {
  const { t } = useWords();
  return html`<div class="empty"><p>${t("listFailed")}</p><button class="button" type="button" onClick=${onRetry}>${t("tryAgain")}</button></div>`;
}

/** Up and Down move between rows, Home and End to the ends, Up on the first to the search box. */
function moveWithArrows(event) {
  const rows = [...event.currentTarget.querySelectorAll("a.row")];
  const here = rows.indexOf(document.activeElement);
  const goal = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (goal === undefined || here < 0) return;
  event.preventDefault();
  (goal < 0 ? document.getElementById("search") : rows[Math.min(goal, rows.length - 1)]).focus();
}

/** The arrows work from anywhere that is not a text field: they start at the open conversation, or at the top. */
function useArrowsFromAnywhere(list) {
  useEffect(() => {
    function onKey(event) {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      if (document.activeElement !== document.body) return;
      event.preventDefault();
      list.current?.querySelector("[aria-current], a.row")?.focus();
    }
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

export function ConversationList() {
  const { actions } = useApp();
  const words = useWords();
  const list = useRef(null);
  const conversations = useStore((state) => state.conversations);
  const search = useStore((state) => state.search);
  const filter = useStore((state) => state.filter);
  const pages = useStore((state) => state.pages);
  const openId = useStore((state) => state.openId);
  const drafts = useStore((state) => state.drafts);
  const today = new Date(useNow(60_000)).toDateString();
  useArrowsFromAnywhere(list);

  const rows = visibleConversations({ conversations, search, filter });
  const page = search.query ? search : pages[filter];
  const again = () => (search.query ? actions.refresh() : actions.loadList(filter));
  const onScroll = ({ currentTarget: box }) => {
    if (box.scrollHeight - box.scrollTop - box.clientHeight < MORE_WITHIN_PX && !page.loading) actions.loadMore();
  };
  const row = (conversation) => html`
    <${Row} key=${conversation.id} conversation=${conversation} selected=${conversation.id === openId}
      draft=${conversation.id === openId ? "" : drafts[conversation.id]} today=${today} ...${words} />`;

  let content;
  if (rows.length) content = html`<ul class="rows" onKeyDown=${moveWithArrows}>${rows.map(row)}</ul>`;
  else if (page.failed) content = html`<${Failed} onRetry=${again} />`;
  else if (page.loaded) content = html`<${Empty} query=${search.query} filter=${filter} />`;
  else content = html`<${Skeleton} />`;
  return html`
    <nav class="list" ref=${list} onScroll=${onScroll} aria-label=${words.t("conversations")}>
      ${content}
      ${rows.length > 0 && page.next && html`<button class="button more" type="button" onClick=${actions.loadMore}>${words.t("loadMore")}</button>`}
    </nav>`;
}
