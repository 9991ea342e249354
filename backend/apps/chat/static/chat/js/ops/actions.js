// What the page does by itself (looking) and what a person presses.
import { randomId } from "../ids.js";
import { alertsOf, pressing } from "./figures.js";

export const LOOK_MS = 2_000;
const LETTERS_EVERY = 5; // looks; sooner when the dead-letter stream's length has changed
const TOAST_MS = 8_000;

/**
 * @param options.translate() the words of the chosen language.
 * @param options.isVisible() whether somebody can see the page; nothing is asked while nobody can.
 */
export function createActions({ store, api, prefs, translate, isVisible, setTimer = setTimeout, clearTimer = clearTimeout }) {
  const { dispatch, getState } = store;
  let timer;
  let looks = 0;
  let looking = false;

  // --- looking

  function schedule() {
    clearTimer(timer);
    if (isVisible() && !getState().signedOut) timer = setTimer(look, LOOK_MS);
  }

  /** Reads everything that is due, then again after a pause. */
  async function look() {
    clearTimer(timer);
    if (looking) return;
    looking = true;
    const before = getState().status?.stream_metrics.dead_letter_stream?.length;
    try {
      const status = await api.status();
      dispatch({ type: "status/loaded", status, at: Date.now() });
      const changed = status.stream_metrics.dead_letter_stream?.length !== before;
      const due = changed || getState().letters.failed || looks % LETTERS_EVERY === 0;
      await Promise.all([readInstances(), due && readLetters()]);
      looks += 1;
      tellChanges();
    } catch (problem) {
      failed(problem);
    } finally {
      looking = false;
      schedule();
    }
  }

  function failed(problem) {
    if (!problem.textKey) throw problem;
    dispatch({ type: problem.signedOut ? "signedOut" : "status/failed" });
  }

  async function readInstances() {
    dispatch({ type: "instances/loaded", ...(await api.instances()) });
  }

  async function readLetters() {
    try {
      dispatch({ type: "letters/loaded", ...(await api.letters(getState().letters.limit)) });
    } catch (problem) {
      if (!problem.textKey || problem.signedOut) throw problem;
      dispatch({ type: "letters/failed" });
    }
  }

  let told = null;

  /** Says to those who listen when what needs attention is another thing than before. */
  function tellChanges() {
    const alerts = alertsOf(getState(), Date.now());
    const now = alerts.map(({ id }) => id).sort().join();
    if (now === told) return;
    const n = pressing(alerts);
    dispatch({ type: "announce", text: n ? translate()("troubled", { n }) : translate()("quiet") });
    told = now;
  }

  // --- telling

  function toast(text, more = {}) {
    const id = randomId();
    dispatch({ type: "toast/add", toast: { id, text, ...more } });
    setTimer(() => dispatch({ type: "toast/remove", id }), TOAST_MS);
  }

  /** Runs a call; answers what it answers, or null after having told the person what went wrong. */
  async function attempt(call) {
    try {
      return await call();
    } catch (problem) {
      if (!problem.textKey) throw problem;
      if (problem.signedOut) dispatch({ type: "signedOut" });
      const own = problem.status === 502 && problem.detail; // Evolution's own refusal, in a sentence
      toast(own || translate()(problem.textKey, { detail: problem.detail }), { tone: "bad" });
      return null;
    }
  }

  // --- dead letters

  async function again() {
    await attempt(readLetters);
    tellChanges();
  }

  /** `{ids}` of what is chosen, or `{}` for all there are. */
  const wanted = () => (getState().everything ? {} : { ids: getState().chosen });

  /** Asks the server what would be sent again; the answer is shown before anything happens. */
  async function previewReplay() {
    const found = await attempt(() => api.replay({ ...wanted(), dry_run: true, limit: 1000 }));
    if (!found) return;
    if (!found.matched) {
      toast(translate()("replayNothing"));
      await again();
      return;
    }
    const chosen = new Set(found.ids);
    const rows = getState().letters.rows.filter(({ id }) => chosen.has(id));
    dispatch({ type: "dialog/set", dialog: { kind: "replay", n: Math.min(found.matched, 1000), rows, ids: found.ids, capped: found.matched > 1000 } });
  }

  async function replay(ids) {
    const done = await attempt(() => api.replay({ ids, limit: 1000 }));
    if (done) report("replayDone", done.replayed, done.skipped + ids.length - done.matched);
    dispatch({ type: "choose/none" });
    await again();
  }

  function report(key, n, others) {
    const parts = [translate()(key, { n }), others > 0 && translate()("fasterOnes", { n: others })];
    toast(parts.filter(Boolean).join("; "));
  }

  function previewDiscard() {
    const chosen = new Set(getState().chosen);
    const rows = getState().letters.rows.filter(({ id }) => chosen.has(id));
    dispatch({ type: "dialog/set", dialog: { kind: "discard", n: rows.length, rows } });
  }

  /** One by one, each with the failure that was shown; stops at the first trouble that is not somebody's being faster. */
  async function discard(rows) {
    const seen = { done: 0, others: 0 };
    await attempt(async () => {
      for (const { id, failure_gen: failureGen } of rows) {
        try {
          await api.discard(id, failureGen);
          seen.done += 1;
        } catch (problem) {
          if (![404, 409].includes(problem.status)) throw problem;
          seen.others += 1;
        }
      }
    });
    report("discardDone", seen.done, seen.others);
    dispatch({ type: "choose/none" });
    await again();
  }

  async function moreLetters() {
    dispatch({ type: "letters/more" });
    await again();
  }

  // --- numbers

  async function releaseStale(instance, action) {
    const done = await attempt(() => api.releaseStale(instance.id, action));
    if (done) toast(translate()("staleDone", { n: done.count }));
    await attempt(readInstances);
  }

  async function restart(instance) {
    const done = await attempt(() => api.restart(instance.id));
    if (done) toast(translate()("restartDone", { name: instance.name }));
    await attempt(readInstances);
  }

  function pairingEnded(instance) {
    dispatch({ type: "dialog/set", dialog: null });
    toast(translate()("pairDone", { name: instance.name }));
    look();
  }

  return {
    look, previewReplay, replay, previewDiscard, discard, moreLetters, releaseStale, restart, pairingEnded,
    connect: (id) => attempt(() => api.connect(id)),
    qrCode: (id) => api.qrCode(id),
    ask: (dialog) => dispatch({ type: "dialog/set", dialog }),
    closeDialog: () => dispatch({ type: "dialog/set", dialog: null }),
    choose: (ids, on) => dispatch({ type: "choose", ids, on }),
    chooseEverything: () => dispatch({ type: "choose/everything" }),
    dismissToast: (id) => dispatch({ type: "toast/remove", id }),
    onEvent: (event) => event.type === "instance_status_changed" && attempt(readInstances),
    setLanguage(lang) {
      prefs.saveLanguage(lang);
      dispatch({ type: "lang/set", lang });
    },
    setTheme(theme) {
      prefs.saveTheme(theme);
      dispatch({ type: "theme/set", theme });
    },
  };
}
