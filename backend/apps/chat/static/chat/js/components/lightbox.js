// One picture, as large as the page allows.
import { html, useEffect, useRef } from "../preact.js";
import { useApp, useWords } from "./context.js";
import { Icon } from "./icons.js";

export function Lightbox({ file }) {
  const { actions } = useApp();
  const { t } = useWords();
  const dialog = useRef(null);
  const close = () => actions.showDialog(null);
  useEffect(() => dialog.current.showModal(), []);
  const onClick = (event) => event.target === dialog.current && close();
  return html`
    <dialog class="lightbox" ref=${dialog} onClose=${close} onClick=${onClick} aria-label=${file.file_name || t(`kind_${file.kind}`)}>
      <img src=${file.url} alt=${file.file_name || t(`kind_${file.kind}`)} />
      <div class="lightbox-tools">
        <a class="icon-button" href=${file.url} download=${file.file_name || true} aria-label=${t("download")} title=${t("download")}><${Icon} name="down" /></a>
        <button class="icon-button" type="button" aria-label=${t("close")} title=${t("close")} onClick=${close}><${Icon} name="cross" /></button>
      </div>
    </dialog>`;
}
