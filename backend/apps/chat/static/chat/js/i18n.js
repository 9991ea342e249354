// What the inbox says, in two languages. Pure: no page needed.
import { en } from "./texts/en.js";
import { pt } from "./texts/pt.js";

export const LANGUAGES = { pt: { name: "Português", locale: "pt-BR", cookie: "pt-br" }, en: { name: "English", locale: "en", cookie: "en" } };
export const TEXTS = { pt, en };

const plurals = { pt: new Intl.PluralRules("pt-BR"), en: new Intl.PluralRules("en") };

/**
 * t(key, values) for one language. `{name}` in a text is replaced by values.name; an entry with `one` and `other`
 * is chosen by values.n. An unknown key shows itself, so that a slip is visible and nothing breaks.
 */
export function translator(lang) {
  return (key, values = {}) => {
    const entry = TEXTS[lang][key] ?? key;
    const text = typeof entry === "string" ? entry : entry[plurals[lang].select(values.n)] ?? entry.other;
    return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
  };
}

/** The server's sentence for why a message is where it is: `{en, pt}`, a plain text, or nothing. */
export function reasonIn(lang, reasonText) {
  if (!reasonText) return "";
  return typeof reasonText === "string" ? reasonText : reasonText[lang] ?? reasonText.en ?? "";
}
