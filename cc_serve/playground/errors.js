// What went wrong, in words, and what to do about it.

import { key } from "./api.js";
import { create } from "./dom.js";

/** @returns {{title: string, said: string, advice: string}} `said` is the server's own word, where it adds something. */
export function explain(error) {
  const said = error.status && error.status !== 401 && error.message ? `The server says: ${error.message}.`.replace("..", ".") : "";
  return { said, ...explained(error) };
}

/** The title and the advice, which is "" where the server's own word says what to do. */
function explained({ status, message, param, retryAfter, begun }) {
  const wait = retryAfter ? `Try again in ${retryAfter} s.` : "Try again in a moment.";
  switch (status) {
    case 0:
      return begun
        ? { title: "The answer broke off", advice: "Try again; if it happens again, look at the server's log." }
        : { title: "The server cannot be reached", advice: "Check that it is running and that you are online, then try again." };
    case 400:
    case 422:
      return {
        title: param ? `The server cannot use “${param}”` : "The server cannot use this request",
        advice: "Change it and ask again.",
      };
    case 401:
      return key.get()
        ? { title: "The API key is not valid", advice: "Enter another one, or ask whoever runs this server for it." }
        : { title: "This server needs an API key", advice: "Enter yours to go on." };
    case 403:
      return { title: "This key may not do that", advice: "Ask whoever runs this server for a key that may." };
    case 404:
      return { title: "The server does not have this", advice: "Is this page of another version? Load it again." };
    case 408:
    case 504:
      return { title: "That took too long", advice: "Ask for a shorter answer, or try again later." };
    case 413:
      return { title: "The question is too long", advice: "Shorten it, or start a new conversation." };
    case 429:
      return { title: "Too many requests with this key", advice: message.includes("try again") ? "" : wait };
    case 503:
      return { title: "The server is busy or stopping", advice: wait };
    default:
      return { title: "The server failed", advice: "Try again; its log says more." };
  }
}

/**
 * A notice of an error.
 * @param {Error} error
 * @param {{label: string, act: () => void}[]} actions what the reader can do about it, as buttons.
 */
export function notice(error, actions = []) {
  const { title, said, advice } = explain(error);
  const words = `${said} ${advice}`.trim();
  const buttons = actions.map(({ label, act }) => create("button.ghost", { type: "button", textContent: label, onclick: act }));
  return create("div.notice.error", {}, create("strong", { textContent: title }), create("p", { textContent: words }), ...buttons);
}
