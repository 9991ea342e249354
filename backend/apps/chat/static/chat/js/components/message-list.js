// The scrolling part of a conversation: newest at the bottom, older ones loaded on the way up without a jump.
import { dayHeading, dayKey } from "../format.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../preact.js";
import { threadDays, waitingMessages } from "../threads.js";
import { useApp, useNow, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";
import { Message } from "./message.js";

const AT_BOTTOM_WITHIN_PX = 60;
const OLDER_WITHIN_PX = 500;

/**
 * Messages on screen, oldest first; what was written here and is not in the database yet comes last.
 */
function useMessages(id) {
  const thread = useStore((state) => state.threads[id]);
  const messages = useStore((state) => state.messages);
  const outbox = useStore((state) => state.outbox);
  return useMemo(() => {
    const known = (thread?.ids ?? []).map((messageId) => messages[messageId]);
    return [...known, ...waitingMessages({ outbox, messages, threads: { [id]: thread } }, id)];
  }, [thread, messages, outbox, id]);
}

/** Which message was the first unread one when the conversation was opened: {id, n}, or null. */
function useFirstUnread(id, messages, loaded) {
  const { store } = useApp();
  const unreadAtOpen = useRef(store.getState().conversations[id]?.unread_count ?? 0);
  const found = useRef(null);
  if (loaded && unreadAtOpen.current > 0 && !found.current) {
    const incoming = messages.filter((message) => message.direction === "incoming").slice(-unreadAtOpen.current);
    if (incoming.length) found.current = { id: incoming[0].id, n: unreadAtOpen.current };
  }
  return found.current;
}

const isAtBottom = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < AT_BOTTOM_WITHIN_PX;

/**
 * Keeps the place: at the bottom it stays at the bottom whatever grows; elsewhere what is on screen does not move when
 * older messages appear above it. Answers how many arrived
 * below while the reader was further up, and whether that is more than a screen away.
 */
function useScrollPlace(box, messages) {
  const place = useRef({ stuck: true, anchor: null, top: 0, lastId: null, scrollTop: 0 });
  const [below, setBelow] = useState(0);
  const [away, setAway] = useState(false);

  useLayoutEffect(() => {
    const mark = place.current;
    const last = messages[messages.length - 1];
    const isNew = last && mark.lastId && last.id !== mark.lastId;
    if (mark.stuck) box.current.scrollTop = box.current.scrollHeight;
    else if (mark.anchor?.isConnected) box.current.scrollTop += mark.anchor.offsetTop - mark.top;
    if (isNew && !mark.stuck && last.direction === "incoming") setBelow((n) => n + 1);
    mark.lastId = last?.id ?? null;
    mark.anchor = box.current.querySelector(".message");
    mark.top = mark.anchor?.offsetTop ?? 0;
  }, [messages]);

  useEffect(() => {
    const stay = () => box.current && place.current.stuck && (box.current.scrollTop = box.current.scrollHeight);
    const observer = new ResizeObserver(stay);
    observer.observe(box.current);
    observer.observe(box.current.firstElementChild);
    return () => observer.disconnect();
  }, []);

  function onScroll() {
    const mark = place.current;
    // Only going up lets go of the bottom: a box that shrank meanwhile is not the reader's doing.
    mark.stuck = isAtBottom(box.current) || (mark.stuck && box.current.scrollTop >= mark.scrollTop);
    mark.scrollTop = box.current.scrollTop;
    if (mark.stuck) setBelow(0);
    setAway(box.current.scrollHeight - box.current.scrollTop > 2 * box.current.clientHeight);
  }

  function toBottom() {
    place.current.stuck = true;
    box.current.scrollTop = box.current.scrollHeight;
    setBelow(0);
  }

  return { below, away, onScroll, toBottom };
}

function Older({ id, thread }) {
  const { actions } = useApp();
  const { t } = useWords();
  if (thread?.failed) {
    return html`<p class="older">${t("olderFailed")} <button class="link" type="button" onClick=${() => actions.loadThread(id, { fresh: false })}>${t("tryAgain")}</button></p>`;
  }
  if (thread?.next) return html`<p class="older"><span class="spinner" role="status" aria-label=${t("loading")}></span></p>`;
  return html`<p class="older">${t("conversationStart")}</p>`;
}

function Skeleton() {
  const { t } = useWords();
  const widths = ["w1", "w2", "w3", "w2", "w1"];
  return html`
    <ol class="messages" aria-busy="true" aria-label=${t("loading")}>
      ${widths.map((width, i) => html`<li class="ghost skeleton ${i % 2 ? "outgoing" : "incoming"}"><span class="bar ${width}"></span></li>`)}
    </ol>`;
}

function Failed({ id }) {
  const { actions } = useApp();
  const { t } = useWords();
  return html`<div class="empty"><p>${t("threadFailed")}</p><button class="button" type="button" onClick=${() => actions.loadThread(id)}>${t("tryAgain")}</button></div>`;
}

/** The rows of one day under its heading, which stays in sight while the day does. */
function Day({ day, isGroup }) {
  const { actions, boot } = useApp();
  const words = useWords();
  const now = new Date(useNow(60_000));
  const shown = {
    unread: ({ key, n }) => html`<li class="unread-line" key=${key}><span>${words.t("unreadBelow", { n })}</span></li>`,
    message: ({ key, message, follows }) => html`
      <${Message} key=${key} message=${message} follows=${follows} isGroup=${isGroup} me=${boot.user.id} onMessage=${actions.onMessage} ...${words} />`,
  };
  return html`
    <section>
      <h3 class="day"><span>${dayHeading(day.at, now, words.locale, words.t)}</span></h3>
      <ol class="messages">${day.rows.map((row) => shown[row.kind](row))}</ol>
    </section>`;
}

export function MessageList({ id, isGroup, toBottom }) {
  const { actions } = useApp();
  const { t } = useWords();
  const box = useRef(null);
  const thread = useStore((state) => state.threads[id]);
  const messages = useMessages(id);
  const unread = useFirstUnread(id, messages, thread?.loaded);
  const place = useScrollPlace(box, messages);
  toBottom.current = place.toBottom;
  const days = useMemo(() => threadDays(messages, { dayOf: dayKey, firstUnreadId: unread?.id, unreadCount: unread?.n }), [messages, unread]);

  function loadOlder() {
    const wanted = thread?.next && !thread.loading && !thread.failed;
    if (wanted && box.current.scrollTop < OLDER_WITHIN_PX) actions.loadThread(id, { fresh: false });
  }
  useEffect(loadOlder, [thread]);

  let content = html`<${Skeleton} />`;
  if (thread?.loaded) {
    content = html`<${Older} id=${id} thread=${thread} />${days.map((day) => html`<${Day} key=${day.key} day=${day} isGroup=${isGroup} />`)}`;
  } else if (thread?.failed) content = html`<${Failed} id=${id} />`;
  const onScroll = () => {
    place.onScroll();
    loadOlder();
  };
  return html`
    <div class="scroll-frame">
      <div class="scroll" ref=${box} onScroll=${onScroll} tabindex="0" role="group" aria-label=${t("messagesWith", { name: "" })}><div class="scroll-content">${content}</div></div>
      ${place.below > 0 && html`
        <button class="pill" type="button" onClick=${place.toBottom}><${Icon} name="down" /> ${t("newMessages", { n: place.below })}</button>`}
      ${place.away && place.below === 0 && html`
        <button class="icon-button to-latest" type="button" aria-label=${t("toLatest")} title=${t("toLatest")} onClick=${place.toBottom}><${Icon} name="down" /></button>`}
    </div>`;
}
