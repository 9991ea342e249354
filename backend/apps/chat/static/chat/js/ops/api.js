// The REST calls of this page.
import { createCall } from "../call.js";

const DEADLINE_MS = 15_000;

/** @param options.fetch, options.cookies: the browser's, or a test's. Calls throw ApiProblem. */
export function createApi({ fetch, cookies }) {
  const call = createCall({ fetch, cookies, base: "/api/chat/", deadlineMs: DEADLINE_MS });

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
