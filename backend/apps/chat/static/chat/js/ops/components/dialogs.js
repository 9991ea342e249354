// Before anything happens: what exactly would happen. Pairing by QR code.
import { useApp, useStore, useWords } from "../../components/context.js";
import { Icon } from "../../components/icons.js";
import { html, useEffect, useRef, useState } from "../../preact.js";
import { byInstance, byReason, troubleOf, whyFailed } from "../figures.js";

const ASK_MS = 3_000;

function Dialog({ title, children }) {
  const { actions } = useApp();
  const { t } = useWords();
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    const shown = dialog.current;
    shown.showModal();
    return () => {
      shown.close(); // until then nothing outside of it takes the focus
      (before?.disabled ? before.closest("section") : before)?.focus(); // what was pressed may be over and done
    };
  }, []);
  return html`
    <dialog class="dialog" ref=${dialog} onClose=${actions.closeDialog} aria-labelledby="dialog-title">
      <header>
        <h2 id="dialog-title">${title}</h2>
        <button class="icon-button" type="button" aria-label=${t("close")} onClick=${actions.closeDialog}><${Icon} name="cross" /></button>
      </header>
      ${children}
    </dialog>`;
}

/** Lines that say what would happen, and the button that does it. */
function Confirm({ title, lines, button, tone = "primary", run }) {
  const { actions } = useApp();
  const { t } = useWords();
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    await run();
    actions.closeDialog();
  };
  return html`
    <${Dialog} title=${title}>
      <ul class="preview">${lines.filter(Boolean).map((line) => html`<li key=${line}>${line}</li>`)}</ul>
      <div class="buttons">
        <button class="button ${tone}" type="button" disabled=${busy} onClick=${press}>${button}</button>
        <button class="button quiet" type="button" onClick=${actions.closeDialog}>${t("cancel")}</button>
      </div>
    <//>`;
}

/** What is chosen, by reason and by number. */
function contents(rows, { t, lang }) {
  const reasons = byReason(rows).map(({ reason, reason_text: words, rows: own }) => t("perReason", { n: own.length, why: whyFailed(words, lang).text || reason }));
  return [...reasons, ...byInstance(rows).map(({ name, n }) => t("perInstance", { name, n }))];
}

function Replay({ dialog }) {
  const { actions } = useApp();
  const words = useWords();
  const { t } = words;
  const instances = useStore((state) => state.instances) ?? [];
  const { n, rows, ids, capped } = dialog;
  const counts = byInstance(rows);
  const away = instances.filter(({ id }) => counts.some((one) => one.id === id)).filter((one) => ["gate", "link"].includes(troubleOf(one, 0)));
  const lines = [
    ...(rows.length === n ? contents(rows, words) : []),
    t("replayOrder"), ...away.map(({ name }) => t("replayWaits", { name })), capped && t("replayMost"),
  ];
  return html`<${Confirm} title=${t("replayTitle", { n })} lines=${lines} button=${t("replay")} run=${() => actions.replay(ids)} />`;
}

function Discard({ dialog: { n, rows } }) {
  const { actions } = useApp();
  const words = useWords();
  const { t } = words;
  const lines = [...contents(rows, words), t("discardLine")];
  return html`<${Confirm} title=${t("discardTitle", { n })} lines=${lines} button=${t("discard")} tone="danger" run=${() => actions.discard(rows)} />`;
}

function Stale({ dialog: { n, action, instance } }) {
  const { actions } = useApp();
  const { t } = useWords();
  const send = action === "send";
  const line = send ? t("staleSendLine", { name: instance.name }) : t("staleDiscardLine");
  return html`
    <${Confirm} title=${t(send ? "staleSendTitle" : "staleDiscardTitle", { n })} lines=${[line]} button=${t(send ? "staleSend" : "staleDiscard")}
      tone=${send ? "primary" : "danger"} run=${() => actions.releaseStale(instance, action)} />`;
}

function Restart({ dialog: { instance } }) {
  const { actions } = useApp();
  const { t } = useWords();
  return html`<${Confirm} title=${t("restartTitle", { name: instance.name })} lines=${[t("restartLine")]} button=${t("restart")} run=${() => actions.restart(instance)} />`;
}

/** Asks for a code, then again and again for the newest one, until the number is open. */
function usePairing(instance) {
  const { actions } = useApp();
  const [code, setCode] = useState(null);
  useEffect(() => {
    const own = { ended: false, timer: 0 };
    const took = (pairing) => {
      if (own.ended || !pairing) return;
      if (pairing.state === "open") actions.pairingEnded(instance);
      else if (pairing.qr_code) setCode(pairing.qr_code);
    };
    const askAgain = async () => {
      await actions.qrCode(instance.id).then(took, () => {}); // one answer that did not come: the next one will
      if (!own.ended) own.timer = setTimeout(askAgain, ASK_MS);
    };
    actions.connect(instance.id).then((pairing) => {
      if (own.ended) return;
      if (!pairing) actions.closeDialog();
      else {
        took(pairing);
        own.timer = setTimeout(askAgain, ASK_MS);
      }
    });
    return () => {
      own.ended = true;
      clearTimeout(own.timer);
    };
  }, []);
  return code;
}

function Pair({ dialog: { instance } }) {
  const { t } = useWords();
  const code = usePairing(instance);
  return html`
    <${Dialog} title=${t("pairTitle", { name: instance.name })}>
      <p>${t("pairSteps")}</p>
      <div class="qr" role="status">
        ${code?.base64 ? html`<img src=${code.base64} alt=${t("pairPicture", { name: instance.name })} width="264" height="264" />` : html`<p class="soft">${t("pairWait")}</p>`}
      </div>
      ${code?.pairing_code && html`<p>${t("pairCode", { code: code.pairing_code })}</p>`}
    <//>`;
}

const KINDS = { replay: Replay, discard: Discard, stale: Stale, restart: Restart, pair: Pair };

export function Dialogs() {
  const dialog = useStore((state) => state.dialog);
  return dialog && html`<${KINDS[dialog.kind]} dialog=${dialog} />`;
}
