// Where an agent writes. The text is a draft in the store at each keystroke, so leaving the conversation loses nothing.
import { lengthOf } from "../format.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../preact.js";
import { ChosenFiles, Replying } from "./composer-files.js";
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

const isFile = (transfer) => [...(transfer?.types ?? [])].includes("Files");

/** Takes files that are dropped on the conversation; answers what its section needs, and whether one hovers above. */
export function useDrop(id) {
  const { actions } = useApp();
  const [over, setOver] = useState(false);
  const leave = (event) => event.currentTarget.contains(event.relatedTarget) || setOver(false);
  function drop(event) {
    if (!isFile(event.dataTransfer)) return;
    event.preventDefault();
    setOver(false);
    actions.uploads().add(id, event.dataTransfer.files);
  }
  function hover(event) {
    if (!isFile(event.dataTransfer)) return;
    event.preventDefault();
    setOver(true);
  }
  return [{ onDragEnter: hover, onDragOver: hover, onDragLeave: leave, onDrop: drop }, over];
}

/** The files chosen for this conversation's next message, the same list as long as none of them changes. */
function useChosen(id) {
  const uploads = useStore((state) => state.uploads);
  return useMemo(() => uploads.filter((item) => item.conversation === id), [uploads, id]);
}

function Attach({ id }) {
  const { actions } = useApp();
  const { t } = useWords();
  const input = useRef(null);
  function onChange(event) {
    actions.uploads().add(id, event.target.files);
    event.target.value = "";
  }
  return html`
    <input class="visually-hidden" ref=${input} type="file" multiple tabindex="-1" aria-hidden="true" onChange=${onChange} />
    <button class="icon-button attach" type="button" aria-label=${t("attach")} title=${t("attachHint")} onClick=${() => input.current.click()}><${Icon} name="clip" /></button>`;
}

export function Composer({ id, onSent }) {
  const { actions, boot } = useApp();
  const { t } = useWords();
  const text = useStore((state) => state.drafts[id] ?? "");
  const files = useChosen(id);
  const field = useRef(null);
  const left = boot.max_text - lengthOf(text);
  const filesReady = files.every((item) => item.state === "ready");
  const sendable = (text.trim() !== "" || files.length > 0) && left >= 0 && filesReady;
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

  function onPaste(event) {
    const pasted = event.clipboardData?.files ?? [];
    if (!pasted.length) return;
    event.preventDefault();
    actions.uploads().add(id, pasted);
  }

  return html`
    <${Replying} id=${id} />
    <${ChosenFiles} items=${files} />
    <form class="composer" onSubmit=${submit}>
      <${Counter} left=${left} />
      <${Attach} id=${id} />
      <textarea ref=${field} rows="1" value=${text} placeholder=${t(files.length ? "caption" : "compose")} aria-label=${t("compose")} title=${enterSends() ? t("composeHint") : undefined}
        dir="auto" aria-invalid=${String(left < 0)} onInput=${(event) => actions.write(id, event.target.value)} onKeyDown=${onKeyDown} onPaste=${onPaste}></textarea>
      <button class="icon-button send" aria-label=${t("send")} title=${t(filesReady ? "send" : "sendWaits")} disabled=${!sendable}><${Icon} name="send" /></button>
    </form>`;
}
