// What goes along with the next message: the files that were chosen, and the message that is replied to.
import { fileSize, quoteLine } from "../format.js";
import { html } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

function State({ item, locale, t }) {
  if (item.state === "uploading") return html`<progress max="1" value=${item.progress} aria-label=${t("uploading", { name: item.name })}></progress>`;
  if (item.state === "refused") return html`<span class="bad">${t(item.problem.textKey, { detail: item.problem.detail })}</span>`;
  return html`<span class="faint">${fileSize(item.size, locale)}</span>`;
}

function Chosen({ item, t, locale }) {
  const { actions } = useApp();
  return html`
    <li class="chosen ${item.state}">
      ${item.preview ? html`<img src=${item.preview} alt="" />` : html`<span class="chosen-icon"><${Icon} name=${{ video: "film", audio: "sound" }[item.kind] ?? "file"} /></span>`}
      <span class="chosen-name" dir="auto">${item.name}</span>
      <${State} item=${item} locale=${locale} t=${t} />
      ${item.state === "refused" && item.problem.retryable && html`
        <button class="icon-button small" type="button" aria-label=${t("tryAgain")} title=${t("tryAgain")} onClick=${() => actions.uploads().retry(item.id)}><${Icon} name="retry" /></button>`}
      <button class="icon-button small remove" type="button" aria-label=${t("removeFile", { name: item.name })} title=${t("remove")} onClick=${() => actions.uploads().remove(item.id)}><${Icon} name="cross" /></button>
    </li>`;
}

export function ChosenFiles({ items }) {
  const words = useWords();
  if (!items.length) return null;
  return html`<ul class="chosen-files" aria-label=${words.t("chosenFiles")}>${items.map((item) => html`<${Chosen} key=${item.id} item=${item} ...${words} />`)}</ul>`;
}

export function Replying({ id }) {
  const { actions } = useApp();
  const { t } = useWords();
  const message = useStore((state) => state.messages[state.replying[id]]);
  if (!message) return null;
  return html`
    <div class="replying">
      <${Icon} name="reply" />
      <p dir="auto"><span class="visually-hidden">${t("replyTo")} </span>${quoteLine(message, t)}</p>
      <button class="icon-button small" type="button" aria-label=${t("replyCancel")} title=${t("replyCancel")} onClick=${() => actions.reply(id, null)}><${Icon} name="cross" /></button>
    </div>`;
}
