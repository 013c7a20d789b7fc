// The second tab: what the checkpoint is, how well its connection fits, and which layers were chosen so far.

import { getJson } from "./api.js";
import { byId, create } from "./dom.js";
import { notice } from "./errors.js";
import { byName, connectionName, englishName, percent } from "./languages.js";

/** Show the checkpoint as it is now. */
export async function showCheckpoint(onKeyNeeded) {
  const view = byId("checkpoint");
  try {
    const [languages, layers] = await Promise.all([getJson("v1/languages"), getJson("v1/layers")]);
    languages.data.sort(byName);
    layers.data.sort(byName);
    fill(
      view,
      summary(languages, layers),
      section("Languages", languageTable(languages)),
      section("How well the matrices fit", fitMap(layers)),
      section("Layers chosen since the server started", chosenMap(layers), refreshButton(onKeyNeeded)),
    );
  } catch (error) {
    const again = { label: "Try again", act: () => showCheckpoint(onKeyNeeded) };
    fill(view, notice(error, error.status === 401 ? [{ label: "Enter a key", act: onKeyNeeded }, again] : [again]));
  }
}

/** Replace what a view shows; a button that was pressed in it gives its focus to the one that takes its place. */
function fill(view, ...content) {
  const pressed = document.activeElement.matches("#checkpoint button");
  view.replaceChildren(...content);
  if (pressed) view.querySelector("button").focus({ preventScroll: true });
}

const refreshButton = (onKeyNeeded) =>
  create("button.ghost", { type: "button", textContent: "Refresh", onclick: () => showCheckpoint(onKeyNeeded) });

const section = (title, content, ...tools) =>
  create("section.panel", {}, create("div.row", {}, create("h2", { textContent: title }), ...tools), content);

function summary({ connections, data, fit }, { layers }) {
  const tile = (value, words) => create("div.tile", {}, create("b", { textContent: value }), create("span", { textContent: words }));
  const tiles = [tile(layers, "layers"), tile(data.length, "languages"), tile(connections.length, connections.length === 1 ? "matrix" : "matrices")];
  if (fit) {
    const pairs = `${fit.pairs} ${fit.pairs === 1 ? "pair" : "pairs"}`;
    tiles.push(tile(percent(fit.transform.agreement), `same layer as English, of ${pairs}`));
    tiles.push(tile(fit.transform.cosine.toFixed(3), "cosine with English"));
  }
  return create("div.tiles", {}, ...tiles);
}

function languageTable({ data, fit }) {
  const head = ["Language", "Connection", "Held-out pairs", "Same layer as English", "Answer loss, plain", "Answer loss, connected"];
  const rows = data.map(({ language, connection, fit: own }) => [
    englishName(language),
    connectionName(connection),
    ...figures(own),
  ]);
  if (fit) rows.push(["All together", "", ...figures(fit)]);
  const table = create(
    "table",
    {},
    create("thead", {}, create("tr", {}, ...head.map((text) => create("th", { scope: "col", textContent: text })))),
    create("tbody", {}, ...rows.map(([name, ...cells]) => create("tr", {}, rowHead(name), ...cells.map((text) => create("td", { textContent: text }))))),
  );
  const note = fit
    ? "On pairs held out of the fit; the loss is in nats a token of the answer, and lower is better."
    : "The checkpoint came without the figures of its fit (cc_fit.json), which cc-train run writes.";
  return create("div", {}, scrolling("Languages", table), create("p.quiet", { textContent: note }));
}

function figures(fit) {
  if (!fit) return ["–", "–", "–", "–"];
  const { plain, transform } = fit.answer_loss;
  return [fit.pairs, percent(fit.transform.agreement), plain?.toFixed(2) ?? "–", transform?.toFixed(2) ?? "–"];
}

function fitMap({ layers, data }) {
  const rows = data.filter(({ cosine }) => cosine);
  if (!rows.length) return create("p.quiet", { textContent: "No figures by layer: they are told for languages that had pairs held out of the fit." });
  const values = rows.flatMap(({ cosine }) => cosine);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const share = (value) => (high > low ? (value - low) / (high - low) : 1);
  const body = rows.map(({ language, cosine }) => [
    englishName(language),
    cosine.map((value) => cell(share(value), value.toFixed(3))),
    (cosine.reduce((sum, value) => sum + value, 0) / cosine.length).toFixed(3),
  ]);
  return create(
    "div",
    {},
    create("p.quiet", { textContent: "Cosine of the transformed activations with the true English ones, by layer, on held-out pairs." }),
    heatMap("Fit by language and layer", layers, body, "Mean"),
    create("p.legend", {}, low.toFixed(2), create("span.scale", { "aria-hidden": "true" }), high.toFixed(2)),
  );
}

function chosenMap({ layers, data }) {
  const rows = data.map(({ language, chosen }) => ({ language, chosen, total: chosen.reduce((sum, count) => sum + count, 0) }));
  const seen = rows.filter(({ total }) => total);
  if (!seen.length) return create("p.quiet", { textContent: "None yet: ask something in a language other than English." });
  const body = seen.map(({ language, chosen, total }) => [
    englishName(language),
    chosen.map((count) => cell(count / Math.max(...chosen), `${count} of ${total}`)),
    String(total),
  ]);
  return create(
    "div",
    {},
    create("p.quiet", { textContent: "By the Decision Maker, for everybody's prompts; the stronger the colour, the more of the language's." }),
    heatMap("Chosen layers by language", layers, body, "Prompts"),
  );
}

function heatMap(label, layers, rows, last) {
  const columns = Array.from({ length: layers }, (_, layer) => create("th", { scope: "col", textContent: layer }));
  const head = create("tr", {}, create("th", { scope: "col", textContent: "Layer" }), ...columns, create("th", { scope: "col", textContent: last }));
  const body = rows.map(([name, cells, end]) => create("tr", {}, rowHead(name), ...cells, create("td", { textContent: end })));
  const table = create("table.heat", {}, create("thead", {}, head), create("tbody", {}, ...body));
  table.style.setProperty("--layers", layers);
  return scrolling(label, table);
}

function cell(share, words) {
  const shown = create("td.value", { title: words }, create("span.unseen", { textContent: words }));
  shown.style.setProperty("--share", share.toFixed(3));
  return shown;
}

const rowHead = (name) => create("th", { scope: "row", textContent: name });

// What scrolls has to be reached with the keyboard, and so needs a name.
const scrolling = (label, table) => create("div.scroll", { tabIndex: 0, role: "region", "aria-label": label }, table);
