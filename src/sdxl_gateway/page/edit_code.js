// Takes an edit or a variation, gives it as curl, Python and JavaScript beside the files that it names.

import { ending, literal, shell } from "./code.js";
import { VARIATIONS } from "./schema.js";
import { address } from "./server.js";

const text = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

/** The ways of `code.js` to write a request down, for this path and these files: `{ field, name }`. */
export const kinds = (path, files) => ({
  curl: (body) => curl(path, files, body),
  Python: (body, isExtension) => python(path, files, body, isExtension),
  JavaScript: (body) => javascript(path, files, body),
});

function curl(path, files, body) {
  return [
    `curl ${shell(address(path))} \\`,
    `  -H "Authorization: Bearer \${OPENAI_API_KEY:-unused}" \\`,
    ...files.map(({ field, name }) => `  -F ${shell(`${field}=@${name}`)} \\`),
    ...Object.entries(body).map(([name, value]) => `  --form-string ${shell(`${name}=${text(value)}`)} \\`),
  ].join("\n").slice(0, -2);
}

const ENCODED = ["", "def encoded(path):", "    return base64.b64encode(Path(path).read_bytes()).decode()", "", ""];
const isOwn = ({ field }) => field === "image" || field === "mask";

/** The SDK sends no files beside its own: those go into the entries they belong to. */
function python(path, files, body, isExtension) {
  const names = Object.keys(body);
  const own = names.filter((name) => !isExtension(name)).map((name) => `    ${name}=${literal(body[name])},`);
  const extended = (name) => `        ${literal(name)}: ${extraOf(name, body[name], files)},`;
  const extra = names.filter(isExtension).map(extended);
  const further = files.some((file) => !isOwn(file));
  return [
    "import base64",
    ...(further ? ["import json"] : []),
    "import os",
    "from pathlib import Path",
    "",
    "from openai import OpenAI",
    "",
    ...(further ? ENCODED : []),
    `client = OpenAI(base_url=${literal(address("v1"))}, api_key=os.environ.get("OPENAI_API_KEY", "unused"))`,
    `reply = client.images.${path === VARIATIONS ? "create_variation" : "edit"}(`,
    ...files.filter(isOwn).map(({ field, name }) => `    ${field}=Path(${literal(name)}),`),
    ...own,
    ...(extra.length ? ["    extra_body={", ...extra, "    },"] : []),
    ")",
    "for index, picture in enumerate(reply.data):",
    `    Path(f"picture-{index}.${ending(body)}").write_bytes(base64.b64decode(picture.b64_json))`,
  ].join("\n");
}

function extraOf(name, value, files) {
  const beside = files.filter(({ field }) => field === `${name.slice(0, -1)}_image[]`);
  if (!beside.length) return literal(typeof value === "object" ? JSON.stringify(value) : value);
  const entries = value.map((entry, index) => `{${pairs(entry)}, "image": encoded(${literal(beside[index].name)})}`);
  return `json.dumps([${entries.join(", ")}])`;
}

const pairs = (entry) => Object.entries(entry).map(([key, value]) => `${literal(key)}: ${literal(value)}`).join(", ");

function javascript(path, files, body) {
  const scalar = (value) => JSON.stringify(typeof value === "object" ? text(value) : value);
  const said = Object.entries(body).map(([name, value]) => `  ${name}: ${scalar(value)},`);
  const further = Map.groupBy(files.filter((file) => !isOwn(file)), ({ field }) => field.slice(0, -2));
  const stream = ({ name }) => `createReadStream(${JSON.stringify(name)})`;
  return [
    'import { createReadStream, writeFileSync } from "node:fs";',
    "",
    'import OpenAI from "openai";',
    "",
    "const client = new OpenAI({",
    `  baseURL: ${JSON.stringify(address("v1"))},`,
    '  apiKey: process.env.OPENAI_API_KEY ?? "unused",',
    "});",
    `const reply = await client.images.${path === VARIATIONS ? "createVariation" : "edit"}({`,
    ...files.filter(isOwn).map((file) => `  ${file.field}: ${stream(file)},`),
    ...[...further].map(([field, some]) => `  ${field}: [${some.map(stream).join(", ")}],`),
    ...said,
    "});",
    "reply.data.forEach((picture, index) =>",
    `  writeFileSync(\`picture-\${index}.${ending(body)}\`, Buffer.from(picture.b64_json, "base64")),`,
    ");",
  ].join("\n");
}
