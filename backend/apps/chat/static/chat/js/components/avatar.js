// A contact's initials on a colour of their own; a symbol when the name has no letters.
import { bucketOf, initials } from "../format.js";
import { html } from "../preact.js";
import { Icon } from "./icons.js";

const COLOURS = 8;

export function Avatar({ conversation, name }) {
  const letters = initials(name);
  const symbol = conversation?.conversation_type === "group" ? "group" : "person";
  const colour = bucketOf(conversation?.contact?.id ?? name, COLOURS);
  return html`<span class="avatar colour-${colour}" aria-hidden="true">${letters || html`<${Icon} name=${symbol} />`}</span>`;
}
