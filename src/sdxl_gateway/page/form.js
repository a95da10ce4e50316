// Takes a schema of the server's document, gives a form for it: a control for each property, and what was filled in.

import { field, make, prose } from "./dom.js";

const DAY = 86_400;

export class SchemaForm {
  element = make("div", { className: "fields" });
  #controls = new Map();

  /** `id` begins the ids of its controls; `schema.required` are marked so. */
  constructor(id, { properties, required = [] }) {
    for (const [name, schema] of Object.entries(properties)) {
      const control = controlOf(`${id}-${name}`, name, schema);
      this.#controls.set(name, control);
      this.element.append(rowOf(`${id}-${name}`, name, schema, control, required.includes(name)));
    }
  }

  /** Those that were filled in, by name. */
  values() {
    const read = [...this.#controls].map(([name, control]) => [name, control.read()]);
    return Object.fromEntries(read.filter(([, value]) => value !== undefined));
  }
}

/** What the server counts in seconds is asked for in days. */
const inDays = (name) => name === "expires_in";
const called = (name) => (inDays(name) ? "expires in days" : name.replaceAll("_", " "));

function rowOf(id, name, { description = "" }, control, required) {
  const label = `${called(name)}${required ? " (needed)" : ""}`;
  const hint = prose(inDays(name) ? "Empty: never." : description, "hint");
  const error = make("p", { className: "error", id: `${id}-error`, hidden: true });
  if (!control.group) return withHint(field(name, label, control.element), hint);
  const box = make("fieldset", { className: "field", "data-field": name }, make("legend", { textContent: label }));
  box.append(hint, ...control.group, error);
  return box;
}

function withHint(row, hint) {
  row.lastElementChild.before(hint);
  return row;
}

function controlOf(id, name, schema) {
  const types = [schema.type].flat();
  if (types.includes("object")) return numbers(id, schema.properties);
  if (types.includes("array")) return schema.items.enum ? boxes(id, schema.items.enum) : words(id);
  if (schema.enum) return choice(id, schema.enum.filter((word) => word !== null));
  return types.includes("number") ? amount(id, name, schema) : text(id, schema);
}

function numbers(id, properties) {
  const parts = Object.entries(properties).map(([name, schema]) => {
    const element = make("input", { id: `${id}-${name}`, type: "number", min: schema.minimum, placeholder: "no limit" });
    return { name, element, row: make("div", {}, make("label", { htmlFor: element.id, textContent: name.replaceAll("_", " ") }), element) };
  });
  const read = () => {
    const given = parts.filter(({ element }) => element.value !== "");
    return given.length ? Object.fromEntries(given.map(({ name, element }) => [name, Number(element.value)])) : undefined;
  };
  const inside = make("details", {}, make("summary", { textContent: "set some" }), make("div", { className: "row" }, ...parts.map(({ row }) => row)));
  return { group: [inside], read };
}

function boxes(id, names) {
  const inputs = names.map((name) => make("input", { id: `${id}-${name}`, type: "checkbox", value: name }));
  const labels = inputs.map((input) => make("label", { className: "lock" }, input, ` ${input.value}`));
  const read = () => {
    const chosen = inputs.filter(({ checked }) => checked).map(({ value }) => value);
    return chosen.length ? chosen : undefined;
  };
  return { group: labels, read };
}

function words(id) {
  const element = make("input", { id, spellcheck: false, autocomplete: "off", placeholder: "*" });
  const read = () => {
    const given = element.value.split(",").map((word) => word.trim()).filter(Boolean);
    return given.length ? given : undefined;
  };
  return { element, read };
}

function choice(id, names) {
  const element = make("select", { id }, new Option("as usual", ""), ...names.map((name) => new Option(name)));
  return { element, read: () => element.value || undefined };
}

function amount(id, name, { minimum, maximum }) {
  const unit = inDays(name) ? DAY : 1;
  const element = make("input", { id, type: "number", min: minimum / unit, max: maximum / unit, step: "any" });
  return { element, read: () => (element.value === "" ? undefined : Number(element.value) * unit) };
}

function text(id, { maxLength }) {
  const element = make("input", { id, maxLength, spellcheck: false, autocomplete: "off" });
  return { element, read: () => element.value.trim() || undefined };
}
