// The REST calls of this page.
import { ApiProblem, cookieValue } from "../api.js";

const DEADLINE_MS = 15_000;
const BASE = "/api/chat/";

async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

/** @param options.fetch, options.cookies: the browser's, or a test's. Calls throw ApiProblem. */
export function createApi({ fetch, cookies }) {
  async function call(method, path, body) {
    const headers = { Accept: "application/json" };
    if (method !== "GET") headers["X-CSRFToken"] = cookieValue(cookies(), "csrftoken");
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      response = await fetch(BASE + path, { method, headers, body: body && JSON.stringify(body), credentials: "same-origin", signal });
    } catch {
      throw new ApiProblem(0);
    }
    if (!response.ok) throw new ApiProblem(response.status, await bodyOf(response));
    return bodyOf(response);
  }

  return {
    status: () => call("GET", "reactions/queues/status/"),
    instances: () => call("GET", "instances/?limit=200"),
    letters: (limit) => call("GET", `dead-letters/?limit=${limit}`),
    replay: (wanted) => call("POST", "dead-letters/replay/", wanted),
    discard: (id, failureGen) => call("POST", `dead-letters/${id}/discard/`, { failure_gen: failureGen }),
    releaseStale: (id, action) => call("POST", `instances/${id}/release-stale/`, { action }),
    connect: (id) => call("POST", `instances/${id}/connect/`, {}),
    qrCode: (id) => call("GET", `instances/${id}/qr-code/`),
    restart: (id) => call("POST", `instances/${id}/restart/`, {}),
  };
}
