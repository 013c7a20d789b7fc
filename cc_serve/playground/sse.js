// Server-sent events of a fetched response: EventSource can neither POST nor send a key.

/** Cuts text that arrives in any pieces into events, as the HTML standard says. */
export class EventParser {
  #line = "";
  #data = [];
  #name = "message";
  #afterReturn = false;

  /**
   * @param {string} piece the next piece of the stream.
   * @returns {{name: string, data: string}[]} the events that are now complete.
   */
  push(piece) {
    const events = [];
    for (const character of piece) {
      // A line ends with \r, \n, or both, which may come in two pieces.
      if (character === "\n" && this.#afterReturn) {
        this.#afterReturn = false;
        continue;
      }
      this.#afterReturn = character === "\r";
      if (character === "\n" || character === "\r") this.#endLine(events);
      else this.#line += character;
    }
    return events;
  }

  #endLine(events) {
    const line = this.#line;
    this.#line = "";
    if (line === "") {
      if (this.#data.length) events.push({ name: this.#name, data: this.#data.join("\n") });
      this.#data = [];
      this.#name = "message";
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
  }
}

/** The events of a response, as they arrive. */
export async function* events(response) {
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* parser.push(value);
  }
}
