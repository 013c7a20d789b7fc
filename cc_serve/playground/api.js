// Calls of this server, with the key where there is one.

const KEY = "cc-serve-key";

/** The API key of this tab; sessionStorage forgets it when the tab is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** An error that the server answered, or the network's, which has status 0; `begun` tells one amid an answer. */
export class ApiError extends Error {
  constructor(status, message, { param = null, retryAfter = null, begun = false } = {}) {
    super(message);
    this.status = status;
    this.param = param;
    this.retryAfter = retryAfter;
    this.begun = begun;
  }

  /** From an error object in OpenAI's shape; `status` where it names none. */
  static from(body, status, retryAfter = null) {
    const error = body?.error ?? {};
    return new ApiError(Number(error.code) || status, error.message ?? "", { param: error.param, retryAfter });
  }
}

/** The address of a path of the API: the page may be served under a proxy's prefix. */
export const address = (path) => new URL(path, document.baseURI).href;

/**
 * Call the API.
 * @param {string} path such as "v1/route".
 * @param {object} [body] makes it a POST.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>} with a good status; else an ApiError is thrown, or an AbortError.
 */
export async function call(path, body, signal) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    const method = body ? "POST" : "GET";
    response = await fetch(address(path), { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, String(error.message));
  }
  if (response.ok) return response;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const answer = await response.json().catch(() => null);
  throw ApiError.from(answer, response.status, retryAfter);
}

export const getJson = async (path) => (await call(path)).json();
