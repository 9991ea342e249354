import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiProblem } from "../../../static/chat/js/call.js";
import { grouped } from "../../../static/chat/js/components/reactions.js";
import { createUploads, roughKind } from "../../../static/chat/js/files.js";

const turn = () => new Promise((resolve) => setTimeout(resolve));

/** Uploads that end when told: `calls[n].resolve(attachment)`, `.reject(problem)`, `.progress(0.5)`. */
function setUp() {
  const seen = { calls: [], items: [], revoked: [] };
  const upload = (wanted, progress) => {
    const call = { ...wanted, progress, aborted: false };
    const done = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    seen.calls.push(call);
    return { done, abort: () => (call.aborted = true) };
  };
  const urls = { createObjectURL: (file) => `blob:${file.name}`, revokeObjectURL: (url) => seen.revoked.push(url) };
  const uploads = createUploads({ upload, urls, largest: 1000, onChange: (items) => (seen.items = items) });
  return { seen, uploads };
}

const photo = { name: "a.png", type: "image/png", size: 10 };
const paper = { name: "b.pdf", type: "application/pdf", size: 20 };

test("files are uploaded side by side and taken in the order they were chosen", async () => {
  const { seen, uploads } = setUp();
  uploads.add("c", [photo, paper]);
  uploads.add("other", [paper]);
  assert.deepEqual(seen.items.map(({ kind, state, preview }) => [kind, state, preview]), [
    ["image", "uploading", "blob:a.png"], ["document", "uploading", ""], ["document", "uploading", ""],
  ]);
  seen.calls[1].progress(0.5);
  assert.equal(seen.items[1].progress, 0.5);
  seen.calls[1].resolve({ id: "B" });
  seen.calls[0].resolve({ id: "A" });
  await turn();
  assert.deepEqual(uploads.take("c"), [{ id: "A" }, { id: "B" }]);
  assert.deepEqual([seen.items.length, seen.revoked], [1, ["blob:a.png"]]);
});

test("one that is refused says why, and may be tried again when that can help", async () => {
  const { seen, uploads } = setUp();
  uploads.add("c", [photo]);
  seen.calls[0].reject(new ApiProblem(503));
  await turn();
  assert.deepEqual([seen.items[0].state, seen.items[0].problem.retryable], ["refused", true]);
  uploads.retry(seen.items[0].id);
  assert.equal(seen.calls.length, 2);
  seen.calls[1].reject(new ApiProblem(400, { detail: "no" }));
  await turn();
  assert.deepEqual([seen.items[0].problem.retryable, seen.items[0].problem.detail], [false, "no"]);
});

test("one that is too large is refused before it leaves", () => {
  const { seen, uploads } = setUp();
  uploads.add("c", [{ ...paper, size: 1001 }]);
  assert.deepEqual([seen.calls.length, seen.items[0].state, seen.items[0].problem.textKey], [0, "refused", "fileTooLarge"]);
});

test("one that is removed is stopped, and its end changes nothing", async () => {
  const { seen, uploads } = setUp();
  uploads.add("c", [photo, paper]);
  uploads.remove(seen.items[0].id);
  assert.equal(seen.calls[0].aborted, true);
  seen.calls[0].progress(0.9);
  seen.calls[0].reject(new ApiProblem(0));
  await turn();
  assert.deepEqual(seen.items.map(({ name }) => name), ["b.pdf"]);
});

test("a type nobody knows is a document", () => {
  assert.deepEqual(["image/png", "video/mp4", "text/html", "", undefined].map(roughKind), ["image", "video", "document", "document", "document"]);
});

test("the same emoji of several people is one chip", () => {
  const given = [{ emoji: "A", from_me: false }, { emoji: "B", from_me: true, user: { name: "Ana" } }, { emoji: "A", from_me: true }];
  assert.deepEqual(grouped(given), [{ emoji: "A", n: 2, mine: true, names: [] }, { emoji: "B", n: 1, mine: true, names: ["Ana"] }]);
});
