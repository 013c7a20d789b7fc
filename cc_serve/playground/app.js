// The page: what there is to ask, the tabs, the key and the colours.

import { getJson, key } from "./api.js";
import { showCheckpoint } from "./checkpoint.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Detector } from "./detector.js";
import { byId } from "./dom.js";
import { notice } from "./errors.js";
import { offerExamples } from "./examples.js";

const THEME = "cc-serve-theme";
const TABS = ["ask", "checkpoint"];
const KEY_WANTED = "For servers that ask for one. It stays in this tab, and is forgotten when you close it.";
const KEY_REFUSED = "That key is not valid. Enter another, or ask whoever runs this server.";

const conversation = new Conversation({
  onBusy: (busy) => composer.busy(busy),
  onEdit: (text, sample) => composer.edit(text, sample),
  onKeyNeeded: askForKey,
});
const composer = new Composer(new Detector(), conversation);
const questions = getJson("playground/questions.json").catch(() => ({}));

setUpTheme();
setUpTabs();
setUpKey();
offerExamples(await questions, null, (sample) => composer.pick(sample));
await connect();

/** Learn what is served. Without an answer the page stays as it is, and says why. */
async function connect() {
  const problem = byId("start-problem");
  try {
    const [models, languages] = await Promise.all([getJson("v1/models"), getJson("v1/languages")]);
    conversation.model = models.data[0].id;
    byId("model").textContent = conversation.model;
    composer.offerConnections(languages);
    composer.offerStrengths(languages.strengths ?? [0, 2]);
    const served = languages.data.map(({ language }) => language);
    offerExamples(await questions, served, (sample) => composer.pick(sample));
    conversation.layers = (await getJson("v1/layers")).layers;
    problem.replaceChildren();
  } catch (error) {
    byId("model").textContent = "Not connected";
    const again = { label: "Try again", act: connect };
    problem.replaceChildren(notice(error, error.status === 401 ? [{ label: "Enter a key", act: askForKey }] : [again]));
    if (error.status === 401) askForKey();
  }
  composer.refresh();
}

/** Ask for a key, after the server asked for one or refused this tab's. */
function askForKey() {
  openKeyDialog(key.get() ? KEY_REFUSED : KEY_WANTED);
}

function openKeyDialog(reason) {
  byId("key-reason").textContent = reason;
  byId("key-value").value = key.get() ?? "";
  byId("key-dialog").returnValue = "cancel"; // what Escape leaves
  byId("key-dialog").showModal();
}

function setUpKey() {
  const dialog = byId("key-dialog");
  byId("key").addEventListener("click", () => openKeyDialog(KEY_WANTED));
  byId("key-value").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return; // which would press the form's first button
    event.preventDefault();
    dialog.close("save");
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "cancel") return;
    key.set(dialog.returnValue === "save" ? byId("key-value").value.trim() : "");
    byId("key-value").value = "";
    connect();
    if (!byId("checkpoint").hidden) showCheckpoint(askForKey);
  });
}

function setUpTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = localStorage.getItem(THEME);
  if (chosen) root.dataset.theme = chosen;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => (byId("theme").textContent = isDark() ? "Light" : "Dark");
  name();
  dark.addEventListener("change", name);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem(THEME, root.dataset.theme);
    name();
  });
}

function setUpTabs() {
  for (const name of TABS) {
    byId(`tab-${name}`).addEventListener("click", () => (location.hash = name));
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = TABS[1 - TABS.indexOf(name)];
      location.hash = other;
      byId(`tab-${other}`).focus();
    });
  }
  addEventListener("hashchange", showTab);
  showTab();
}

function showTab() {
  const current = TABS.find((name) => location.hash === `#${name}`) ?? TABS[0];
  for (const name of TABS) {
    const tab = byId(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === current));
    tab.tabIndex = name === current ? 0 : -1;
    byId(name).hidden = name !== current;
  }
  if (current === "checkpoint") showCheckpoint(askForKey);
}
