// What this page knows, and everything that may change it. Pure.
import { figuresOf } from "./figures.js";

export const SAMPLES = 60; // of two seconds each
export const LETTERS_AT_FIRST = 50;
export const LETTERS_AT_MOST = 200;

export const initialState = {
  lang: "pt",
  theme: "",
  outbox: [],
  toasts: [],
  announcement: "",
  dialog: null,
  signedOut: false,
  status: null, // the last answer of reactions/queues/status/
  statusAt: null, // when it came, ms
  failing: false, // the last look did not succeed
  clockSkew: 0, // the server's clock minus ours, ms
  history: {}, // queue -> what was outstanding in it, oldest first
  instances: null,
  letters: { rows: null, more: false, limit: LETTERS_AT_FIRST, failed: false },
  chosen: [], // ids of dead letters
  everything: false, // those not shown are chosen, too
};

/** `history` with one more sample for every queue whose figures are known. */
export function sampled(history, status) {
  const samples = figuresOf(status).filter((row) => row.known).map((row) => [row.key, [...(history[row.key] ?? []), row.outstanding].slice(-SAMPLES)]);
  return { ...history, ...Object.fromEntries(samples) };
}

function lettersLoaded(state, { results, next }) {
  const ids = new Set(results.map((row) => row.id));
  return {
    ...state,
    letters: { ...state.letters, rows: results, more: Boolean(next), failed: false },
    chosen: state.chosen.filter((id) => ids.has(id)),
    everything: state.everything && Boolean(next),
  };
}

function choose(state, { ids, on }) {
  const others = state.chosen.filter((id) => !ids.includes(id));
  return { ...state, chosen: on ? [...others, ...ids] : others, everything: false };
}

const reducers = {
  "status/loaded": (state, { status, at }) => ({
    ...state, status, statusAt: at, failing: false, signedOut: false, clockSkew: Date.parse(status.timestamp) - at, history: sampled(state.history, status),
  }),
  "status/failed": (state) => ({ ...state, failing: true }),
  "signedOut": (state) => ({ ...state, signedOut: true }),
  "instances/loaded": (state, { results }) => ({ ...state, instances: results }),
  "letters/loaded": lettersLoaded,
  "letters/failed": (state) => ({ ...state, letters: { ...state.letters, failed: true } }),
  "letters/more": (state) => ({ ...state, letters: { ...state.letters, limit: Math.min(LETTERS_AT_MOST, state.letters.limit + 75) } }),
  "choose": choose,
  "choose/everything": (state) => ({ ...state, everything: true }),
  "choose/none": (state) => ({ ...state, chosen: [], everything: false }),
  "toast/add": (state, { toast }) => ({ ...state, toasts: [...state.toasts.filter(({ text }) => text !== toast.text), toast].slice(-4) }),
  "toast/remove": (state, { id }) => ({ ...state, toasts: state.toasts.filter((toast) => toast.id !== id) }),
  "announce": (state, { text }) => ({ ...state, announcement: text }),
  "dialog/set": (state, { dialog }) => ({ ...state, dialog }),
  "lang/set": (state, { lang }) => ({ ...state, lang }),
  "theme/set": (state, { theme }) => ({ ...state, theme }),
};

/** The next state; an action nobody knows changes nothing. */
export function reduce(state, action) {
  return reducers[action.type]?.(state, action) ?? state;
}
