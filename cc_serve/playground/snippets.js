// A request as code that does the same: with curl, and with the openai package.

import { address, key } from "./api.js";

/** A curl command for POSIX shells. The key itself stays out of it. */
export function curl(request) {
  const lines = [`curl ${shell(address("v1/chat/completions"))}`, `-H ${shell("Content-Type: application/json")}`];
  if (key.get()) lines.push('-H "Authorization: Bearer $CC_SERVE_KEY"');
  lines.push(`-d ${shell(JSON.stringify(request))}`);
  return `${lines.join(" \\\n  ")}\n`;
}

/** A Python program with the openai package. */
export function python({ cc_connection, ...request }) {
  const options = Object.entries(request).map(([name, value]) => `    ${name}=${literal(value)},\n`);
  const secret = key.get() ? 'os.environ["CC_SERVE_KEY"]' : '"none"';
  return (
    `${key.get() ? "import os\n\n" : ""}from openai import OpenAI\n\n` +
    `client = OpenAI(base_url=${literal(address("v1"))}, api_key=${secret})\n` +
    "response = client.chat.completions.create(\n" +
    `${options.join("")}    extra_body=${literal({ cc_connection })},\n)\n` +
    "print(response.choices[0].message.content)\n"
  );
}

// Within single quotes nothing is special but their end.
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, item]) => `${literal(name)}: ${literal(item)}`).join(", ")}}`;
  }
  // JSON's strings are Python's, but for the DEL and line separators that it leaves as they are, which Python takes too.
  return JSON.stringify(value);
}
