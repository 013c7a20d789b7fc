// Names and directions of languages, from the browser's own tables.

const english = new Intl.DisplayNames(["en"], { type: "language" });
// What some browsers' tables lack.
const OWN_NAMES = { eu: "Euskara", yo: "Yorùbá" };
// Their scripts run from the right; Intl.Locale knows it too, but not in every browser.
const FROM_THE_RIGHT = new Set(["ar", "ur", "fa", "he"]);

/** "Swahili" */
export function englishName(code) {
  return code === "und" ? "Undetermined" : named(english, code);
}

/** "Kiswahili" */
export function ownName(code) {
  if (OWN_NAMES[code]) return OWN_NAMES[code];
  const name = named(new Intl.DisplayNames([code], { type: "language" }), code);
  return name.charAt(0).toLocaleUpperCase(code) + name.slice(1);
}

/** By the name that is shown. */
export const byName = (one, other) => englishName(one.language).localeCompare(englishName(other.language), "en");

export const direction = (code) => (FROM_THE_RIGHT.has(code) ? "rtl" : "ltr");

/** The `dir` of a text: from the right if most of its letters are, since an Arabic text may well begin with a Latin name. */
export function directionOf(text) {
  const letters = text.match(/\p{L}/gu) ?? [];
  const fromTheRight = letters.filter((letter) => /[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(letter));
  return 2 * fromTheRight.length > letters.length ? "rtl" : "auto";
}

/** What a connection is called: "global matrix", "German matrix". */
export function connectionName(connection) {
  if (connection === "off") return "no connection";
  return connection === "global" ? "global matrix" : `${englishName(connection)} matrix`;
}

export const percent = (share) => `${Math.round(share * 100)}\u202f%`;

function named(names, code) {
  try {
    return names.of(code);
  } catch {
    return code;
  }
}
