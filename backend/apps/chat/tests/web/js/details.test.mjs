import assert from "node:assert/strict";
import { test } from "node:test";
import { mapLink, people, shownPart } from "../../../static/chat/js/components/details.js";

test("a place is a link to a map, and nothing else is", () => {
  assert.equal(mapLink({ latitude: -23.5, longitude: -46.6 }), "https://www.openstreetmap.org/?mlat=-23.5&mlon=-46.6#map=16/-23.5/-46.6");
  for (const place of [undefined, {}, { latitude: 91, longitude: 0 }, { latitude: "1", longitude: 2 }, { latitude: 1, longitude: NaN }]) {
    assert.equal(mapLink(place), null);
  }
});

test("only known parts are shown", () => {
  assert.equal(shownPart({ details: { poll: { name: "?" } } }), "poll");
  assert.equal(shownPart({ details: { type: "eventMessage", history: true } }), undefined);
  assert.equal(shownPart({}), undefined);
});

test("people are called by name, else by number", () => {
  assert.equal(people({ people: [{ name: "Ana" }, { name: "", phone: "5511990000002" }] }), "Ana, +5511990000002");
  assert.equal(people({}), "…");
});
