// One question and its two answers, side by side.

import { announce, byId, create } from "./dom.js";
import { describe } from "./detector.js";
import { notice } from "./errors.js";
import { connectionName, directionOf, englishName } from "./languages.js";
import * as snippets from "./snippets.js";
import { layerStrip } from "./strip.js";

const TITLES = { connected: "Connected", plain: "Plain" };

/** What is seen of a turn. */
export class Turn {
  /**
   * @param {string} text of the question.
   * @param {object|null} sample it came from, with its `english` and the `answer` of its data set.
   * @param {number|null} layers how many the model has.
   */
  constructor(text, sample, layers) {
    this.sample = sample;
    this.badge = create("p.badge", { hidden: true });
    this.foreign = paragraphs(text, sample);
    this.cards = { connected: new Card("connected", layers), plain: new Card("plain", layers) };
    const question = create("div.question", {}, ...this.foreign, this.badge);
    if (sample) {
      question.append(create("p.quiet", { textContent: `In English: ${core(sample.english)}` }));
      const reference = create("bdi", { textContent: sample.answer });
      question.append(create("p.quiet", {}, "Reference answer (data set): ", reference));
      this.foreign.push(reference);
    }
    this.tools = create("div.row.end", { hidden: true });
    const sides = create("div.sides", {}, this.cards.connected.element, this.cards.plain.element);
    this.element = create("article.turn", { "aria-label": "Question and answers" }, question, sides, this.tools);
  }

  /** The language that was found, once it is. */
  showPlan(plan) {
    const { badge, sure, then } = describe(plan);
    this.badge.replaceChildren(create("bdi.pill", { textContent: badge }), ` ${sure} → ${then}`);
    this.badge.hidden = false;
    for (const element of this.foreign) speak(element, plan.language);
  }

  /** Let the reader copy the request. */
  offerCode(request) {
    const button = (label, text) =>
      create("button.ghost.small", { type: "button", textContent: label, onclick: (event) => copy(event.target, text) });
    this.tools.replaceChildren(
      button("Copy as curl", snippets.curl(request)),
      button("Copy as Python", snippets.python(request)),
    );
    this.tools.hidden = false;
  }
}

class Card {
  constructor(side, layers) {
    this.side = side;
    this.via = create("span.via");
    this.text = create("p.text", { dir: "auto" });
    this.facts = create("p.facts");
    this.strip = layerStrip(layers);
    this.problem = create("div");
    const title = create("h3", {}, TITLES[side], this.via);
    this.element = create(
      `section.answer.${side}`,
      { "aria-label": `${TITLES[side]} answer` },
      ...[title, this.strip.element, this.text, this.problem, this.facts],
    );
  }

  begin() {
    this.element.setAttribute("aria-busy", "true");
    this.problem.replaceChildren();
    this.text.textContent = this.facts.textContent = this.via.textContent = "";
    this.strip.show(null, this.side === "plain" ? "No connection" : "Layer: not chosen yet");
  }

  show(answer) {
    this.text.textContent = answer.text;
    this.text.dir = directionOf(answer.text);
    speak(this.text, answer.language);
    this.facts.replaceChildren(...facts(answer));
    if (this.side === "plain") return;
    this.via.textContent = answer.connection ? connectionName(answer.connection) : "";
    this.strip.show(answer.layer, layerWords(answer));
  }

  /** @param {string} how it ended: "" if well, else a remark such as "stopped". */
  end(answer, how) {
    this.element.removeAttribute("aria-busy");
    this.show(answer);
    if (this.side === "connected" && answer.layer === null && answer.connection !== "off") {
      this.strip.show(null, "Layer: told at the end only");
    }
    const ending = how || (answer.finish === "length" ? "cut at the longest answer" : answer.text ? "" : "an empty answer");
    if (ending) this.facts.append(create("span.ending", { textContent: ending }));
    const text = create("span", { textContent: answer.text });
    speak(text, answer.language);
    announce(`${TITLES[this.side]} answer ${how || "complete"}: `, text);
  }

  fail(error, actions) {
    this.element.removeAttribute("aria-busy");
    const shown = notice(error, actions);
    this.problem.replaceChildren(shown);
    this.strip.show(null, "");
    announce(`${TITLES[this.side]} answer failed. ${shown.innerText}`);
  }
}

/** Give a text the voice of its language; without one it is read as the page's English. */
function speak(element, language) {
  if (language && language !== "und") element.lang = language;
}

function layerWords({ connection, language, layer }) {
  if (connection === "off") return `${englishName(language)}: answered plainly`;
  return layer === null ? "Layer: told at the end" : `Layer ${layer} chosen`;
}

function facts({ firstToken, rate, tokens }) {
  const fact = (value, words) => create("span", {}, create("b", { textContent: value }), ` ${words}`);
  const found = [];
  if (firstToken !== null) found.push(fact(milliseconds(firstToken), "to first token"));
  if (rate !== null) found.push(fact(rate.toFixed(1), "tokens/s"));
  if (tokens) found.push(fact(tokens, tokens === 1 ? "token" : "tokens"));
  return found;
}

const milliseconds = (time) => (time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(2)} s`);

// Of a sample's question, the frame is smaller.
function paragraphs(text, sample) {
  const main = sample && core(text);
  const parts = sample ? text.split("\n\n") : [text];
  return parts.map((part) => create(sample && part !== main ? "p.quiet" : "p.text", { dir: directionOf(part), textContent: part }));
}

/** A question of the sample without the frame that MKQA's have, in paragraphs of their own. */
export const core = (text) => text.split("\n\n").at(text.includes("\n\n") ? 1 : 0);

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    byId("code").value = text; // no clipboard for pages over plain HTTP
    byId("code-dialog").showModal();
    byId("code").select();
    return;
  }
  const label = button.textContent;
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => (button.textContent = label), 1500);
}
