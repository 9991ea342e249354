// The files of a message: pictures, films, sounds and documents, and what there is to see while one is not here yet.
import { duration, fileSize } from "../format.js";
import { reasonIn } from "../i18n.js";
import { html } from "../preact.js";
import { useApp } from "./context.js";
import { Icon } from "./icons.js";

const LARGEST_EDGE = 320;

/** Width and height on screen, so that nothing moves when the picture arrives. */
function sizeOf({ width, height }) {
  if (!width || !height) return {};
  const scale = Math.min(1, LARGEST_EDGE / Math.max(width, height));
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

const nameOf = (file, t) => file.file_name || t(`kind_${file.kind}`);

function Picture({ file, t }) {
  const { actions } = useApp();
  const label = file.kind === "sticker" ? t("kind_sticker") : t("openPicture", { name: nameOf(file, t) });
  return html`
    <button class="picture ${file.kind}" type="button" aria-label=${label} onClick=${() => actions.showDialog({ kind: "picture", file })}>
      <img src=${file.thumbnail_url ?? file.url} alt="" loading="lazy" decoding="async" ...${sizeOf(file)} onError=${() => actions.fileAgain(file)} />
    </button>`;
}

function Film({ file, t }) {
  const { actions } = useApp();
  return html`
    <video class="film" controls preload="none" playsinline poster=${file.thumbnail_url ?? undefined} src=${file.url} aria-label=${nameOf(file, t)}
      ...${sizeOf(file)} onError=${() => actions.fileAgain(file)}></video>`;
}

/** The loudness over time: a picture of the sound, for the eye only. */
function Waveform({ levels }) {
  const bar = (level, i) => html`<rect x=${i * 4} y=${(100 - Math.max(level, 6)) / 5} width="2.4" height=${Math.max(level, 6) / 2.5} rx="1.2" />`;
  return html`<svg class="waveform" viewBox="0 0 256 40" preserveAspectRatio="none" aria-hidden="true">${levels.map(bar)}</svg>`;
}

function Sound({ file, t }) {
  const { actions } = useApp();
  const length = file.duration_ms ? duration(file.duration_ms) : "";
  return html`
    <div class="sound">
      ${file.waveform?.length > 0 && html`<${Waveform} levels=${file.waveform} />`}
      <audio controls preload="none" src=${file.url} aria-label=${[nameOf(file, t), length].filter(Boolean).join(", ")} onError=${() => actions.fileAgain(file)}></audio>
    </div>`;
}

function Document({ file, t, locale }) {
  const extension = /\.(\w{1,5})$/.exec(file.file_name ?? "")?.[1] ?? file.mime_type?.split("/").pop() ?? "";
  const facts = [extension.slice(0, 5).toUpperCase(), file.size ? fileSize(file.size, locale) : ""].filter(Boolean).join(" · ");
  return html`
    <a class="document" href=${file.url} download=${file.file_name || true} title=${t("download")}>
      <${Icon} name="file" />
      <span class="document-name" dir="auto">${nameOf(file, t)}</span>
      <span class="document-facts">${facts}</span>
      <${Icon} name="down" />
    </a>`;
}

const READY = { image: Picture, sticker: Picture, video: Film, audio: Sound, voice: Sound };
const KIND_ICONS = { image: "picture", sticker: "picture", video: "film", audio: "sound", voice: "sound" };

/** A file that is on its way, did not come, or was not wanted. */
function Missing({ file, lang, t }) {
  const { actions } = useApp();
  const waiting = file.status === "pending" || file.status === "processing";
  const reason = reasonIn(lang, file.reason_text);
  return html`
    <div class="missing ${waiting ? "" : "bad"}" data-file-status=${file.status}>
      ${file.preview && html`<img class="blurred" src=${file.preview} alt="" ...${sizeOf(file)} />`}
      <p><${Icon} name=${waiting ? KIND_ICONS[file.kind] ?? "file" : "alert"} /> <span dir="auto">${nameOf(file, t)}</span></p>
      ${waiting
        ? html`<p class="faint"><span class="spinner small"></span> ${t("fileComing")}</p>`
        : html`
          <p class="faint">${reason || t(file.status === "skipped" ? "fileSkipped" : "fileFailed")}</p>
          <button class="button small" type="button" onClick=${() => actions.downloadAgain(file)}><${Icon} name="retry" /> ${t("downloadAgain")}</button>`}
    </div>`;
}

/** Files below one another, in their order. `words`: {t, lang, locale}. */
export function Attachments({ files, ...words }) {
  const one = (file) => {
    const Shown = file.status === "completed" ? READY[file.kind] ?? Document : Missing;
    return html`<${Shown} key=${file.id} file=${file} ...${words} />`;
  };
  return html`<div class="files">${files.map(one)}</div>`;
}
