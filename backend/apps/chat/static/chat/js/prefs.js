// What the browser remembers: language and theme in cookies, because the server renders them into the page before any
// script runs; drafts in localStorage, per user.
import { LANGUAGES } from "./i18n.js";

const YEAR_SECONDS = 365 * 24 * 3600;

export function createPrefs({ document, storage, userId, secure }) {
  const draftsKey = `alrea:${userId}:drafts`;

  function setCookie(name, value, seconds) {
    document.cookie = `${name}=${value}; path=/; max-age=${seconds}; samesite=lax${secure ? "; secure" : ""}`;
  }

  return {
    outboxKey: `alrea:${userId}:outbox`,
    drafts() {
      try {
        return JSON.parse(storage.getItem(draftsKey) ?? "{}");
      } catch {
        return {};
      }
    },
    saveDrafts(drafts) {
      try {
        storage.setItem(draftsKey, JSON.stringify(drafts));
      } catch {
        // storage full or forbidden: drafts live as long as the page does
      }
    },
    saveLanguage(lang) {
      setCookie("django_language", LANGUAGES[lang].cookie, YEAR_SECONDS);
      document.documentElement.lang = LANGUAGES[lang].locale;
    },
    saveTheme(theme) {
      setCookie("theme", theme, theme ? YEAR_SECONDS : 0);
      if (theme) document.documentElement.dataset.theme = theme;
      else delete document.documentElement.dataset.theme;
    },
    /** A shared computer must not show the next person what this one was writing. */
    forget() {
      [draftsKey, this.outboxKey].forEach((key) => storage.removeItem(key));
    },
  };
}
