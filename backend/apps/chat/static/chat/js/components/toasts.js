// Short notices in a corner: what did not work, in words, and where to look.
import { html } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

export function Toasts() {
  const { actions } = useApp();
  const { t } = useWords();
  const toasts = useStore((state) => state.toasts);
  const toast = ({ id, text, tone = "calm", href }) => html`
    <li class="toast ${tone}" key=${id}>
      <${Icon} name=${tone === "bad" ? "alert" : "tick"} />
      <span>${text}</span>
      ${href && html`<a href=${href} onClick=${() => actions.dismissToast(id)}>${t("toastShow")}</a>`}
      <button class="icon-button small" type="button" aria-label=${t("dismiss")} onClick=${() => actions.dismissToast(id)}><${Icon} name="cross" /></button>
    </li>`;
  return html`<ul class="toasts" role="alert">${toasts.map(toast)}</ul>`;
}
