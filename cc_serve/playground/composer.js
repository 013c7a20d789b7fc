// Where the question is written: its language is told while it is typed.

import { describe } from "./detector.js";
import { byId, create } from "./dom.js";
import { explain } from "./errors.js";
import { byName, connectionName, englishName } from "./languages.js";

const PAUSE = 250; // ms without typing, before the server is asked for the language

export class Composer {
  #sample = null;
  #timer = null;
  #look = 0;
  #busy = false;

  /**
   * @param {Detector} detector
   * @param {Conversation} conversation
   */
  constructor(detector, conversation) {
    this.detector = detector;
    this.conversation = conversation;
    this.text = byId("text");
    this.text.addEventListener("input", () => this.#changed(PAUSE));
    this.text.addEventListener("keydown", (event) => this.#key(event));
    byId("connection").addEventListener("change", () => this.#changed(0));
    byId("strength").addEventListener("input", () => this.#showStrength());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    // The browser says what is wrong with a field only where the field can be seen.
    byId("composer").addEventListener("invalid", () => toggle("options", true), true);
    byId("stop").addEventListener("click", () => conversation.stop());
    byId("options-toggle").addEventListener("click", () => toggle("options"));
    byId("examples-toggle").addEventListener("click", () => toggle("examples"));
    byId("reset").addEventListener("click", () => this.#reset());
    this.#show("Type or pick a question");
  }

  /** Write a sample question into the field, ready to be asked. */
  pick(sample) {
    this.edit(sample.text, sample);
  }

  /** Put a question that was asked back into the field, with the sample that it is, if any. */
  edit(text, sample) {
    this.text.value = text;
    this.#sample = sample;
    this.#changed(0);
    this.text.focus();
  }

  /** What "cc_connection" may say here: the checkpoint's languages, and "global" where it is. */
  offerConnections({ connections, data }) {
    const others = data.filter(({ language }) => language !== "en").sort(byName);
    const option = (value, text) => create("option", { value, textContent: text });
    const languages = others.map(({ language, connection }) =>
      option(language, `as ${englishName(language)}${connection === language ? " (own matrix)" : ""}`),
    );
    const global = connections.includes("global") ? [option("global", connectionName("global"))] : [];
    byId("connection").replaceChildren(option("auto", "automatic"), ...global, ...languages);
  }

  /** What "cc_strength" may be here. */
  offerStrengths([lowest, highest]) {
    Object.assign(byId("strength"), { min: lowest, max: highest, disabled: lowest === highest });
    this.#showStrength();
  }

  busy(busy) {
    this.#busy = busy;
    const focused = document.activeElement;
    byId("send").hidden = busy;
    byId("stop").hidden = !busy;
    byId("reset").hidden = this.conversation.empty;
    byId("examples-toggle").hidden = this.conversation.empty;
    // The focus goes with the button's place, and the reader stays with the answer.
    if (focused === byId(busy ? "send" : "stop")) byId(busy ? "stop" : "send").focus({ preventScroll: true });
  }

  /** Look at the question again, now that the server may answer. */
  refresh() {
    this.#changed(0);
  }

  #key(event) {
    // While an input method composes a character, Enter is its own.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("composer").requestSubmit();
    }
  }

  #changed(pause) {
    if (this.#sample && this.text.value !== this.#sample.text) this.#sample = null;
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight + 2}px`;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#detect(), pause);
  }

  async #detect() {
    const look = ++this.#look;
    if (!this.text.value.trim()) return this.#show("Type or pick a question");
    let shown;
    try {
      const { badge, sure, then } = describe(await this.#plan());
      shown = [create("bdi.pill", { textContent: badge }), ` ${sure} → ${then}`];
    } catch (error) {
      const { title, said, advice } = explain(error);
      shown = [`${title}. ${advice || said}`];
    }
    return look === this.#look && this.#show(...shown);
  }

  #showStrength() {
    byId("strength-value").textContent = byId("strength").valueAsNumber;
  }

  #plan() {
    return this.detector.look(this.conversation.messages(this.text.value), byId("connection").value);
  }

  #show(...parts) {
    byId("detected").replaceChildren(...parts);
  }

  #ask() {
    if (this.#busy || !this.text.value.trim()) return;
    const settings = {
      connection: byId("connection").value,
      strength: byId("strength").valueAsNumber,
      system: byId("system").value.trim(),
      temperature: byId("temperature").valueAsNumber,
      maxTokens: byId("max-tokens").valueAsNumber,
    };
    const plan = this.#plan();
    toggle("examples", false);
    this.conversation.ask(this.text.value, settings, this.#sample, plan);
    this.text.value = "";
    this.#changed(0);
  }

  #reset() {
    this.conversation.reset();
    toggle("examples", true);
    this.busy(false);
    this.text.focus();
  }
}

function toggle(id, open = byId(id).hidden) {
  byId(id).hidden = !open;
  byId(`${id}-toggle`).setAttribute("aria-expanded", String(open));
}
