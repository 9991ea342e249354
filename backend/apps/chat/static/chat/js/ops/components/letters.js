// Messages of the team that failed for good, by reason: choose, preview, send again or discard.
import { useApp, useNow, useStore, useWords } from "../../components/context.js";
import { Icon } from "../../components/icons.js";
import { fullTime, shortWhen, clockTime } from "../../format.js";
import { html, useEffect, useRef, useState } from "../../preact.js";
import { byReason, maskedPhone, whyFailed } from "../figures.js";
import { LETTERS_AT_MOST } from "../state.js";
import { Section } from "./shared.js";

const FOLDED = 4; // rows of a group that are shown until somebody wants all: one acts on reasons, not on rows

const same = (one, other) => new Date(one).toDateString() === new Date(other).toDateString();

/** "14:02" today, else the day and the time. */
function moment(iso, now, locale, t) {
  const day = shortWhen(iso, now, locale, t);
  const word = day === t("yesterday") ? day.toLocaleLowerCase(locale) : day; // in the middle of a sentence
  return same(iso, now) ? day : `${word} ${clockTime(iso, locale)}`;
}

function Tick({ ids, label, children }) {
  const { actions } = useApp();
  const chosen = useStore((state) => state.chosen);
  const everything = useStore((state) => state.everything);
  const box = useRef(null);
  const n = everything ? ids.length : ids.filter((id) => chosen.includes(id)).length;
  useEffect(() => {
    box.current.indeterminate = n > 0 && n < ids.length;
  });
  return html`
    <label class="tick">
      <input ref=${box} type="checkbox" checked=${n === ids.length} aria-label=${label} onChange=${(event) => actions.choose(ids, event.target.checked)} />
      ${children}
    </label>`;
}

function Times({ row }) {
  const { t, locale } = useWords();
  const now = new Date(useNow(60_000));
  const [first, last] = [row.message.created_at, row.failed_at];
  const title = `${fullTime(first, locale)} / ${fullTime(last, locale)}`;
  return html`<span title=${title}>${t("letterTimes", { first: moment(first, now, locale, t), last: moment(last, now, locale, t) })}</span>`;
}

function Letter({ row }) {
  const { boot } = useApp();
  const { t } = useWords();
  const name = row.contact.name || maskedPhone(row.contact.phone) || t("unnamed");
  return html`
    <li class="letter">
      <${Tick} ids=${[row.id]} label=${t("chooseOne", { name })} />
      <div>
        <a href="/?tenant=${boot.tenant.id}#/c/${row.message.conversation}">${name}</a>
        <p class="soft">${t("letterMeta", { instance: row.instance.name, n: row.attempts })} · <${Times} row=${row} /></p>
      </div>
    </li>`;
}

function Group({ group }) {
  const { t, lang } = useWords();
  const [open, setOpen] = useState(false);
  const shown = open || group.rows.length <= FOLDED + 1 ? group.rows : group.rows.slice(0, FOLDED);
  const { text, usedUp } = whyFailed(group.reason_text, lang);
  const why = [text || t("noReason", { reason: group.reason }), usedUp && t("triesUsedUp")].filter(Boolean).join(" ");
  return html`
    <li class="group">
      <${Tick} ids=${group.rows.map(({ id }) => id)} label="${t("chooseGroup")}: ${why}"><span><strong>${why}</strong> <span class="count">${group.rows.length}</span></span><//>
      <ul>${shown.map((row) => html`<${Letter} key=${row.id} row=${row} />`)}</ul>
      ${shown.length < group.rows.length && html`<button class="unfold link" type="button" onClick=${() => setOpen(true)}>${t("unfold", { n: group.rows.length - shown.length })}</button>`}
    </li>`;
}

function ChosenCount() {
  const { actions } = useApp();
  const { t } = useWords();
  const { rows, more } = useStore((state) => state.letters);
  const n = useStore((state) => state.chosen.length);
  const everything = useStore((state) => state.everything);
  if (everything) return html`<span>${t("chosenEverything")}</span>`;
  return html`
    <span>${n ? t("chosenCount", { n }) : t("chosenNone")}</span>
    ${more && n === rows.length && html`<button class="link" type="button" onClick=${actions.chooseEverything}>${t("chooseHidden")}</button>`}`;
}

function Toolbar() {
  const { actions } = useApp();
  const { t } = useWords();
  const rows = useStore((state) => state.letters.rows);
  const n = useStore((state) => state.chosen.length);
  const everything = useStore((state) => state.everything);
  return html`
    <div class="toolbar">
      <${Tick} ids=${rows.map(({ id }) => id)} label=${t("chooseAll")}><span aria-hidden="true">${t("chooseAll")}</span><//>
      <p class="soft" role="status"><${ChosenCount} /></p>
      <div class="buttons">
        <button class="button small primary" type="button" disabled=${!n && !everything} onClick=${actions.previewReplay}>${t("replay")}</button>
        <button class="button small" type="button" disabled=${!n || everything} onClick=${actions.previewDiscard}>${t("discard")}</button>
      </div>
    </div>`;
}

function More() {
  const { actions } = useApp();
  const { t } = useWords();
  const { more, limit, rows } = useStore((state) => state.letters);
  if (!more) return null;
  if (limit >= LETTERS_AT_MOST) return html`<p class="soft">${t("lettersShown", { n: rows.length })}</p>`;
  return html`<button class="button small" type="button" onClick=${actions.moreLetters}>${t("lettersMore")}</button>`;
}

/** The server counts the dead letters of all; what is not ours is said, not shown. */
function Foreign() {
  const { t } = useWords();
  const { rows, more } = useStore((state) => state.letters);
  const all = useStore((state) => state.status?.stream_metrics.dead_letter_stream?.length ?? 0);
  const n = all - (rows?.length ?? 0);
  return !more && rows && n > 0 ? html`<p class="soft">${t("lettersForeign", { n })}</p>` : null;
}

export function Letters() {
  const { t } = useWords();
  const { rows, failed } = useStore((state) => state.letters);
  return html`
    <${Section} id="letters" title=${t("letters")}>
      ${failed && html`<p class="trouble"><${Icon} name="alert" /> ${t("lettersFailed")}</p>`}
      ${rows?.length === 0 && html`<p class="none"><${Icon} name="tick" /> ${t("lettersNone")}</p>`}
      ${rows?.length > 0 && html`<${Toolbar} /><ul class="groups">${byReason(rows).map((group) => html`<${Group} key=${group.reason} group=${group} />`)}</ul><${More} />`}
      <${Foreign} />
    <//>`;
}
