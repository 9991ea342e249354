// The inbox's REST calls.
import { ApiProblem, cookieValue, createCall } from "./call.js";

const DEADLINE_MS = 20_000;

/** A `next` link from the server, reduced to path and query: a proxy's wrong scheme or host must not matter. */
export function localPath(link) {
  const url = new URL(link, "http://local");
  return url.pathname + url.search;
}

/** @param options: as of `createCall`. */
export function createApi({ fetch, cookies, base = "/api/chat/", onServerTime }) {
  const call = createCall({ fetch, cookies, base, deadlineMs: DEADLINE_MS, onServerTime });

  /** {done, abort()}: XMLHttpRequest, since fetch does not tell how much of a body has left. */
  function upload({ file, conversation }, onProgress) {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("conversation", conversation);
    form.append("file", file, file.name || "file");
    const done = new Promise((resolve, reject) => {
      const body = () => request.response ?? {};
      request.onload = () => (request.status === 201 ? resolve(body()) : reject(new ApiProblem(request.status, body())));
      request.onerror = request.onabort = request.ontimeout = () => reject(new ApiProblem(0));
    });
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.open("POST", `${base}attachments/`);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", cookieValue(cookies(), "csrftoken"));
    request.send(form);
    return { done, abort: () => request.abort() };
  }

  const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return {
    conversations: (filters) => call("GET", `conversations/?${query(filters)}`),
    conversation: (id) => call("GET", `conversations/${id}/`),
    messages: (id) => call("GET", `conversations/${id}/messages/`),
    follow: (link) => call("GET", localPath(link)),
    instances: () => call("GET", "instances/"),
    start: (wanted) => call("POST", "conversations/start/", wanted),
    send: (message) => call("POST", "messages/", message),
    upload,
    attachment: (id) => call("GET", `attachments/${id}/`),
    downloadAgain: (id) => call("POST", `attachments/${id}/download-again/`, {}),
    react: (id, emoji) => (emoji ? call("POST", "reactions/add/", { message: id, emoji }) : call("POST", "reactions/remove/", { message: id })),
    markAsRead: (id) => call("POST", `conversations/${id}/mark_as_read/`, {}),
    close: (id) => call("POST", `conversations/${id}/close/`, {}),
    reopen: (id) => call("POST", `conversations/${id}/reopen/`, {}),
    cancel: (id) => call("POST", `messages/${id}/cancel/`, {}),
    sendAgain: (id, failureGen) => call("POST", `messages/${id}/retry-send/`, { failure_gen: failureGen }),
    release: (id, action) => call("POST", `messages/${id}/release/`, { action }),
  };
}
