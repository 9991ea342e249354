// Line icons, drawn for a 20 by 20 box. Decorative: the words beside them, or an aria-label, carry the meaning.
import { html } from "../preact.js";

const SHAPES = {
  arrow: () => html`<path d="M4 10h11M11 6l4 4-4 4" />`,
  tick: () => html`<path d="m4.5 10.5 3.5 3.5 7.5-8" />`,
  ticks: () => html`<path d="m1.5 10.5 3.5 3.5 7-8M9.5 13.5l.7.7 7.8-8.2" />`,
  clock: () => html`<circle cx="10" cy="10" r="7" /><path d="M10 6v4.2l2.6 1.6" />`,
  cloud: () => html`<path d="M6 15.5a3.5 3.5 0 0 1-.4-7 4.6 4.6 0 0 1 8.9 1 3 3 0 0 1-.4 6zM10 10v3" />`,
  alert: () => html`<circle cx="10" cy="10" r="7" /><path d="M10 6.5v4M10 13.4v.1" />`,
  retry: () => html`<path d="M15.5 9.5A5.6 5.6 0 1 0 14 14M15.8 5.5v4h-4" />`,
  lens: () => html`<circle cx="9" cy="9" r="5" /><path d="m13 13 3.5 3.5" />`,
  hand: () => html`<path d="M6.5 3.5v13M13.5 3.5v13" />`,
  cross: () => html`<path d="m5.5 5.5 9 9M14.5 5.5l-9 9" />`,
  plus: () => html`<path d="M10 4.5v11M4.5 10h11" />`,
  menu: () => html`<path d="M4 6h12M4 10h12M4 14h12" />`,
  back: () => html`<path d="M12 4.5 6.5 10l5.5 5.5" />`,
  down: () => html`<path d="M10 4.5v11M5.5 11l4.5 4.5 4.5-4.5" />`,
  send: () => html`<path d="M3.5 10 16.5 4l-4 12.5-3-5z M9.5 11.5l7-7.5" />`,
  archive: () => html`<path d="M3.5 5h13v3h-13zM5 8v7.5h10V8M8.5 11h3" />`,
  group: () => html`<circle cx="8" cy="8" r="2.6" /><path d="M3.2 15.5c.4-2.7 2.3-4 4.8-4s4.4 1.3 4.8 4M13 5.6a2.6 2.6 0 0 1 0 4.9M14.3 12c1.5.5 2.4 1.7 2.7 3.5" />`,
  person: () => html`<circle cx="10" cy="7" r="3" /><path d="M4.5 16c.5-3 2.7-4.5 5.5-4.5s5 1.5 5.5 4.5" />`,
  plug: () => html`<path d="M3 3l14 14M7 4v3M13 4v3M5.5 9.5a4.5 4.5 0 0 0 7 3M14.5 8.5V8H9.5M10 14v3" />`,
  chat: () => html`<path d="M3.5 5.5a1.5 1.5 0 0 1 1.5-1.5h10a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5H9l-4 3v-3a1.5 1.5 0 0 1-1.5-1.5z" />`,
  clip: () => html`<path d="m15.5 9-5.800 5.800a3.300 3.300 0 0 1-4.700-4.700l6.200-6.200a2.200 2.200 0 0 1 3.100 3.100l-6.100 6.100a1.100 1.100 0 0 1-1.600-1.600L12 6.200" />`,
  file: () => html`<path d="M5.5 3h6L15 6.5V17H5.5zM11 3v4h4" />`,
  picture: () => html`<rect x="3" y="4" width="14" height="12" rx="1.5" /><circle cx="7.5" cy="8" r="1.200" /><path d="m3.5 14.5 4-4 3 3 2.5-2.5 3.5 3.5" />`,
  film: () => html`<rect x="3" y="5" width="10" height="10" rx="1.5" /><path d="m13 9 4-2.5v7L13 11" />`,
  sound: () => html`<rect x="7.5" y="2.5" width="5" height="9" rx="2.5" /><path d="M4.5 9.5a5.5 5.5 0 0 0 11 0M10 15v2.5" />`,
  smile: () => html`<circle cx="10" cy="10" r="7" /><path d="M7 11.5c.7 1.200 1.700 1.800 3 1.800s2.300-.6 3-1.800M7.700 8v.1M12.300 8v.1" />`,
  reply: () => html`<path d="M8 5 3.5 9.5 8 14M4 9.5h7a5.5 5.5 0 0 1 5.5 5.5" />`,
  phone: () => html`<rect x="6" y="2.5" width="8" height="15" rx="1.5" /><path d="M9 15h2" />`,
};

/** One icon, by name. */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">${SHAPES[name]()}</svg>`;
}
