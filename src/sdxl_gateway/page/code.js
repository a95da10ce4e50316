// Takes a request, shows it as curl, Python and JavaScript, ready to be run elsewhere.

import { button, make } from "./dom.js";
import { GENERATIONS, fields } from "./schema.js";
import { address } from "./server.js";

const KINDS = { curl, Python: python, JavaScript: javascript };
let chosen = "curl";

/** Fills the place; asked for again at every change. `kinds` write down what is posted to `path`. */
export async function show(details, asked, path = GENERATIONS, kinds = KINDS) {
  const known = await fields(path);
  const body = { ...asked, response_format: "b64_json" };
  const text = kinds[chosen](body, (name) => Boolean(known.get(name)?.["x-extension"]));
  const code = make("code", { textContent: text });
  const pre = make("pre", { tabIndex: 0, ariaLabel: `The request as ${chosen}` }, code);
  const tabs = Object.keys(kinds).map((kind) => tab(kind, () => show(details, asked, path, kinds)));
  const bar = make("div", { className: "tabs" }, ...tabs, copier(text));
  const place = details.querySelector(".code");
  const held = place.contains(document.activeElement) && document.activeElement.textContent;
  place.replaceChildren(bar, pre);
  if (held) [...bar.children].find((one) => one.textContent === held)?.focus();
}

function tab(kind, again) {
  const choose = () => {
    chosen = kind;
    again();
  };
  return button(kind, choose, { ariaPressed: String(kind === chosen) });
}

function copier(text) {
  return button("Copy", async ({ target }) => {
    try {
      await navigator.clipboard.writeText(text);
      target.textContent = "Copied";
    } catch {
      target.textContent = "Select it and copy";
    }
  });
}

/** A word for a shell, whatever stands in it. */
export const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
export const ending = (body) => (body.output_format === "jpg" ? "jpeg" : (body.output_format ?? "png"));

function curl(body) {
  return [
    `curl ${shell(address("v1/images/generations"))} \\`,
    `  -H "Authorization: Bearer \${OPENAI_API_KEY:-unused}" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shell(JSON.stringify(body))}`,
  ].join("\n");
}

export const literal = (value) => (value === true ? "True" : value === false ? "False" : JSON.stringify(value));

function python(body, isExtension) {
  const names = Object.keys(body);
  const own = names.filter((name) => !isExtension(name)).map((name) => `    ${name}=${literal(body[name])},`);
  const extra = names.filter(isExtension).map((name) => `${JSON.stringify(name)}: ${literal(body[name])}`);
  return [
    "import base64",
    "import os",
    "from pathlib import Path",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(address("v1"))}, api_key=os.environ.get("OPENAI_API_KEY", "unused"))`,
    "reply = client.images.generate(",
    ...own,
    ...(extra.length ? [`    extra_body={${extra.join(", ")}},`] : []),
    ")",
    "for index, picture in enumerate(reply.data):",
    `    Path(f"picture-{index}.${ending(body)}").write_bytes(base64.b64decode(picture.b64_json))`,
  ].join("\n");
}

function javascript(body) {
  return [
    'import { writeFileSync } from "node:fs";',
    "",
    'import OpenAI from "openai";',
    "",
    "const client = new OpenAI({",
    `  baseURL: ${JSON.stringify(address("v1"))},`,
    '  apiKey: process.env.OPENAI_API_KEY ?? "unused",',
    "});",
    `const reply = await client.images.generate(${JSON.stringify(body, null, 2)});`,
    "reply.data.forEach((picture, index) =>",
    `  writeFileSync(\`picture-\${index}.${ending(body)}\`, Buffer.from(picture.b64_json, "base64")),`,
    ");",
  ].join("\n");
}
