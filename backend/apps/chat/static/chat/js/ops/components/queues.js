// Streams, lists and the media queue, in figures; and who works on them.
import { useStore, useWords } from "../../components/context.js";
import { html } from "../../preact.js";
import { figuresOf } from "../figures.js";
import { ageOf, ageOfSeconds, Pill, Section } from "./shared.js";
import { Sparkline } from "./sparkline.js";

const COLUMNS = ["waiting", "working", "oldest", "readers", "trend"];

function cells(row, t, format) {
  const number = (value) => (value === null ? "" : format.format(value));
  return {
    waiting: row.later ? `${number(row.waiting)} + ${t("queueLater", { n: row.later })}` : number(row.waiting),
    working: number(row.working),
    oldest: row.oldest === null ? "" : ageOfSeconds(row.oldest, t),
    readers: number(row.readers),
  };
}

function Queue({ row, alerted }) {
  const { t, locale } = useWords();
  const values = useStore((state) => state.history[row.key]) ?? [];
  const told = cells(row, t, new Intl.NumberFormat(locale));
  const cell = (column) => html`
    <td key=${column} class=${column} data-label=${t(`column_${column}`)} data-empty=${told[column] === "" && ""}>
      ${column === "trend" ? html`<${Sparkline} values=${values} />` : told[column]}
    </td>`;
  return html`
    <tr class="${alerted ? "alerted" : ""} ${row.outstanding ? "" : "idle"}">
      <th scope="row">${t(`queue_${row.key}`)}</th>${COLUMNS.map(cell)}
    </tr>`;
}

export function Queues() {
  const { t } = useWords();
  const status = useStore((state) => state.status);
  if (!status) return null;
  const alerted = new Set(status.alerts.map(({ queue }) => (queue.includes("media") ? "media" : queue)));
  const away = "error" in status.stream_metrics || "error" in status.metrics;
  return html`
    <${Section} id="queues" title=${t("queues")} hint=${t("queuesHint")}>
      ${away && html`<p class="trouble">${t("queuesAway")}</p>`}
      <table class="queues">
        <caption class="visually-hidden">${t("queues")}</caption>
        <thead><tr><th scope="col">${t("column_name")}</th>${COLUMNS.map((column) => html`<th key=${column} scope="col" class=${column}>${t(`column_${column}`)}</th>`)}</tr></thead>
        <tbody>${figuresOf(status).map((row) => html`<${Queue} key=${row.key} row=${row} alerted=${alerted.has(row.key)} />`)}</tbody>
      </table>
    <//>`;
}

function Worker({ worker, now }) {
  const { t } = useWords();
  const ago = (iso) => ageOf(now - Date.parse(iso), t);
  return html`
    <li class="worker">
      <${Pill} tone=${worker.alive ? "good" : "bad"}>${t(worker.alive ? "workerAlive" : "workerSilent")}<//>
      <code>${worker.name}</code>
      <span class="soft">${t("workerBeat", { age: ago(worker.beat_at) })}, ${t("workerSince", { age: ago(worker.started_at) })}</span>
    </li>`;
}

export function Workers() {
  const { t } = useWords();
  const status = useStore((state) => state.status);
  if (!status) return null;
  const now = Date.parse(status.timestamp);
  return html`
    <${Section} id="workers" title=${t("workers")}>
      ${status.workers.length === 0 && html`<p class="none">${t("workersNone")}</p>`}
      <ul class="workers">${status.workers.map((worker) => html`<${Worker} key=${worker.name} worker=${worker} now=${now} />`)}</ul>
    <//>`;
}
