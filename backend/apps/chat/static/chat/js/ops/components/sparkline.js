// How a figure went, as a line. Decorative: the figures beside it carry the meaning.
import { html } from "../../preact.js";
import { SAMPLES } from "../state.js";

const [WIDTH, HEIGHT] = [120, 24];

/** The line's points for values, oldest first; the newest is at the right edge. */
export function pointsOf(values) {
  const most = Math.max(4, ...values); // a single entry coming and going is no mountain
  const step = WIDTH / (SAMPLES - 1);
  const from = WIDTH - (values.length - 1) * step;
  return values.map((value, n) => `${(from + n * step).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`).join(" ");
}

export function Sparkline({ values }) {
  if (!values.some(Boolean)) return null; // a flat line at nothing says nothing
  return html`<svg class="sparkline" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false"><polyline points=${pointsOf(values)} /></svg>`;
}
