// Which language a question is in, and which connection it would get: POST /v1/route.

import { call } from "./api.js";
import { connectionName, englishName, ownName, percent } from "./languages.js";

/** Why a question is answered plainly. Nothing is added where that is plain to see: you chose it, or no language was found. */
const REASONS = {
  policy: "the server's configuration says so",
  "not-trained": "the connection was not trained for this language",
  "no-matrix": "no Transform Matrix serves this language",
  "measured-harm": "the connection was measured to harm",
  holdout: "held out",
};

/** Asks once for each question, and not again before a server that had enough of it says so. */
export class Detector {
  #key = null;
  #plan = null;
  #refused = null;
  #restUntil = 0;

  /** @returns {Promise<object>} the plan of /v1/route; rejects with an ApiError. */
  look(messages, connection) {
    const request = { messages, cc_connection: connection };
    const key = JSON.stringify(request);
    if (key === this.#key) return this.#plan;
    if (performance.now() < this.#restUntil) return Promise.reject(this.#refused);
    this.#key = key;
    this.#plan = call("v1/route", request).then((response) => response.json());
    this.#plan.catch((error) => {
      if (this.#key === key) this.#key = null;
      this.#refused = error;
      this.#restUntil = performance.now() + 1000 * (error.retryAfter ?? 0);
    });
    return this.#plan;
  }
}

/**
 * A plan in words.
 * @returns {{badge: string, sure: string, then: string}}
 */
export function describe(plan) {
  const { language, confidence, connection, obstacle, plain, rule } = plan;
  const badge = language ? named(language) : "Undetermined";
  const said = rule === "override" && confidence === 1;
  const sure = said ? "as you say" : percent(confidence);
  if (connection !== "off") return { badge, sure, then: connectionName(connection) };
  if (plain === "english") return { badge, sure, then: "English goes plain" };
  const why = obstacle ?? REASONS[plain];
  return { badge, sure, then: why ? `answered plainly: ${why}` : "answered plainly" };
}

function named(language) {
  const own = ownName(language);
  const english = englishName(language);
  return own === english ? own : `${own} · ${english}`;
}
