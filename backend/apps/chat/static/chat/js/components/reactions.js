// Emoji on a message: those that are there, and a small choice to add one's own.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../preact.js";
import { Icon } from "./icons.js";

// Thumbs up, heart, laughing, surprised, sad, thanks.
const COMMON = ["\u{1F44D}", "\u2764\uFE0F", "\u{1F602}", "\u{1F62E}", "\u{1F622}", "\u{1F64F}"];
const LONGEST_EMOJI = 32;

/** [{emoji, n, mine, names}], the first given first. */
export function grouped(reactions) {
  const groups = new Map();
  for (const { emoji, from_me: mine, user } of reactions) {
    const group = groups.get(emoji) ?? { emoji, n: 0, mine: false, names: [] };
    groups.set(emoji, { ...group, n: group.n + 1, mine: group.mine || mine, names: user ? [...group.names, user.name] : group.names });
  }
  return [...groups.values()];
}

export function Chips({ message, onMessage, t }) {
  if (!message.reactions?.length || message.deleted_at) return null;
  const chip = ({ emoji, n, mine, names }) => html`
    <li key=${emoji}>
      <button class="chip ${mine ? "mine" : ""}" type="button" aria-pressed=${String(mine)} title=${names.join(", ") || undefined}
        aria-label=${t(mine ? "reactionMine" : "reactionTheirs", { emoji, n })} onClick=${() => onMessage.react(message, mine ? "" : emoji)}>
        <span aria-hidden="true">${emoji}</span>${n > 1 && html`<span aria-hidden="true">${n}</span>`}
      </button>
    </li>`;
  return html`<ul class="chips" aria-label=${t("reactions")}>${grouped(message.reactions).map(chip)}</ul>`;
}

function Picker({ message, onPick, onClose, t }) {
  const box = useRef(null);
  const mine = message.reactions?.find((reaction) => reaction.from_me)?.emoji;
  const [below, setBelow] = useState(false);
  useLayoutEffect(() => {
    const room = box.current.closest(".scroll").getBoundingClientRect().top;
    setBelow(box.current.getBoundingClientRect().top < room);
    box.current.querySelector("button").focus();
  }, []);
  useEffect(() => {
    const away = (event) => !box.current?.contains(event.target) && onClose();
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, []);

  function onKeyDown(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    onClose();
  }

  function onSubmit(event) {
    event.preventDefault();
    const emoji = event.target.elements.emoji.value.trim();
    if (emoji) onPick(emoji);
  }

  const choice = (emoji) => html`
    <button class="icon-button" type="button" key=${emoji} aria-pressed=${String(emoji === mine)} aria-label=${t("reactWith", { emoji })} onClick=${() => onPick(emoji === mine ? "" : emoji)}>${emoji}</button>`;
  return html`
    <div class="picker ${below ? "below" : ""}" ref=${box} role="group" aria-label=${t("react")} onKeyDown=${onKeyDown}>
      ${COMMON.map(choice)}
      <form onSubmit=${onSubmit}><input name="emoji" type="text" maxlength=${LONGEST_EMOJI} autocomplete="off" placeholder=${t("otherEmoji")} aria-label=${t("otherEmoji")} /></form>
    </div>`;
}

/** Beside a bubble: react and reply. Only what WhatsApp knows can be reacted to. */
export function Tools({ message, onMessage, t }) {
  const [picking, setPicking] = useState(false);
  const button = useRef(null);
  if (message.local || message.deleted_at || !message.provider_id) return null;

  function close() {
    setPicking(false);
    button.current?.focus();
  }

  function pick(emoji) {
    close();
    onMessage.react(message, emoji);
  }

  return html`
    <div class="tools ${picking ? "open" : ""}">
      <button class="icon-button small" type="button" ref=${button} aria-expanded=${String(picking)} aria-label=${t("react")} title=${t("react")} onClick=${() => setPicking(!picking)}><${Icon} name="smile" /></button>
      <button class="icon-button small" type="button" aria-label=${t("reply")} title=${t("reply")} onClick=${() => onMessage.reply(message)}><${Icon} name="reply" /></button>
      ${picking && html`<${Picker} message=${message} onPick=${pick} onClose=${() => setPicking(false)} t=${t} />`}
    </div>`;
}
