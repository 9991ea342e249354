// What stands between the page and the server, in words, with what a person can do about it.
import { html } from "../preact.js";
import { useApp, useNow, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

const PATIENCE_MS = 2_000; // a reconnect that is over at once is nobody's business

function Reconnecting({ since }) {
  const { nudge } = useApp();
  const { t } = useWords();
  if (useNow(500) - since < PATIENCE_MS) return null;
  return html`
    <div class="banner warn" role="status">
      <${Icon} name="retry" /><span>${t("bannerReconnecting")}</span>
      <button class="link" type="button" onClick=${nudge}>${t("bannerRetryNow")}</button>
    </div>`;
}

export function ConnectionBanner() {
  const connection = useStore((state) => state.connection);
  const awaySince = useStore((state) => state.awaySince);
  const { t } = useWords();
  if (connection === "signed_out") {
    return html`
      <div class="banner bad" role="alert">
        <${Icon} name="alert" /><span>${t("bannerSignedOut")}</span><a href="/login/">${t("bannerSignIn")}</a>
      </div>`;
  }
  if (connection === "forbidden") {
    return html`<div class="banner bad" role="alert"><${Icon} name="alert" /><span>${t("bannerForbidden")}</span></div>`;
  }
  return connection === "online" ? null : html`<${Reconnecting} since=${awaySince} />`;
}
