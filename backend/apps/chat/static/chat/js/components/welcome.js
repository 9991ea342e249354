// What a wide screen shows while no conversation is open.
import { html } from "../preact.js";
import { useWords } from "./context.js";
import { Icon } from "./icons.js";

export function Welcome() {
  const { t } = useWords();
  return html`
    <div class="empty welcome">
      <${Icon} name="chat" />
      <h2>${t("pickConversation")}</h2>
      <p>${t("pickConversationHint")}</p>
    </div>`;
}
