// An open conversation: who it is with, its messages, and the composer.
import { nameOf, phoneNumber } from "../format.js";
import { html, useRef } from "../preact.js";
import { Avatar } from "./avatar.js";
import { Composer, useDrop } from "./composer.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";
import { MessageList } from "./message-list.js";
import { isAway } from "./sidebar.js";

function Subtitle({ conversation }) {
  const { t } = useWords();
  const typing = useStore((state) => state.typing[conversation.id]);
  if (typing) return html`<p class="typing" role="status">${typing.user ? t("typingColleague", { name: typing.user.name }) : t("typing")}</p>`;
  const { contact, instance } = conversation;
  const phone = contact?.name ? phoneNumber(contact.phone) : "";
  return html`<p>${[phone, instance?.name].filter(Boolean).join(" · ")}</p>`;
}

function CloseOrReopen({ conversation }) {
  const { actions } = useApp();
  const { t } = useWords();
  const closed = conversation.status === "closed";
  const [key, act] = closed ? ["reopenConversation", actions.reopenConversation] : ["closeConversation", actions.closeConversation];
  return html`
    <button class="button with-icon" type="button" aria-label=${t(key)} title=${t(key)} onClick=${() => act(conversation.id)}>
      <${Icon} name=${closed ? "retry" : "archive"} /><span class="wide-only">${t(key)}</span>
    </button>`;
}

function Head({ conversation, name }) {
  const { t } = useWords();
  return html`
    <header class="thread-head">
      <a class="icon-button back" href="#/" aria-label=${t("back")}><${Icon} name="back" /></a>
      <${Avatar} conversation=${conversation} name=${name} />
      <div class="thread-who"><h2 dir="auto">${name}</h2>${conversation && html`<${Subtitle} conversation=${conversation} />`}</div>
      ${conversation && html`<${CloseOrReopen} conversation=${conversation} />`}
    </header>`;
}

/** Why messages of this conversation wait, as the number's connection and gate tell; "" when they do not. */
function waitingKey(instance) {
  if (isAway(instance?.connection)) return "bannerInstance";
  return ["parked", "frozen"].includes(instance?.gate) ? "bannerGate" : "";
}

function Notices({ conversation }) {
  const { t } = useWords();
  const instances = useStore((state) => state.instances);
  const instance = { ...conversation?.instance, ...instances[conversation?.instance?.id] };
  const waiting = waitingKey(instance);
  return html`
    ${waiting && html`<div class="banner warn" role="status"><${Icon} name="plug" /><span>${t(waiting, { name: instance.name })}</span></div>`}
    ${conversation?.status === "closed" && html`<div class="banner"><${Icon} name="archive" /><span>${t("closedNote")}</span></div>`}`;
}

export function Thread({ id }) {
  const { t } = useWords();
  const conversation = useStore((state) => state.conversations[id]);
  const toBottom = useRef(() => {});
  const name = conversation ? nameOf(conversation, t) : "";
  const [onDrag, dropping] = useDrop(id);
  return html`
    <section class="thread" ...${onDrag} aria-label=${t("messagesWith", { name })}>
      <${Head} conversation=${conversation} name=${name} />
      <${Notices} conversation=${conversation} />
      <${MessageList} id=${id} isGroup=${conversation?.conversation_type === "group"} toBottom=${toBottom} />
      <${Composer} id=${id} onSent=${() => toBottom.current()} />
      ${dropping && html`<div class="drop-here" aria-hidden="true"><p><${Icon} name="clip" /> ${t("dropHere")}</p></div>`}
    </section>`;
}
