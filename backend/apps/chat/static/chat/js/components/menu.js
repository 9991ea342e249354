// Language, appearance, signing out.
import { LANGUAGES } from "../i18n.js";
import { cookieValue } from "../call.js";
import { html, useEffect, useRef, useState } from "../preact.js";
import { useApp, useStore, useWords } from "./context.js";
import { Icon } from "./icons.js";

function Choice({ label, options, value, onChoose }) {
  const option = ([key, text]) => html`
    <button type="button" key=${key} aria-pressed=${String(key === value)} onClick=${() => onChoose(key)}>${text}</button>`;
  return html`<div class="menu-choice"><span>${label}</span><div class="filters" role="group" aria-label=${label}>${options.map(option)}</div></div>`;
}

/** Closes the menu on Escape and on a press outside of it. */
function useClosing(isOpen, box, close) {
  useEffect(() => {
    if (!isOpen) return undefined;
    const onPress = (event) => box.current?.contains(event.target) || close();
    document.addEventListener("pointerdown", onPress);
    return () => document.removeEventListener("pointerdown", onPress);
  }, [isOpen]);
}

function Logout() {
  const { store, prefs } = useApp();
  const { t } = useWords();
  const onSubmit = (event) => {
    const n = store.getState().outbox.length;
    if (n && !confirm(t("logoutUnsent", { n }))) {
      event.preventDefault();
      return;
    }
    event.target.csrfmiddlewaretoken.value = cookieValue(document.cookie, "csrftoken");
    prefs.forget();
  };
  return html`
    <form method="post" action="/logout/" onSubmit=${onSubmit}>
      <input type="hidden" name="csrfmiddlewaretoken" />
      <button class="button wide">${t("logout")}</button>
    </form>`;
}

/** For people in several teams: the others, each a page of its own. */
function OtherTeams() {
  const { boot } = useApp();
  const { t } = useWords();
  const others = boot.tenants.filter(({ id }) => id !== boot.tenant.id);
  if (!others.length) return null;
  const team = ({ id, name }) => html`<li key=${id}><a href="/?tenant=${id}">${name}</a></li>`;
  return html`<ul class="menu-teams" aria-label=${t("otherTeams")}>${others.map(team)}</ul>`;
}

export function Menu() {
  const { actions, boot } = useApp();
  const { t, lang } = useWords();
  const theme = useStore((state) => state.theme);
  const [isOpen, setOpen] = useState(false);
  const box = useRef(null);
  const button = useRef(null);
  useClosing(isOpen, box, () => setOpen(false));
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || !isOpen) return;
    event.preventDefault();
    setOpen(false);
    button.current.focus();
  };
  const languages = Object.entries(LANGUAGES).map(([key, { name }]) => [key, name]);
  const themes = [["", t("themeAuto")], ["light", t("themeLight")], ["dark", t("themeDark")]];
  return html`
    <div class="menu" ref=${box} onKeyDown=${onKeyDown}>
      <button ref=${button} class="icon-button" type="button" aria-label=${t("menu")} aria-expanded=${String(isOpen)} aria-controls="menu"
        onClick=${() => setOpen(!isOpen)}><${Icon} name="menu" /></button>
      ${isOpen && html`
        <div class="menu-panel" id="menu">
          <p class="menu-user"><strong>${boot.user.name}</strong>${boot.user.name !== boot.user.email && html`<span>${boot.user.email}</span>`}</p>
          <${OtherTeams} />
          ${!location.pathname.startsWith("/ops") && html`<p class="menu-teams"><a href="/ops/?tenant=${boot.tenant.id}">${t("operations")}</a></p>`}
          <${Choice} label=${t("language")} options=${languages} value=${lang} onChoose=${actions.setLanguage} />
          <${Choice} label=${t("theme")} options=${themes} value=${theme} onChoose=${actions.setTheme} />
          <${Logout} />
        </div>`}
    </div>`;
}
