// The conversation: each side goes on from its own answers.

import { stream } from "./answer.js";
import { byId } from "./dom.js";
import { Turn } from "./turn.js";

const SIDES = ["connected", "plain"];

export class Conversation {
  #histories = { connected: [], plain: [] };
  #running = new Set();

  /**
   * @param {object} hooks `onBusy(busy)` when answers begin and are over; `onEdit(text, sample)` and `onKeyNeeded()` when the
   *   reader asks to change a question or to enter a key.
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.model = null;
    this.layers = null;
  }

  /** The messages that a question would be asked with, on the connected side. */
  messages(text, system = "", side = "connected") {
    const before = system ? [{ role: "system", content: system }] : [];
    return [...before, ...this.#histories[side], { role: "user", content: text }];
  }

  get empty() {
    return byId("turns").childElementCount === 0;
  }

  stop() {
    for (const running of this.#running) running.abort();
  }

  reset() {
    this.stop();
    this.#histories = { connected: [], plain: [] };
    byId("turns").replaceChildren();
  }

  /**
   * Ask both sides.
   * @param {string} text
   * @param {object} settings `connection`, `strength`, `system`, `temperature`, `maxTokens`.
   * @param {object|null} sample that the question is.
   * @param {Promise<object>} plan from the detector.
   */
  ask(text, settings, sample, plan) {
    for (const old of document.querySelectorAll(".turn .notice button")) old.remove(); // answers are asked for in order
    const turn = new Turn(text, sample, this.layers);
    byId("turns").append(turn.element);
    plan.then((found) => turn.showPlan(found)).catch(() => {}); // the answer's own error says it better
    turn.offerCode(this.#request(text, settings, "connected"));
    turn.element.scrollIntoView({ block: "start" });
    return this.#answer(turn, text, settings, SIDES);
  }

  #request(text, { connection, strength, system, temperature, maxTokens }, side) {
    return {
      model: this.model,
      messages: this.messages(text, system, side),
      temperature,
      max_tokens: maxTokens,
      cc_connection: side === "plain" ? "off" : connection,
      ...(side === "plain" || strength === 1 ? {} : { cc_strength: strength }),
    };
  }

  async #answer(turn, text, settings, sides) {
    const running = new AbortController();
    this.#running.add(running);
    this.hooks.onBusy(true);
    await Promise.all(sides.map((side) => this.#answerOn(side, turn, text, settings, running.signal)));
    this.#running.delete(running);
    this.hooks.onBusy(this.#running.size > 0);
  }

  async #answerOn(side, turn, text, settings, signal) {
    const card = turn.cards[side];
    const histories = this.#histories; // a new conversation has new ones
    let answer = { text: "", tokens: 0, firstToken: null, rate: null, layer: null };
    card.begin();
    try {
      answer = await stream(this.#request(text, settings, side), signal, (grown) => card.show((answer = grown)));
      card.end(answer, "");
    } catch (error) {
      if (error.name !== "AbortError") {
        const again = { label: "Try again", act: () => this.#answer(turn, text, settings, [side]) };
        const enter = { label: "Enter a key", act: this.hooks.onKeyNeeded };
        const edit = { label: "Edit the question", act: () => this.hooks.onEdit(text, turn.sample) };
        const remedies = { 400: [edit], 401: [enter, again], 403: [], 404: [], 413: [edit], 422: [edit] };
        card.fail(error, remedies[error.status] ?? [again]);
        return;
      }
      card.end(answer, "stopped");
      if (!answer.text) return;
    }
    histories[side].push({ role: "user", content: text }, { role: "assistant", content: answer.text });
  }
}
