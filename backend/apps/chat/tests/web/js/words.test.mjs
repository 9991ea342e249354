import assert from "node:assert/strict";
import { test } from "node:test";
import { createApi, localPath } from "../../../static/chat/js/api.js";
import { ApiProblem, cookieValue } from "../../../static/chat/js/call.js";
import { bucketOf, countdown, dayHeading, duration, fileSize, initials, lengthOf, nameOf, phoneNumber, previewLine, quoteLine, shortWhen } from "../../../static/chat/js/format.js";
import { translator } from "../../../static/chat/js/i18n.js";
import { splitLinks } from "../../../static/chat/js/links.js";

const t = translator("en");
const links = (text) => splitLinks(text).filter((part) => part.href).map((part) => [part.text, part.href]);

test("addresses become links, without the sentence's punctuation", () => {
  assert.deepEqual(links("see https://a.example/x?y=1#z."), [["https://a.example/x?y=1#z", "https://a.example/x?y=1#z"]]);
  assert.deepEqual(links("(www.a.example)"), [["www.a.example", "https://www.a.example/"]]);
  assert.deepEqual(links("https://a.example/wiki/X_(y)!"), [["https://a.example/wiki/X_(y)", "https://a.example/wiki/X_(y)"]]);
});

test("nothing else becomes a link", () => {
  for (const text of ["javascript:alert(1)", "data:text/html,x", "https://", "http:///", "a.example", "xhttps://a", "vbscript:x", "file:///etc/passwd"]) {
    assert.deepEqual(links(text), [], text);
  }
});

test("the parts joined are the text, whatever it is", () => {
  for (const text of ["", "plain", "a https://b.example, c www.d.example/<e>", "https://x.example\nhttps://y.example 🎉", "\u202ehttps://z.example"]) {
    assert.equal(splitLinks(text).map((part) => part.text).join(""), text);
  }
});

test("a long text without links is split at once", () => {
  const began = Date.now();
  splitLinks("w".repeat(65_536) + "www.".repeat(5_000) + ")".repeat(20_000));
  assert.ok(Date.now() - began < 2_000);
});

test("numbers are written as people do", () => {
  assert.equal(phoneNumber("5511912345678"), "+55 11 91234-5678");
  assert.equal(phoneNumber("551132345678"), "+55 11 3234-5678");
  assert.equal(phoneNumber("14155550100"), "+14155550100");
  assert.equal(phoneNumber(""), "");
  assert.equal(phoneNumber(undefined), "");
});

test("a conversation always has a name", () => {
  assert.equal(nameOf({ contact: { name: "Ana", phone: "1" } }, t), "Ana");
  assert.equal(nameOf({ contact: { name: "", phone: "14155550100" } }, t), "+14155550100");
  assert.equal(nameOf({ conversation_type: "group" }, t), "Group");
  assert.equal(nameOf(undefined, t), "Unknown contact");
});

test("initials come from letters only, a contact keeps its colour", () => {
  assert.deepEqual(["Ana Maria Braga", "ana", "+55 11 9", "Élio 🎉", ""].map(initials), ["AB", "A", "", "É", ""]);
  assert.equal(bucketOf("same", 8), bucketOf("same", 8));
  assert.ok(bucketOf(undefined, 8) < 8);
});

test("length counts what the server counts", () => {
  assert.deepEqual(["", "abc", "é", "🎉", "👩‍👩‍👧", "\ud83c"].map(lengthOf), [0, 3, 1, 1, 5, 1]);
});

test("how long until the next try, in its largest unit", () => {
  assert.deepEqual([0, 11_001, 90_000, 150_000, 7_200_000].map((ms) => countdown(ms, t)), ["1 s", "12 s", "90 s", "3 min", "2 h"]);
});

test("days are named from here", () => {
  const now = new Date(2026, 10, 21, 0, 5);
  const ago = (days, hour = 12) => new Date(2026, 10, 21 - days, hour).toISOString();
  assert.equal(dayHeading(ago(0, 0), now, "en", t), "Today");
  assert.equal(dayHeading(ago(1, 23), now, "en", t), "Yesterday");
  assert.equal(dayHeading(ago(3), now, "en", t), "Wednesday");
  assert.equal(dayHeading(ago(30), now, "en", t), "October 22");
  assert.equal(dayHeading(ago(400), now, "en", t), "October 17, 2025");
  assert.equal(shortWhen(ago(1), now, "en", t), "Yesterday");
  assert.equal(shortWhen(null, now, "en", t), "");
});

test("cookies and next links are read with care", () => {
  assert.equal(cookieValue("a=1; csrftoken=x%3D; b=2", "csrftoken"), "x=");
  assert.equal(cookieValue("", "csrftoken"), "");
  assert.equal(localPath("https://elsewhere.example/api/chat/x/?cursor=a%3D"), "/api/chat/x/?cursor=a%3D");
  assert.equal(localPath("/api/chat/x/"), "/api/chat/x/");
});

function answering(response) {
  const calls = [];
  const fetch = async (url, options) => {
    calls.push({ url, ...options });
    if (response instanceof Error) throw response;
    return response;
  };
  return { calls, api: createApi({ fetch, cookies: () => "csrftoken=tok" }) };
}

test("a change carries the CSRF token and JSON, a read neither", async () => {
  const { calls, api } = answering(Response.json({ id: 1 }));
  await api.release("m", "send");
  assert.equal(calls[0].url, "/api/chat/messages/m/release/");
  assert.equal(calls[0].headers["X-CSRFToken"], "tok");
  assert.equal(calls[0].body, '{"action":"send"}');
  const other = answering(Response.json({ results: [] }));
  await other.api.conversations({ status: "open", search: "" });
  assert.equal(other.calls[0].url, "/api/chat/conversations/?status=open");
  assert.equal(other.calls[0].headers["X-CSRFToken"], undefined);
});

test("whatever goes wrong is one kind of error, that knows whether trying again may help", async () => {
  const cases = [
    [new TypeError("network"), 0, true],
    [Response.json({ detail: "no", code: "invalid_message" }, { status: 400 }), 400, false],
    [new Response("<html>", { status: 502 }), 502, true],
    [Response.json({}, { status: 429 }), 429, true],
    [Response.json({}, { status: 409 }), 409, false],
  ];
  for (const [response, status, retryable] of cases) {
    await assert.rejects(answering(response).api.close("c"), (problem) => {
      assert.ok(problem instanceof ApiProblem);
      assert.deepEqual([problem.status, problem.retryable], [status, retryable]);
      return true;
    });
  }
});

test("lengths and sizes read as people say them", () => {
  assert.deepEqual([0, 5_400, 65_000, 3_723_000].map(duration), ["0:00", "0:05", "1:05", "1:02:03"]);
  assert.deepEqual([0, 999, 1_000, 45_000, 3_450_000, 104_857_600].map((n) => fileSize(n, "en")), ["1 kB", "1 kB", "1 kB", "45 kB", "3.5 MB", "105 MB"]);
  assert.equal(fileSize(3_450_000, "pt-BR"), "3,5 MB");
});

test("a file without words is called by its kind, in lists and quotes", () => {
  assert.deepEqual(["[image]", "[sic]", "a [image]", ""].map((text) => previewLine(text, t)), ["Photo", "[sic]", "a [image]", ""]);
  assert.equal(quoteLine({ kind: "image", content: "[image]" }, t), "Photo");
  assert.equal(quoteLine({ kind: "document", content: "", attachments: [{ file_name: "a.pdf" }] }, t), "a.pdf");
  assert.equal(quoteLine({ kind: "image", content: "look" }, t), "look");
});
