// Files on their way to the server: each is uploaded as soon as it is chosen, and sent by its id once it is there.
import { randomId } from "./ids.js";

const LARGEST_PREVIEW = 20 * 1024 * 1024;

/** What a file will be shown as before the server says what it is. */
export function roughKind(type) {
  const [family] = (type ?? "").split("/");
  return ["image", "video", "audio"].includes(family) ? family : "document";
}

/**
 * @param options.upload({file, conversation}, onProgress) answers {done: a promise of the attachment, abort()}.
 * @param options.largest bytes; a file above it is refused here, since a server that refuses an upload half-way is not heard.
 * @param options.onChange(items) after every change; items: {id, conversation, name, size, kind, state, progress,
 *   preview, attachment?, problem?} with state "uploading" | "ready" | "refused".
 */
export function createUploads({ upload, onChange, largest = Infinity, urls = URL }) {
  let items = [];
  const kept = new Map(); // id -> {file, abort}

  function changed(next) {
    items = next;
    onChange(items);
  }

  const patch = (id, values) => changed(items.map((item) => (item.id === id ? { ...item, ...values } : item)));

  async function begin(id) {
    const { conversation } = items.find((item) => item.id === id);
    const { file } = kept.get(id);
    if (file.size > largest) return patch(id, { state: "refused", problem: { textKey: "fileTooLarge", retryable: false } });
    const { done, abort } = upload({ file, conversation }, (progress) => kept.has(id) && patch(id, { progress }));
    kept.set(id, { file, abort });
    try {
      patch(id, { state: "ready", progress: 1, attachment: await done });
    } catch (problem) {
      if (!kept.has(id)) return null;
      patch(id, { state: "refused", problem: { textKey: problem.textKey, detail: problem.detail, retryable: problem.retryable } });
    }
    return null;
  }

  function forget(gone) {
    for (const { id, preview } of gone) {
      kept.get(id)?.abort?.();
      kept.delete(id);
      if (preview) urls.revokeObjectURL(preview);
    }
    const ids = new Set(gone.map(({ id }) => id));
    changed(items.filter((item) => !ids.has(item.id)));
  }

  return {
    /** Takes files in and starts uploading them. */
    add(conversation, files) {
      const added = [...files].map((file) => {
        const kind = roughKind(file.type);
        const preview = kind === "image" && file.size <= LARGEST_PREVIEW ? urls.createObjectURL(file) : "";
        const item = { id: randomId(), conversation, name: file.name, size: file.size, kind, preview, state: "uploading", progress: 0 };
        kept.set(item.id, { file });
        return item;
      });
      changed([...items, ...added]);
      added.forEach(({ id }) => begin(id));
    },
    retry(id) {
      patch(id, { state: "uploading", progress: 0, problem: undefined });
      begin(id);
    },
    remove: (id) => forget(items.filter((item) => item.id === id)),
    /** The attachments of a conversation, which go with a message now; they are no uploads any more. */
    take(conversation) {
      const taken = items.filter((item) => item.conversation === conversation);
      forget(taken);
      return taken.map((item) => item.attachment);
    },
  };
}
