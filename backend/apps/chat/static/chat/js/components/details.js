// What a message of another kind than text or file says: a place, contact cards, a poll, an answer, a call, a note.
// Everything in here was written by somebody else: it is shown as text, and the only link is the one made below.
import { html } from "../preact.js";

const MAP = "https://www.openstreetmap.org/";

/** An address on a map; null unless both numbers are degrees. */
export function mapLink({ latitude, longitude } = {}) {
  const fits = (value, most) => typeof value === "number" && Math.abs(value) <= most;
  if (!fits(latitude, 90) || !fits(longitude, 180)) return null;
  return `${MAP}?mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;
}

function Place({ location, t }) {
  const href = mapLink(location);
  const words = location.name || t(location.live ? "detail_liveLocation" : "detail_openMap");
  return html`
    <p class="text" dir="auto">${href ? html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${words}</a>` : words}</p>
    ${location.address && html`<p class="text faint" dir="auto">${location.address}</p>`}`;
}

const phones = (card) => (card.phones ?? []).map((phone) => phone.number).filter(Boolean).join(", ");

function Cards({ contacts }) {
  const card = (one, place) => html`<li key=${place} dir="auto">${one.name} <span class="faint">${phones(one)}</span></li>`;
  return html`<ul class="text cards">${contacts.map(card)}</ul>`;
}

function Poll({ poll }) {
  return html`
    <p class="text" dir="auto">${poll.name}</p>
    <ul class="text cards">${(poll.options ?? []).map((option, place) => html`<li key=${place} dir="auto">${option}</li>`)}</ul>`;
}

const NOTES = {
  add: "detail_note_add", remove: "detail_note_remove", promote: "detail_note_promote", demote: "detail_note_demote",
};

/** The people of a group's note, by name or number. */
export function people(note) {
  const called = (note.people ?? []).map((one) => one.name || (one.phone ? `+${one.phone}` : "")).filter(Boolean);
  return called.join(", ") || "…";
}

const CALLS = { answered: "detail_call_answered", declined: "detail_call_declined", missed: "detail_call_missed" };

const READERS = {
  location: (details, t) => html`<${Place} location=${details.location} t=${t} />`,
  contacts: (details) => html`<${Cards} contacts=${details.contacts} />`,
  poll: (details) => html`<${Poll} poll=${details.poll} />`,
  choice: (details) => html`<p class="text" dir="auto">${details.choice.title || details.choice.id}</p>`,
  call: ({ call }, t) => html`<p class="kind">${t(CALLS[call.outcome] ?? "detail_call_ringing")}</p>`,
  note: ({ note }, t) => html`<p class="kind">${t(NOTES[note.action] ?? "detail_note_modify", { people: people(note) })}</p>`,
};

/** The name of the part this page can show of a message's details; undefined when there is none. */
export function shownPart(message) {
  return Object.keys(READERS).find((name) => message.details?.[name]);
}

/** What a message says beside words and files. Ask `shownPart` first. */
export function Details({ message, t }) {
  const name = shownPart(message);
  return name ? READERS[name](message.details, t) : null;
}
