// Where an agent writes. The text is a draft in the store at each keystroke, so leaving the conversation loses nothing.
import { lengthOf } from "../format.js";
import { html, useEffect, useLayoutEffect, useRef } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

const COUNTER_WITHIN = 1000;
const TALLEST_PX = 220;

/** On a touch screen Enter makes a new line: there is no Shift beside it, and the button is under the thumb. */
const enterSends = () => !matchMedia("(pointer: coarse)").matches;

function Counter({ left }) {
  const { t } = useWords();
  if (left > COUNTER_WITHIN) return null;
  const text = left < 0 ? t("charactersOver", { n: -left }) : t("charactersLeft", { n: left });
  return html`<p class="counter ${left < 0 ? "bad" : ""}" id="composer-counter" role="status">${text}</p>`;
}

/** As tall as its text, up to a limit. */
function useFittingHeight(field, text) {
  useLayoutEffect(() => {
    field.current.style.height = "auto";
    field.current.style.height = `${Math.min(field.current.scrollHeight, TALLEST_PX)}px`;
  }, [text]);
}

export function Composer({ id, onSent }) {
  const { actions, boot } = useApp();
  const { t } = useWords();
  const text = useStore((state) => state.drafts[id] ?? "");
  const field = useRef(null);
  const left = boot.max_text - lengthOf(text);
  const sendable = text.trim() !== "" && left >= 0;
  useFittingHeight(field, text);
  useEffect(() => enterSends() && field.current.focus(), [id]);

  function submit(event) {
    event?.preventDefault();
    if (!sendable) return;
    actions.send(id, text.trim());
    onSent();
    field.current.focus();
  }

  function onKeyDown(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229 || !enterSends()) return;
    event.preventDefault();
    submit();
  }

  return html`
    <form class="composer" onSubmit=${submit}>
      <${Counter} left=${left} />
      <textarea ref=${field} rows="1" value=${text} placeholder=${t("compose")} aria-label=${t("compose")} title=${enterSends() ? t("composeHint") : undefined}
        dir="auto" aria-invalid=${String(left < 0)} onInput=${(event) => actions.write(id, event.target.value)} onKeyDown=${onKeyDown}></textarea>
      <button class="icon-button send" aria-label=${t("send")} title=${t("send")} disabled=${!sendable}><${Icon} name="send" /></button>
    </form>`;
}
