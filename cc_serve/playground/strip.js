// The model's layers as a strip of cells, the chosen one lit.

import { create } from "./dom.js";

/**
 * @param {number} count of layers; no cells where it is not known.
 * @returns {{element: HTMLElement, show: (layer: number|null, words: string) => void}}
 */
export function layerStrip(count) {
  const cells = Array.from({ length: count ?? 0 }, () => create("span.cell"));
  const bar = create("div.strip", { "aria-hidden": "true" }, ...cells);
  const words = create("p.layer");
  return {
    element: create("div.layers", {}, bar, words),
    show(layer, text) {
      cells.forEach((cell, number) => cell.classList.toggle("lit", number === layer));
      words.textContent = text;
    },
  };
}
