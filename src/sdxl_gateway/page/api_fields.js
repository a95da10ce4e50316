// Takes a JSON schema, gives its fields as a list; what a field is made of is unfolded as it is asked for.

import { make, prose } from "./dom.js";

/** A <details> whose content is made when it is first opened. */
export function details(head, content) {
  const element = make("details", {}, make("summary", {}, ...head));
  element.addEventListener("toggle", () => element.append(...content()), { once: true });
  return element;
}

/** Its properties, each with its type, what it may be and what it is for. */
export function fieldList(document, schema) {
  const { properties = {}, required = [], description } = followed(document, schema);
  const spellings = Object.entries(properties).filter(([, one]) => one["x-alias-of"]);
  const own = Object.entries(properties).filter(([, one]) => !one["x-alias-of"]);
  const rows = own.map(([name, one]) => {
    const also = spellings.filter(([, other]) => other["x-alias-of"] === name).map(([spelling]) => spelling);
    return row(document, name, one, required.includes(name), also);
  });
  const about = schema.$ref && description ? [prose(description, "hint")] : [];
  return make("div", {}, ...about, make("dl", { className: "fields-of" }, ...rows));
}

function row(document, name, schema, required, also) {
  const marks = [required && "required", schema["x-extension"] && "extension"].filter(Boolean);
  const said = (schema.description ?? "").replace(" An extension of OpenAI's API.", "");
  const notes = [...bounds(schema), ...(also.length ? [`also spelt ${also.join(", ")}`] : [])].join("; ");
  return make("div", {},
    make("dt", {}, make("code", { textContent: name }), " ", make("span", { className: "type", textContent: typeName(schema) }),
      ...marks.map((mark) => make("span", { className: "mark", textContent: mark }))),
    make("dd", {},
      ...[said, notes].filter(Boolean).map((text) => prose(text)),
      ...parts(schema).map((part) => details([partName(part)], () => [fieldList(document, part)]))));
}

/** A type in a few words: `LoraEntry[] or string`. */
export function typeName(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeName))].filter((name) => name !== "null").join(" or ");
  if (schema.contentMediaType === "application/octet-stream") return "file";
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  return types.map((type) => (type === "array" ? listName(schema.items ?? {}) : type)).join(" or ") || "anything";
}

const listName = (items) => (items.anyOf ? `(${typeName(items)})[]` : `${typeName(items)}[]`);

/** The objects it is made of, wherever they stand in it, each once. */
function parts(schema) {
  if (schema.$ref || schema.properties) return [schema];
  const inner = [...(schema.anyOf ?? []), schema.items, schema.additionalProperties];
  const found = inner.filter((one) => one && typeof one === "object").flatMap(parts);
  return [...new Map(found.map((one) => [one.$ref ?? one, one])).values()];
}

const partName = (schema) => (schema.$ref ? typeName(schema) : "fields");

function bounds(schema) {
  const said = [schema, ...(schema.anyOf ?? [])];
  const first = (key) => said.find((one) => key in one)?.[key];
  const [low, high, length, items, choices, otherwise] = ["minimum", "maximum", "maxLength", "maxItems", "enum", "default"].map(first);
  const range = low !== undefined && high !== undefined ? `${low} to ${high}` : low !== undefined ? `at least ${low}` : "";
  return [
    range,
    length && `at most ${length} characters`,
    items && `at most ${items}`,
    choices && choices.filter((one) => one !== null).join(", "),
    otherwise !== undefined && `${JSON.stringify(otherwise)} where nobody says`,
  ].filter(Boolean);
}

function followed(document, schema) {
  if (!schema.$ref) return schema;
  return schema.$ref.slice(2).split("/").reduce((place, name) => place[name], document);
}
