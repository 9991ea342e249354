// The frame of the operations page.
import { useApp, useStore, useWords } from "../../components/context.js";
import { Icon } from "../../components/icons.js";
import { Menu } from "../../components/menu.js";
import { Toasts } from "../../components/toasts.js";
import { html, useEffect } from "../../preact.js";
import { Dialogs } from "./dialogs.js";
import { Headline, Interruption } from "./headline.js";
import { Letters } from "./letters.js";
import { Numbers } from "./numbers.js";
import { Queues, Workers } from "./queues.js";

export function Page() {
  const { boot } = useApp();
  const { t } = useWords();
  const announcement = useStore((state) => state.announcement);
  useEffect(() => {
    document.title = `${t("operations")} · ALREA Sense`;
  }, [t]);
  return html`
    <div class="ops">
      <${Interruption} />
      <header class="ops-head">
        <${Menu} />
        <div><h1>${t("operations")}</h1><p>${boot.tenants.map(({ name }) => name).join(", ")}</p></div>
        <a class="button small" href="/?tenant=${boot.tenant.id}"><${Icon} name="chat" /> ${t("toInbox")}</a>
      </header>
      <main>
        <${Headline} />
        <${Numbers} />
        <${Letters} />
        <${Queues} />
        <${Workers} />
      </main>
      <${Toasts} />
      <${Dialogs} />
      <div class="visually-hidden" aria-live="polite">${announcement}</div>
    </div>`;
}
