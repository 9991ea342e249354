// One REST call: JSON in and out, CSRF, a deadline, and RFC 9457 problem details turned into one kind of error.

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

async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

/**
 * The function `call(method, path, body)`, for paths below `base` or from the root; it throws ApiProblem.
 * @param options.fetch, options.cookies: the browser's, or a test's.
 * @param options.onServerTime called with the server's clock in ms, as answers tell it (one second's resolution).
 */
export function createCall({ fetch, cookies, base, deadlineMs, onServerTime = () => {} }) {
  return async function call(method, path, body) {
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
        signal: AbortSignal.timeout(deadlineMs),
      });
    } catch {
      throw new ApiProblem(0);
    }
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) onServerTime(date);
    if (!response.ok) throw new ApiProblem(response.status, await bodyOf(response));
    return response.status === 204 ? null : bodyOf(response);
  };
}
