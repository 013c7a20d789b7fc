// What went wrong, in words, and what to do about it.

import { key } from "./api.js";
import { create } from "./dom.js";

/** @returns {{title: string, advice: string}} */
export function explain(error) {
  const wait = error.retryAfter ? `Try again in ${error.retryAfter} s.` : "Try again in a moment.";
  const said = error.message ? `The server says: ${error.message}.`.replace("..", ".") : "";
  switch (error.status) {
    case 0:
      return { title: "The server cannot be reached", advice: "Check that it is running and that you are online, then try again." };
    case 400:
    case 422:
      return {
        title: error.param ? `The server cannot use “${error.param}”` : "The server cannot use this request",
        advice: `${said} Change it and ask again.`,
      };
    case 401:
      return key.get()
        ? { title: "The API key is not valid", advice: "Enter another one, or ask whoever runs this server for it." }
        : { title: "This server needs an API key", advice: "Enter yours to go on." };
    case 403:
      return { title: "This key may not do that", advice: said };
    case 404:
      return { title: "The server does not have this", advice: `${said} Is this page of another version? Load it again.` };
    case 408:
    case 504:
      return { title: "That took too long", advice: `${said} Ask for a shorter answer, or try again later.` };
    case 413:
      return { title: "The question is too long", advice: `${said} Shorten it, or start a new conversation.` };
    case 429:
      return { title: "Too many requests with this key", advice: `${said} ${error.message.includes("try again") ? "" : wait}` };
    case 503:
      return { title: "The server is busy or stopping", advice: `${said} ${wait}` };
    default:
      return { title: "The server failed", advice: `${said} Try again; its log says more.` };
  }
}

/**
 * A notice of an error.
 * @param {Error} error
 * @param {{label: string, act: () => void}[]} actions what the reader can do about it, as buttons.
 */
export function notice(error, actions = []) {
  const { title, advice } = explain(error);
  const buttons = actions.map(({ label, act }) => create("button.ghost", { type: "button", textContent: label, onclick: act }));
  return create("div.notice.error", {}, create("strong", { textContent: title }), create("p", { textContent: advice.trim() }), ...buttons);
}
