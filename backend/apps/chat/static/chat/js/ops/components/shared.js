// Small parts that every section of this page uses.
import { useNow, useStore } from "../../components/context.js";
import { countdown } from "../../format.js";
import { html } from "../../preact.js";

/** Now by the server's clock, ms; told again each second. */
export function useServerNow() {
  const skew = useStore((state) => state.clockSkew);
  return useNow(1000) + skew;
}

/** How long ago something was, in its largest sensible unit: "12 s", "3 min", "2 h". */
export const ageOf = (ms, t) => countdown(Math.max(1, ms), t);

export const ageOfSeconds = (seconds, t) => ageOf(seconds * 1000, t);

/** One word about a state, with a dot in its colour; `tone` is good, warn, bad or calm. */
export function Pill({ tone, children }) {
  return html`<span class="pill ${tone}"><span class="dot" aria-hidden="true"></span>${children}</span>`;
}

export function Section({ id, title, hint, children }) {
  return html`
    <section class="section" id=${id} aria-labelledby="${id}-title" tabindex="-1">
      <h2 id="${id}-title">${title}</h2>
      ${hint && html`<p class="section-hint">${hint}</p>`}
      ${children}
    </section>`;
}
