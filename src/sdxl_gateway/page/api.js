// The server's own document as a reference: each operation with what it reads and gives, and a form that sends it.

import { details, fieldList, typeName } from "./api_fields.js";
import { make, prose } from "./dom.js";
import { openapi } from "./schema.js";
import { address } from "./server.js";

const VERBS = ["get", "post", "put", "patch", "delete"];

/** Reads the document on first opening. `id` is the operation that the address names, "" for none. */
export async function show(place, page, id) {
  if (place.querySelector(".operation") || (await read(place, page))) unfold(place, id);
}

async function read(place, page) {
  const alert = make("p", { className: "error", role: "alert", hidden: true });
  place.replaceChildren(alert);
  try {
    fill(place, await openapi(), page);
    return true;
  } catch (error) {
    page.refuse(error, place);
    return false;
  }
}

/** Goes to an operation, whatever was searched for. */
function unfold(place, id) {
  const one = [...place.querySelectorAll(".operation")].find(({ dataset }) => id && dataset.id === id);
  if (!one) return;
  const search = place.querySelector("#api-find");
  search.value = "";
  search.dispatchEvent(new Event("input"));
  one.open = true;
  one.querySelector("summary").focus({ preventScroll: true });
  one.scrollIntoView();
}

/** The address names what was unfolded last, so that it can be passed on and read again. */
function named({ open, dataset: { id } }) {
  if (open) history.replaceState(null, "", `#api/${id}`);
  else if (location.hash === `#api/${id}`) history.replaceState(null, "", "#api");
}

function fill(place, document, page) {
  const groups = grouped(document).map(([name, rows]) => section(name, rows, document, page));
  const told = make("p", { className: "hint", role: "status" });
  const search = make("input", { type: "search", id: "api-find", spellcheck: false, placeholder: "loras, webhook, 429 …" });
  search.addEventListener("input", () => find(groups, search.value, told));
  const finding = make("div", { className: "find" }, make("label", { htmlFor: "api-find", textContent: "Find" }), search, told);
  place.append(intro(document), finding, ...groups);
  find(groups, "", told);
}

function intro({ info, components: { securitySchemes = {} } }) {
  const keys = Object.values(securitySchemes).map(({ type, name }) => (type === "http" ? "Authorization: Bearer KEY" : `${name}: KEY`));
  const file = make("a", { href: address("openapi.json"), download: "openapi.json", textContent: "openapi.json" });
  return make("div", { className: "intro" },
    make("h2", { textContent: `${info.title} ${info.version}` }),
    make("p", { textContent: info.description }),
    make("p", { className: "hint" }, `A key is sent as ${keys.join(" or ")}; this page sends the one it was given. The document: `, file, "."));
}

// ---- what is asked for, in groups by its path

function grouped({ paths }) {
  const groups = new Map();
  for (const [path, verbs] of Object.entries(paths)) {
    const rows = VERBS.filter((verb) => verb in verbs).map((verb) => ({ verb, path, about: verbs[verb] }));
    const name = groupOf(path);
    groups.set(name, [...(groups.get(name) ?? []), ...rows]);
  }
  return [...groups];
}

const groupOf = (path) => (path.startsWith("/v1/") ? path.split("/")[2] : "server");

function section(name, rows, document, page) {
  const heading = make("h2", { id: `api-${name}`, textContent: name });
  const operations = rows.map((row) => operation(row, document, page));
  const element = make("section", { className: "group" }, heading, ...operations);
  element.setAttribute("aria-labelledby", heading.id);
  return element;
}

function operation({ verb, path, about }, document, page) {
  const head = [
    make("span", { className: `verb ${verb}`, textContent: verb.toUpperCase() }), " ",
    make("code", { textContent: path }), " ",
    make("span", { className: "about", textContent: about.summary }),
  ];
  const element = details(head, () => parts({ verb, path, about }, document, page));
  element.className = "operation card";
  element.dataset.id = about.operationId;
  element.addEventListener("toggle", () => named(element));
  element.dataset.words = [verb, path, about.summary, about.operationId, ...Object.keys(bodyOf(about).properties),
    ...Object.keys(about.responses)].join(" ").toLowerCase();
  return element;
}

function find(groups, text, told) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  let all = 0;
  for (const group of groups) {
    for (const one of group.querySelectorAll(".operation")) {
      one.hidden = !words.every((word) => one.dataset.words.includes(word));
      found += !one.hidden;
      all += 1;
    }
    group.hidden = !group.querySelector(".operation:not([hidden])");
  }
  told.textContent = `${found} of ${all} operations`;
}

// ---- one operation

function parts({ verb, path, about }, document, page) {
  const sending = details(["Try it"], () => []);
  sending.className = "try";
  sending.addEventListener("toggle", async () => {
    const { tryIt } = await import("./api_try.js");
    if (sending.childElementCount === 1) sending.append(tryIt({ verb, path, about, body: bodyOf(about) }, page));
  }, { once: true });
  return [sending, ...parameters(document, about), ...body(document, about), ...answers(document, about)];
}

const heading = (text) => make("h3", { textContent: text });

function parameters(document, { parameters: all = [] }) {
  if (!all.length) return [];
  const properties = Object.fromEntries(all.map((one) => [one.name, { ...one.schema, description: `In the ${one.in}.` }]));
  const required = all.filter((one) => one.required).map((one) => one.name);
  return [heading("Parameters"), fieldList(document, { properties, required })];
}

function body(document, about) {
  const { kinds, properties, required } = bodyOf(about);
  if (!kinds.length) return [];
  const fields = Object.keys(properties).length ? [fieldList(document, { properties, required })] : [];
  return [heading(`Body: ${kinds.join(" or ")}`), ...fields];
}

/** What an operation reads, whatever it is sent as: the first kind's fields, and those that only others have. */
function bodyOf({ requestBody }) {
  const content = requestBody?.content ?? {};
  const schemas = Object.values(content).map((one) => one.schema ?? {});
  const first = schemas[0] ?? {};
  const properties = Object.assign({}, ...schemas.map((one) => one.properties).reverse());
  return { kinds: Object.keys(content), properties, required: first.required ?? first.anyOf?.[0].required ?? [] };
}

function answers(document, { responses }) {
  const refusals = Object.keys(responses).filter((status) => responses[status].$ref);
  const own = Object.keys(responses).filter((status) => !responses[status].$ref);
  const rows = own.map((status) => answer(document, status, responses[status]));
  if (refusals.length) rows.push(answer(document, refusals.join(", "), resolved(document, responses[refusals[0]])));
  return [heading("Answers"), make("dl", { className: "fields-of" }, ...rows)];
}

const resolved = (document, { $ref }) => $ref.slice(2).split("/").reduce((place, name) => place[name], document);

function answer(document, status, { description, content = {}, headers = {} }) {
  const kinds = Object.entries(content).map(([kind, { schema }]) => within(document, kind, schema));
  const named = Object.fromEntries(Object.entries(headers).map(([name, one]) => [name, { ...one.schema, ...one }]));
  const more = Object.keys(headers).length ? [details(["Headers"], () => [fieldList(document, { properties: named })])] : [];
  return make("div", {},
    make("dt", {}, make("code", { textContent: status })),
    make("dd", {}, prose(description), ...kinds, ...more));
}

function within(document, kind, schema = {}) {
  const text = `${kind}: ${typeName(schema)}`;
  if (!schema.$ref && !schema.properties) return make("p", { className: "hint", textContent: text });
  return details([text], () => [fieldList(document, schema)]);
}
