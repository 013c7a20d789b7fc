// Sample questions, by language.

import { byId, create } from "./dom.js";
import { direction, englishName, ownName } from "./languages.js";
import { core } from "./turn.js";

const FIRST = "sw"; // shown where the browser's own language is English or has no questions

/**
 * Offer questions.
 * @param {Record<string, object[]>} questions by language, each with `text`, `english` and `answer`.
 * @param {string[]|null} served languages of the checkpoint; null is not known.
 * @param {(sample: object) => void} onPick
 */
export function offerExamples(questions, served, onPick) {
  const languages = Object.keys(questions).filter((code) => served === null || served.includes(code));
  const chosen = document.querySelector("#languages :checked")?.value;
  const own = navigator.language.split("-")[0];
  const first = [chosen, own === "en" ? null : own, FIRST].find((code) => languages.includes(code)) ?? languages[0];
  const choices = languages.map((code) => choice(code, code === first, () => show(questions[code], code, onPick)));
  byId("languages").replaceChildren(...choices);
  if (first) show(questions[first], first, onPick);
}

function choice(code, checked, onchange) {
  const own = ownName(code);
  const input = create("input", { type: "radio", name: "language", value: code, checked, onchange });
  const label = create("label.chip", { title: englishName(code) }, input, create("span", { lang: code, textContent: own }));
  if (own !== englishName(code)) label.append(create("span.unseen", { textContent: `, ${englishName(code)}` }));
  return label;
}

function show(samples, code, onPick) {
  const items = samples.map((sample) => {
    const text = create("span.text", { lang: code, dir: direction(code), textContent: core(sample.text) });
    const english = create("span.quiet", { textContent: core(sample.english) });
    const parts = code === "en" ? [text] : [text, english];
    return create("li", {}, create("button.card", { type: "button", onclick: () => onPick(sample) }, ...parts));
  });
  byId("questions").replaceChildren(...items);
}
