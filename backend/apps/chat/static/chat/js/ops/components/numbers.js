// The team's WhatsApp numbers: do they send, why not, what waits for them, what to press.
import { useApp, useStore, useWords } from "../../components/context.js";
import { html } from "../../preact.js";
import { remediesOf, troubledFirst, troubleOf, unclearOf, whyKey } from "../figures.js";
import { ageOf, Pill, Section, useServerNow } from "./shared.js";

const LINK_TONES = { open: "good", connecting: "warn", close: "bad", unknown: "calm" };
const GATE_TONES = { open: "good", parked: "bad", frozen: "bad", slow: "warn" };

function Since({ instance, now }) {
  const { t } = useWords();
  if (!instance.gate_since) return null;
  return html` <span class="soft">${t("gateSince", { age: ageOf(now - Date.parse(instance.gate_since), t) })}</span>`;
}

function Probe({ instance, now }) {
  const { t } = useWords();
  if (instance.gate !== "parked" || !instance.next_probe_at) return null;
  const left = Date.parse(instance.next_probe_at) - now;
  return html`<p class="soft">${left > 0 ? t("probeIn", { time: ageOf(left, t) }) : t("probeNow")}</p>`;
}

function Stale({ instance }) {
  const { actions } = useApp();
  const { t } = useWords();
  const { id, stale: n, name } = instance;
  if (!n) return null;
  const ask = (action) => () => actions.ask({ kind: "stale", action, instance: { id, name }, n });
  return html`
    <div class="decision">
      <p>${t("stale", { n })}</p>
      <div class="buttons">
        <button class="button small" type="button" onClick=${ask("send")}>${t("staleSend")}</button>
        <button class="button small" type="button" onClick=${ask("discard")}>${t("staleDiscard")}</button>
      </div>
    </div>`;
}

function Remedies({ instance }) {
  const { actions, boot } = useApp();
  const { t } = useWords();
  const { restart, connect } = remediesOf(instance);
  if (!restart && !connect) return null;
  if (!boot.admin) return html`<p class="soft">${t("adminOnly")}</p>`;
  const { id, name } = instance;
  return html`
    <div class="buttons">
      ${connect && html`<button class="button small primary" type="button" onClick=${() => actions.ask({ kind: "pair", instance: { id, name } })}>${t("connect")}</button>`}
      ${restart && html`<button class="button small primary" type="button" onClick=${() => actions.ask({ kind: "restart", instance: { id, name } })}>${t("restart")}</button>`}
    </div>`;
}

function Waiting({ instance }) {
  const { t } = useWords();
  const { waiting = 0, held = 0 } = instance;
  return html`
    <p class="waiting">
      ${waiting ? t("waitingCount", { n: waiting }) : t("waitingNone")}${held > 0 && html`<span>, ${t("heldCount", { n: held })}</span>`}
    </p>`;
}

function NumberCard({ instance }) {
  const { t } = useWords();
  const now = useServerNow();
  const trouble = troubleOf(instance, now);
  const gate = trouble === "slow" ? "slow" : instance.gate;
  const unclear = unclearOf(instance);
  return html`
    <li class="card ${trouble ? "troubled" : ""}">
      <header>
        <h3>${instance.name}</h3>
        <${Pill} tone=${LINK_TONES[instance.connection] ?? "calm"}>${t(`link_${instance.connection}`)}<//>
        <${Pill} tone=${GATE_TONES[gate] ?? "calm"}>${t(`gateIs_${gate}`)}<${Since} instance=${instance} now=${now} /><//>
      </header>
      ${trouble && html`<p>${t(whyKey(instance, now), { reason: instance.gate_reason })}</p>`}
      <${Probe} instance=${instance} now=${now} />
      <${Waiting} instance=${instance} />
      ${unclear > 0 && html`<p class="decision">${t("heldHint", { n: unclear })}</p>`}
      <${Stale} instance=${instance} />
      <${Remedies} instance=${instance} />
    </li>`;
}

export function Numbers() {
  const { t } = useWords();
  const instances = useStore((state) => state.instances);
  const skew = useStore((state) => state.clockSkew);
  return html`
    <${Section} id="numbers" title=${t("numbers")}>
      ${instances?.length === 0 && html`<div class="none"><p>${t("numbersNone")}</p><p>${t("numbersNoneHint")}</p></div>`}
      <ul class="cards">${troubledFirst(instances ?? [], Date.now() + skew).map((instance) => html`<${NumberCard} key=${instance.id} instance=${instance} />`)}</ul>
    <//>`;
}
