// The frame of the page: banners on top, the list and the conversation side by side (one at a time on a phone).
import { html, useEffect } from "../preact.js";
import { ConnectionBanner } from "./banners.js";
import { useApp, useStore, useWords } from "./context.js";
import { Lightbox } from "./lightbox.js";
import { NewConversation } from "./new-conversation.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";
import { Toasts } from "./toasts.js";
import { Welcome } from "./welcome.js";

export { AppContext } from "./context.js";

function useKeys() {
  const { store } = useApp();
  useEffect(() => {
    function onKey(event) {
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "Escape" && !event.defaultPrevented && !store.getState().dialog && store.getState().openId) {
        location.hash = "#/";
      } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        document.getElementById("search")?.focus();
      }
    }
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

/** Leaving a conversation puts the focus back on its row, so that the arrows go on from there. */
function useFocusBack(openId) {
  useEffect(() => {
    if (!openId) return undefined;
    return () => requestAnimationFrame(() => {
      if (location.hash.startsWith("#/c/")) return;
      document.querySelector(`[data-conversation="${CSS.escape(openId)}"]`)?.focus();
    });
  }, [openId]);
}

export function App() {
  const openId = useStore((state) => state.openId);
  const announcement = useStore((state) => state.announcement);
  const dialog = useStore((state) => state.dialog);
  const { t } = useWords();
  useKeys();
  useFocusBack(openId);
  return html`
    <div class="frame" data-pane=${openId ? "thread" : "list"}>
      <${ConnectionBanner} />
      <${Sidebar} />
      <main class="thread-pane" aria-label=${t("conversations")}>
        ${openId ? html`<${Thread} key=${openId} id=${openId} />` : html`<${Welcome} />`}
      </main>
      <${Toasts} />
      ${dialog === "new" && html`<${NewConversation} />`}
      ${dialog?.kind === "picture" && html`<${Lightbox} file=${dialog.file} />`}
      <div class="visually-hidden" aria-live="polite">${announcement}</div>
    </div>`;
}
