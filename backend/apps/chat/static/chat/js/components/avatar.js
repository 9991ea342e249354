// A contact's picture; until it is there, initials on a colour of their own, or a symbol when the name has no letters.
import { bucketOf, initials } from "../format.js";
import { html } from "../preact.js";
import { Icon } from "./icons.js";

const COLOURS = 8;

export function Avatar({ conversation, name }) {
  const letters = initials(name);
  const symbol = conversation?.conversation_type === "group" ? "group" : "person";
  const colour = bucketOf(conversation?.contact?.id ?? name, COLOURS);
  const picture = conversation?.contact?.picture_url;
  return html`<span class="avatar colour-${colour}" aria-hidden="true">
    ${letters || html`<${Icon} name=${symbol} />`}
    ${picture && html`<img key=${picture} src=${picture} alt="" loading="lazy" decoding="async" onError=${hide} />`}
  </span>`;
}

/** A picture that does not load leaves what is under it in sight. */
function hide(event) {
  event.currentTarget.hidden = true;
}
