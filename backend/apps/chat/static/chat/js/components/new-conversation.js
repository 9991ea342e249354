// Begin a conversation with a phone number.
import { html, useEffect, useRef, useState } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

/** The digits of what was typed, or null when it cannot be a number with country code. */
function digitsOf(text) {
  const digits = text.replace(/\D/g, "");
  return /^[\d\s()+.-]*$/.test(text) && digits.length >= 8 && digits.length <= 15 ? digits : null;
}

function InstanceChoice({ instances, value, onChange }) {
  const { t } = useWords();
  if (instances.length < 2) return null;
  return html`
    <label for="start-instance">${t("startInstance")}</label>
    <select id="start-instance" value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${instances.map(({ id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}
    </select>`;
}

export function NewConversation() {
  const { actions } = useApp();
  const { t } = useWords();
  const instances = Object.values(useStore((state) => state.instances));
  const [instance, setInstance] = useState(instances[0]?.id ?? "");
  const [wrong, setWrong] = useState(false);
  const [busy, setBusy] = useState(false);
  const dialog = useRef(null);
  const phone = useRef(null);
  const close = () => actions.showDialog(null);
  useEffect(() => {
    dialog.current.showModal();
    phone.current.focus();
  }, []);

  async function onSubmit(event) {
    event.preventDefault();
    const digits = digitsOf(phone.current.value);
    setWrong(!digits);
    if (!digits) return phone.current.focus();
    setBusy(true);
    const started = await actions.start(`+${digits}`, instances.length > 1 ? instance : undefined);
    return started || setBusy(false);
  }

  return html`
    <dialog class="dialog" ref=${dialog} onClose=${close} aria-labelledby="start-title">
      <form method="dialog" onSubmit=${onSubmit}>
        <header>
          <h2 id="start-title">${t("startTitle")}</h2>
          <button class="icon-button" type="button" aria-label=${t("close")} onClick=${close}><${Icon} name="cross" /></button>
        </header>
        <label for="start-phone">${t("startPhone")}</label>
        <input id="start-phone" ref=${phone} type="tel" autocomplete="off" aria-describedby="start-hint" aria-invalid=${String(wrong)} />
        <p class="hint ${wrong ? "bad" : ""}" id="start-hint">${t(wrong ? "startPhoneWrong" : "startPhoneHint")}</p>
        <${InstanceChoice} instances=${instances} value=${instance} onChange=${setInstance} />
        <button class="button primary wide" disabled=${busy}>${t("startButton")}</button>
      </form>
    </dialog>`;
}
