import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ApiProblem } from "../../../static/chat/js/call.js";
import { reasonIn, TEXTS, translator } from "../../../static/chat/js/i18n.js";
import { STATUSES } from "../../../static/chat/js/status.js";

const keys = (lang) => Object.keys(TEXTS[lang]).sort();
const places = (entry) => [...new Set(JSON.stringify(entry).match(/\{\w+\}/g) ?? [])].sort();
const shape = (entry) => (typeof entry === "string" ? "text" : Object.keys(entry).sort().join());

test("both languages have the same keys, of the same shape, with the same places to fill", () => {
  assert.deepEqual(keys("pt"), keys("en"));
  for (const key of keys("pt")) {
    assert.equal(shape(TEXTS.pt[key]), shape(TEXTS.en[key]), key);
    assert.deepEqual(places(TEXTS.pt[key]), places(TEXTS.en[key]), key);
  }
});

test("every key the code asks for exists, and every text is asked for", () => {
  const js = new URL("../../../static/chat/js/", import.meta.url);
  const files = readdirSync(js, { recursive: true }).filter((name) => name.endsWith(".js") && !/^(texts|ops)/.test(name)); // ops has texts and a test of its own
  const code = files.map((name) => readFileSync(new URL(name, js), "utf8")).join("\n");
  const asked = [...code.matchAll(/\bt\("(\w+)"|translate\(\)\("(\w+)"/g)].map((found) => found[1] ?? found[2]);
  for (const key of asked) assert.ok(key in TEXTS.en, `t("${key}")`);
  for (const key of keys("en")) {
    const used = code.includes(`"${key}"`) || /^(status|kind)_/.test(key);
    assert.ok(used, `nobody uses ${key}`);
  }
});

test("every status has words in both languages", () => {
  for (const status of Object.keys(STATUSES)) {
    for (const lang of ["pt", "en"]) assert.notEqual(translator(lang)(`status_${status}`), `status_${status}`);
  }
});

test("every problem has a sentence", () => {
  for (const status of [0, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503]) {
    assert.ok(new ApiProblem(status).textKey in TEXTS.en, String(status));
  }
});

test("numbers choose singular or plural, values are filled in, an unknown key shows itself", () => {
  assert.equal(translator("en")("newMessages", { n: 1 }), "1 new message");
  assert.equal(translator("pt")("newMessages", { n: 3 }), "3 mensagens novas");
  assert.equal(translator("en")("toastFailed", { name: "$& Ana" }), "A message to $& Ana was not sent");
  assert.equal(translator("en")("no_such_key"), "no_such_key");
});

test("the server's reason is told in the page's language", () => {
  assert.equal(reasonIn("pt", { en: "Offline", pt: "Desconectado" }), "Desconectado");
  assert.equal(reasonIn("pt", { en: "Offline" }), "Offline");
  assert.equal(reasonIn("pt", "plain"), "plain");
  assert.equal(reasonIn("pt", null), "");
});
