// OpenAI's client for Node: fields of ours stand beside the others, headers by withResponse().

import OpenAI from "openai";

const ENGLISH = "What is the capital of Kenya?";
const GERMAN = "Wo ist der Bahnhof, bitte?";
const UNKNOWN = "no-such-connection";

const model = process.env.CLIENTS_MODEL;
const client = new OpenAI({ baseURL: `${process.env.CLIENTS_ADDRESS}/v1`, apiKey: "none", maxRetries: 0 });

function options(question) {
  return { model, max_tokens: 8, messages: [{ role: "user", content: question }] };
}

function require(condition, what) {
  if (!condition) throw new Error(what);
}

async function ask(question, connected) {
  const { data, response } = await client.chat.completions.create(options(question)).withResponse();
  const found = response.headers.get("x-cc-connection");
  require(found !== null && (found !== "off") === connected, `x-cc-connection is ${found}`);
  require(data.usage.completion_tokens, "no usage");
}

async function streamed() {
  const more = { stream: true, stream_options: { include_usage: true }, cc_details: true };
  let last;
  for await (const chunk of await client.chat.completions.create({ ...options(GERMAN), ...more })) last = chunk;
  require(last.usage, "no usage in the last event");
  require(last.cc_connection.prompts.length, "no cc_details in the last event");
}

async function refused() {
  try {
    await client.chat.completions.create({ ...options(GERMAN), cc_connection: UNKNOWN });
  } catch (error) {
    require(error instanceof OpenAI.BadRequestError, `the error is ${error}`);
    require(error.message.includes(UNKNOWN) && error.param === "cc_connection", `the error is ${error}`);
    return;
  }
  throw new Error("no error");
}

const steps = { plain: () => ask(ENGLISH, false), connected: () => ask(GERMAN, true), streamed, refused };
for (const [step, take] of Object.entries(steps)) {
  let problem = null;
  try {
    await take();
  } catch (error) {
    problem = `${error.name}: ${error.message}`.slice(0, 300);
  }
  console.log(JSON.stringify({ step, problem }));
}
