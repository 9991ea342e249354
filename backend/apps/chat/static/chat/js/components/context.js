// What every component may reach: the store, the actions, who is here, and the words.
import { translator, LANGUAGES } from "../i18n.js";
import { createContext, useContext, useEffect, useMemo, useState } from "../preact.js";

export const AppContext = createContext(null);

export const useApp = () => useContext(AppContext);

/** The part of the state that `select` picks; the component renders again only when that part is another value. */
export function useStore(select) {
  const { store } = useApp();
  const [, renderAgain] = useState(0);
  const picked = select(store.getState());
  useEffect(() => {
    let seen = picked;
    const look = () => {
      const now = select(store.getState());
      if (Object.is(now, seen)) return;
      seen = now;
      renderAgain((n) => n + 1);
    };
    look(); // something may have changed between rendering and now
    return store.subscribe(look);
  });
  return picked;
}

/** {t, lang, locale} of the chosen language. */
export function useWords() {
  const lang = useStore((state) => state.lang);
  return useMemo(() => ({ t: translator(lang), lang, locale: LANGUAGES[lang].locale }), [lang]);
}

/** The time, told again every `period` ms while the component is on screen. */
export function useNow(period) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), period);
    return () => clearInterval(timer);
  }, [period]);
  return now;
}
