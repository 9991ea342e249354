// One message: its text, its time, and for an outgoing one where it is, why, and what can be done about it.
import { clockTime, countdown, fullTime, quoteLine, wordsOf } from "../format.js";
import { reasonIn } from "../i18n.js";
import { splitLinks } from "../links.js";
import { html, memo } from "../preact.js";
import { lookOf } from "../status.js";
import { Attachments } from "./attachments.js";
import { useNow, useStore } from "./context.js";
import { Details, shownPart } from "./details.js";
import { Icon } from "./icons.js";
import { Chips, Tools } from "./reactions.js";

/** Text nodes and links, never markup: what a customer writes cannot become part of the page. */
function Text({ text }) {
  const part = ({ text: words, href }) => (href ? html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${words}</a>` : words);
  return html`<p class="text" dir="auto">${splitLinks(text).map(part)}</p>`;
}

const KNOWN_KINDS = ["image", "audio", "video", "document", "sticker", "location", "contact"];

function Content({ message, ...words }) {
  const { t } = words;
  if (message.deleted_at) return html`<p class="text faint">${t("deleted")}</p>`;
  const files = message.attachments ?? [];
  const isText = !message.kind || message.kind === "text";
  const kind = KNOWN_KINDS.includes(message.kind) ? message.kind : "unknown";
  if (shownPart(message)) return html`<${Details} message=${message} t=${t} />`;
  const said = wordsOf(message);
  return html`
    ${files.length > 0 && html`<${Attachments} files=${files} ...${words} />`}
    ${!isText && !files.length && html`<p class="kind"><${Icon} name="phone" /> ${t(`kind_${kind}`)}</p>`}
    ${said && html`<${Text} text=${said} />`}`;
}

function Quote({ id, t }) {
  const quoted = useStore((state) => state.messages[id]);
  return html`<blockquote class="quote"><span class="visually-hidden">${t("replyTo")} </span>${quoted ? quoteLine(quoted, t) : t("unknownQuoted")}</blockquote>`;
}

function RetryWords({ at, t }) {
  const now = useNow(1000);
  const skew = useStore((state) => state.clockSkew);
  const left = Date.parse(at ?? "") - (now + skew);
  return left > 0 ? t("status_retrying", { time: countdown(left, t) }) : t("status_retryingNow");
}

function StatusWords({ message, t }) {
  if (message.status === "retrying") return html`<${RetryWords} at=${message.next_attempt_at} t=${t} />`;
  const key = `status_${message.status}`;
  const words = t(key);
  return words === key ? message.status : words;
}

function Status({ message, t }) {
  const { icon, tone } = lookOf(message.status);
  return html`<span class="status ${tone}"><${Icon} name=${icon} /> <${StatusWords} message=${message} t=${t} /></span>`;
}

const BUTTONS = {
  cancel: ["cancel", "quiet"],
  sendAgain: ["sendAgain", "primary"],
  sendAnyway: ["sendAnyway", ""],
  discard: ["discard", "quiet"],
  remove: ["remove", "quiet"],
};

function Buttons({ message, onMessage, t }) {
  const button = (name) => {
    const [key, look] = BUTTONS[name];
    return html`<button class="button small ${look}" type="button" key=${name} onClick=${() => onMessage[name](message)}>${t(key)}</button>`;
  };
  const { actions } = lookOf(message.status);
  return actions.length > 0 && html`<div class="strip-buttons">${actions.map(button)}</div>`;
}

const CANCEL_AFTER_MS = 2_000;

/**
 * The buttons of a message that just waits its turn: not at once, since nearly all of them are gone within a moment
 * and each would make the page jump.
 */
function LateButtons(props) {
  const now = useNow(500) + useStore((state) => state.clockSkew);
  return now - Date.parse(props.message.created_at) > CANCEL_AFTER_MS && html`<${Buttons} ...${props} />`;
}

function problemOf(message, lang, t) {
  if (message.problem) return t(message.problem.textKey, { detail: message.problem.detail });
  const words = reasonIn(lang, message.reason_text);
  if (words) return words;
  if (message.status === "held") return t("heldExplain");
  return message.status === "queued" && message.held_by ? t("queuedBehind") : "";
}

/** Below a bubble that needs attention: its state large enough to read, the reason, how often it was tried, buttons. */
function Strip({ message, onMessage, lang, t }) {
  const { tone, strip, actions } = lookOf(message.status);
  const reason = problemOf(message, lang, t);
  if (!strip && !actions.length && !reason) return null;
  return html`
    <div class="strip ${tone}">
      ${strip && html`<${Status} message=${message} t=${t} />`}
      ${reason && html`<p>${reason}</p>`}
      ${strip && message.attempts > 1 && html`<p class="faint">${t("attempts", { n: message.attempts })}</p>`}
      <${strip ? Buttons : LateButtons} message=${message} onMessage=${onMessage} t=${t} />
    </div>`;
}

function originOf(message, me, t) {
  if (message.origin === "phone") return t("fromPhone");
  if (message.origin === "other") return t("fromOther");
  return message.sender && message.sender.id !== me ? message.sender.name : "";
}

export const Message = memo(({ message, follows, isGroup, me, onMessage, lang, locale, t }) => {
  const mine = message.direction === "outgoing";
  const author = mine ? originOf(message, me, t) : isGroup && message.author_name;
  const inBubble = mine && !lookOf(message.status).strip;
  return html`
    <li class="message ${mine ? "outgoing" : "incoming"} ${follows ? "follows" : ""}" data-message=${message.id} data-status=${message.status}>
      <div class="line">
        <div class="bubble">
          ${author && !(follows && !mine) && html`<p class="author" dir="auto">${author}</p>`}
          ${message.reply_to && html`<${Quote} id=${message.reply_to.id ?? message.reply_to} t=${t} />`}
          <${Content} message=${message} lang=${lang} locale=${locale} t=${t} />
          <p class="meta">
            ${message.edited_at && !message.deleted_at && html`<span>${t("edited")}</span>`}
            <time datetime=${message.created_at} title=${fullTime(message.created_at, locale)}>${clockTime(message.created_at, locale)}</time>
            ${inBubble && html`<${Status} message=${message} t=${t} />`}
          </p>
        </div>
        <${Tools} message=${message} onMessage=${onMessage} t=${t} />
      </div>
      <${Chips} message=${message} onMessage=${onMessage} t=${t} />
      ${mine && html`<${Strip} message=${message} onMessage=${onMessage} lang=${lang} t=${t} />`}
    </li>`;
});
