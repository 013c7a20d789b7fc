// One answer, streamed: what it says, how fast it comes, and which layer the connection took it from.

import { ApiError, call } from "./api.js";
import { events } from "./sse.js";

/**
 * Ask for a streamed answer.
 * @param {object} request body of a chat completion.
 * @param {AbortSignal} signal stops it.
 * @param {(answer: Answer) => void} onChange called whenever there is more.
 * @returns {Promise<Answer>} the complete answer; an ApiError or an AbortError is thrown otherwise.
 *
 * An Answer has `text`, `firstToken` (ms from asking to the first text), `rate` (tokens a second after the first),
 * `tokens`, `finish` ("stop", "length"), `language` and `connection` (what the server's headers say), and `layer`
 * (that the Decision Maker chose; null where there is no connection).
 */
export async function stream(request, signal, onChange) {
  const answer = { text: "", tokens: 0, firstToken: null, rate: null, finish: null, layer: null };
  const asked = performance.now();
  let first = null;
  let last = null;
  const response = await call("v1/chat/completions", withReports(request), signal);
  answer.language = response.headers.get("X-CC-Language");
  answer.connection = response.headers.get("X-CC-Connection");
  onChange(answer);
  for await (const { name, data } of readable(response)) {
    if (data === "[DONE]") return answer;
    const event = JSON.parse(data);
    if (name === "error" || event.error) throw ApiError.from(event, 500);
    const choice = event.choices?.[0];
    if (choice?.delta?.content) {
      last = performance.now();
      first ??= last;
      answer.firstToken = first - asked;
      answer.text += choice.delta.content;
      answer.tokens += 1; // until the server says how many; a piece is nearly always one
    }
    answer.finish = choice?.finish_reason ?? answer.finish;
    answer.tokens = event.usage?.completion_tokens ?? answer.tokens;
    answer.layer = event.cc_connection?.prompts?.[0]?.layer ?? answer.layer;
    if (last > first) answer.rate = ((answer.tokens - 1) * 1000) / (last - first);
    onChange(answer);
  }
  throw new ApiError(0, "the answer ended early", { begun: true });
}

const withReports = (request) => ({ ...request, stream: true, stream_options: { include_usage: true }, cc_details: true });

async function* readable(response) {
  try {
    yield* events(response);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, String(error.message), { begun: true }); // a connection that broke
  }
}
