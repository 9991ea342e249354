// The first thing an operator reads: all quiet, or what is wrong in words, with what to press.
import { useNow, useStore, useWords } from "../../components/context.js";
import { Icon } from "../../components/icons.js";
import { clockTime } from "../../format.js";
import { html } from "../../preact.js";
import { alertsOf, pressing } from "../figures.js";
import { ageOfSeconds } from "./shared.js";

const ICONS = { bad: "alert", warn: "alert", note: "clock" };

/** An alert's values, with names and ages in the reader's language. */
function inWords(values, t) {
  return { ...values, name: values.name ?? (values.queue ? t(values.queue) : ""), age: values.age === undefined ? "" : ageOfSeconds(values.age, t) };
}

function Alert({ alert }) {
  const { t } = useWords();
  const values = inWords(alert.values, t);
  const go = (event) => {
    event.preventDefault();
    const section = document.getElementById(alert.to);
    section?.scrollIntoView({ block: "start" });
    section?.focus({ preventScroll: true });
  };
  return html`
    <li class="alert ${alert.level}">
      <${Icon} name=${ICONS[alert.level]} />
      <div><strong>${t(alert.text, values)}</strong><p>${t(alert.do, values)}</p></div>
      <a href="#${alert.to}" onClick=${go}>${t(`goTo_${alert.to}`)}</a>
    </li>`;
}

function Freshness() {
  const { t, locale } = useWords();
  const statusAt = useStore((state) => state.statusAt);
  if (!statusAt) return null;
  return html`<p class="freshness">${t("lookedAt", { time: new Intl.DateTimeFormat(locale, { timeStyle: "medium" }).format(statusAt) })}</p>`;
}

/** The page says when it cannot tell: old figures must not look like new ones. */
export function Interruption() {
  const { t, locale } = useWords();
  const signedOut = useStore((state) => state.signedOut);
  const failing = useStore((state) => state.failing);
  const statusAt = useStore((state) => state.statusAt);
  if (signedOut) {
    return html`<div class="banner bad" role="alert"><${Icon} name="alert" /><span>${t("signedOut")}</span><a href="/login/?next=/ops/">${t("bannerSignIn")}</a></div>`;
  }
  if (!failing) return null;
  const text = statusAt ? t("lookPaused", { time: clockTime(new Date(statusAt).toISOString(), locale) }) : t("lookNever");
  return html`<div class="banner warn" role="alert"><${Icon} name="retry" /><span>${text}</span></div>`;
}

export function Headline() {
  const { t } = useWords();
  const state = useStore((all) => all);
  const now = useNow(5000);
  if (!state.status) return html`<div class="headline calm"><h2>${t("looking")}</h2></div>`;
  const alerts = alertsOf(state, now);
  const n = pressing(alerts);
  const level = n ? alerts[0].level : "good";
  return html`
    <div class="headline ${level}">
      <div class="headline-words">
        <span class="headline-mark" aria-hidden="true"><${Icon} name=${n ? "alert" : "tick"} /></span>
        <div><h2>${n ? t("troubled", { n }) : t("quiet")}</h2>${!n && html`<p>${t("quietHint")}</p>`}</div>
        <${Freshness} />
      </div>
      ${alerts.length > 0 && html`<ul class="alerts">${alerts.map((alert) => html`<${Alert} key=${alert.id} alert=${alert} />`)}</ul>`}
    </div>`;
}
