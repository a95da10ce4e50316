// Takes a request, shows it as curl, Python and JavaScript, ready to be run elsewhere.

import { make } from "./dom.js";
import { fields } from "./schema.js";
import { address } from "./server.js";

const KINDS = { curl, Python: python, JavaScript: javascript };
let chosen = "curl";

/** Fills the place; asked for again at every change. */
export async function show(details, asked) {
  const known = await fields();
  const body = { ...asked, response_format: "b64_json" };
  const text = KINDS[chosen](body, (name) => Boolean(known.get(name)?.["x-extension"]));
  const code = make("code", { textContent: text });
  const pre = make("pre", { tabIndex: 0, ariaLabel: `The request as ${chosen}` }, code);
  const tabs = Object.keys(KINDS).map((kind) => tab(kind, () => show(details, asked)));
  const bar = make("div", { className: "tabs" }, ...tabs, copier(text));
  const place = details.querySelector(".code");
  const held = place.contains(document.activeElement) && document.activeElement.textContent;
  place.replaceChildren(bar, pre);
  if (held) [...bar.children].find((button) => button.textContent === held)?.focus();
}

function tab(kind, again) {
  const button = make("button", { type: "button", textContent: kind, ariaPressed: String(kind === chosen) });
  button.addEventListener("click", () => {
    chosen = kind;
    again();
  });
  return button;
}

function copier(text) {
  const button = make("button", { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
  });
  return button;
}

/** A word for a shell, whatever stands in it. */
export const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const ending = (body) => (body.output_format === "jpg" ? "jpeg" : (body.output_format ?? "png"));

function curl(body) {
  return [
    `curl ${shell(address("v1/images/generations"))} \\`,
    `  -H "Authorization: Bearer \${OPENAI_API_KEY:-unused}" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shell(JSON.stringify(body))}`,
  ].join("\n");
}

const literal = (value) => (value === true ? "True" : value === false ? "False" : JSON.stringify(value));

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
