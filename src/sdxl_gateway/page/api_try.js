// A form for one operation: what is filled in is shown as curl, and sent with the key that the page keeps.

import { shell } from "./code.js";
import { make } from "./dom.js";
import { Refused, address, inPath, key } from "./server.js";
import { framesOf } from "./stream.js";

const LONGEST = 200;
const MOST = 100_000;
let made = 0;

/** `operation` is { verb, path, about, body }, `body` { kinds, properties, required }. */
export function tryIt(operation, page) {
  const inputs = [...parameterInputs(operation.about), ...bodyInputs(operation.body)];
  const form = make("form", { className: "tried", noValidate: true });
  const code = make("code");
  const send = make("button", { type: "submit", textContent: `Send ${operation.verb.toUpperCase()}` });
  const cancel = make("button", { type: "button", textContent: "Cancel", disabled: true });
  const answer = make("div", { className: "answer" });
  const request = () => requestOf(operation, inputs);
  form.addEventListener("input", () => (code.textContent = curl(request())));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const abort = new AbortController();
    cancel.onclick = () => abort.abort();
    send.disabled = !(cancel.disabled = false);
    await sent(request(), answer, form, page, abort.signal);
    send.disabled = !(cancel.disabled = true);
  });
  code.textContent = curl(request());
  form.append(...inputs.map((one) => one.element),
    make("pre", { tabIndex: 0, ariaLabel: "The request as curl" }, code),
    make("p", { className: "error", role: "alert", hidden: true }),
    make("div", { className: "buttons" }, send, cancel), answer);
  return form;
}

// ---- what is filled in

const parameterInputs = ({ parameters = [] }) => parameters.map(({ name, in: where, schema }) => input(name, where, schema));

/** JSON as text, where it is read; else a form's own fields. */
function bodyInputs({ kinds, properties, required }) {
  if (!kinds.length) return [];
  if (kinds.includes("application/json")) return [input("body", "json", { example: example(properties, required) })];
  return Object.entries(properties).map(([name, schema]) => input(name, "form", schema));
}

function example(properties, required) {
  const first = (name) => [properties[name]?.type].flat()[0];
  const empty = { integer: 1, number: 1, boolean: false, array: [], object: {} };
  return JSON.stringify(Object.fromEntries(required.map((name) => [name, empty[first(name)] ?? ""])), null, 2);
}

function input(name, where, schema) {
  const id = `api-try-${(made += 1)}`;
  const control = controlOf(id, where, schema);
  const label = make("label", { htmlFor: id, textContent: where === "json" ? "Body" : name });
  return { name, where, control, element: make("div", { className: "field", "data-field": name }, label, control) };
}

function controlOf(id, where, schema) {
  if (where === "json") return make("textarea", { id, rows: 5, spellcheck: false, value: schema.example });
  if (schema.contentMediaType === "application/octet-stream") return make("input", { id, type: "file" });
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  if (choices) return make("select", { id }, new Option("", ""), ...choices.map((one) => new Option(one)));
  return make("input", { id, type: "text", spellcheck: false, autocomplete: "off", placeholder: schema.default ?? "" });
}

// ---- the request

/** `parts` are a form's, `body` is JSON's text. */
function requestOf({ verb, path, body }, inputs) {
  const said = (where) => inputs.filter((one) => one.where === where && (one.control.files?.length ?? one.control.value !== ""));
  const query = new URLSearchParams(said("query").map((one) => [one.name, one.control.value])).toString();
  const filled = path.replace(/{(\w+)}/g, (_, name) => inPath(inputs.find((one) => one.name === name).control.value));
  return {
    method: verb.toUpperCase(),
    address: address(filled.slice(1)) + (query && `?${query}`),
    body: said("json")[0]?.control.value,
    parts: body.kinds.length && !body.kinds.includes("application/json")
      ? said("form").map((one) => [one.name, one.control.files?.[0] ?? one.control.value])
      : null,
  };
}

function curl({ method, address: to, body, parts }) {
  const lines = [`curl -X ${method} ${shell(to)}`, `-H "Authorization: Bearer \${OPENAI_API_KEY:-unused}"`];
  if (body) lines.push(`-H 'Content-Type: application/json'`, `-d ${shell(body)}`);
  for (const [name, value] of parts ?? []) {
    lines.push(value instanceof File ? `-F ${shell(`${name}=@"${value.name}"`)}` : `--form-string ${shell(`${name}=${value}`)}`);
  }
  return lines.join(" \\\n  ");
}

function fetched({ method, address: to, body, parts }, signal) {
  const headers = key.get() ? { authorization: `Bearer ${key.get()}` } : {};
  if (body) headers["content-type"] = "application/json";
  const form = parts && new FormData();
  for (const [name, value] of parts ?? []) form.append(name, value);
  return fetch(to, { method, headers, body: form ?? body, signal });
}

// ---- the answer

async function sent(request, place, form, page, signal) {
  const began = performance.now();
  page.forgive(form);
  const told = make("p", { role: "status", textContent: "Sent …" });
  place.replaceChildren(told);
  try {
    const answer = await fetched(request, signal);
    told.textContent = `${answer.status} ${answer.statusText} in ${Math.round(performance.now() - began)} ms`;
    if (answer.status === 401) page.refuse(new Refused(401, (await answer.clone().json()).error), form);
    await shown(answer, place);
  } catch (error) {
    told.textContent = error.name === "AbortError" ? "Cancelled." : "";
    if (error.name !== "AbortError") page.refuse(new Refused(0, { message: "The server cannot be reached." }), form);
  }
}

async function shown(answer, place) {
  const kind = answer.headers.get("content-type") ?? "";
  const pre = make("pre", { tabIndex: 0, ariaLabel: "The answer" });
  if (/^image\//.test(kind)) return place.append(make("img", { src: await url(answer), alt: "The picture it answered with" }));
  if (/^application\/(?!json|x-ndjson)/.test(kind)) return place.append(await saver(answer));
  place.append(pre);
  if (kind.startsWith("text/event-stream")) {
    for await (const { comment, data } of framesOf(answer.body)) pre.append(comment === undefined ? `${tidy(data)}\n` : `: ${comment}\n`);
    return undefined;
  }
  const text = await answer.text();
  pre.textContent = (kind.startsWith("application/json") && text ? tidy(JSON.parse(text)) : text).slice(0, MOST);
  return undefined;
}

/** Pictures in it are left out but for how they begin. */
const tidy = (data) => JSON.stringify(data, (_, value) => (value?.length > LONGEST && typeof value === "string" ? short(value) : value), 2);
const short = (text) => `${text.slice(0, LONGEST)}… (${text.length} characters)`;
const url = async (answer) => URL.createObjectURL(await answer.blob());

async function saver(answer) {
  return make("a", { className: "button", href: await url(answer), download: "", textContent: "Download" });
}
