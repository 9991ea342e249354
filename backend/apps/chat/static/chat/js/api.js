// REST calls: JSON in and out, CSRF, a deadline, and RFC 9457 problem details turned into one kind of error.

const DEADLINE_MS = 20_000;

/**
 * A call that did not succeed. `status` 0: no answer came, so the server may or may not have acted.
 * `retryable`: the same call later may work (no answer, 408, 425, 429, 5xx).
 */
export class ApiProblem extends Error {
  constructor(status, body = {}) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.name = "ApiProblem";
    this.status = status;
    this.code = body.code ?? "";
    this.detail = detailOf(body);
    this.retryable = status === 0 || status >= 500 || [408, 425, 429].includes(status);
    this.signedOut = status === 401;
  }

  /** The key of a sentence in texts/*.js that tells a person what happened. */
  get textKey() {
    const keys = { 0: "errorNetwork", 401: "errorSignedOut", 403: "errorForbidden", 404: "errorNotFound", 409: "errorConflict", 429: "errorTooMany" };
    if (keys[this.status]) return keys[this.status];
    return this.status >= 500 ? "errorServer" : "errorInvalid";
  }
}

function detailOf(body) {
  const first = Array.isArray(body.errors) ? body.errors[0] : null;
  return body.detail || first?.detail || first?.message || body.title || "";
}

/** The value of a cookie; the CSRF token changes at login, so it is read for each call. */
export function cookieValue(cookies, name) {
  const pair = cookies.split("; ").find((part) => part.startsWith(`${name}=`));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}

/** A `next` link from the server, reduced to path and query: a proxy's wrong scheme or host must not matter. */
export function localPath(link) {
  const url = new URL(link, "http://local");
  return url.pathname + url.search;
}

async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

/**
 * @param options.fetch, options.cookies: the browser's, or a test's.
 * @param options.onServerTime called with the server's clock in ms, as answers tell it (one second's resolution).
 */
export function createApi({ fetch, cookies, base = "/api/chat/", onServerTime = () => {} }) {
  async function call(method, path, body) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (method !== "GET") headers["X-CSRFToken"] = cookieValue(cookies(), "csrftoken");
    let response;
    try {
      response = await fetch(path.startsWith("/") ? path : base + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
    } catch {
      throw new ApiProblem(0);
    }
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) onServerTime(date);
    if (!response.ok) throw new ApiProblem(response.status, await bodyOf(response));
    return response.status === 204 ? null : bodyOf(response);
  }

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
