// Fields of a request that are a word, a number or a switch, made of the server's own document.

import { make, prose } from "./dom.js";
import { GENERATIONS, fields } from "./schema.js";
import { inPath, json } from "./server.js";

// What stands elsewhere on the page, what the page decides itself, and what only a program has a use for.
export const ELSEWHERE = new Set([
  "prompt", "model", "n", "size", "width", "height", "quality", "seed", "lora_scale",
  "stream", "partial_images", "response_format", "safety_identifier", "webhook_url",
]);

const isElse = (name) => !ELSEWHERE.has(name);

/** Those of what is posted to `path` that are `wanted`; `names` are what some are called, `ids` is before every id. */
export class More {
  #place;
  #changed;
  #wanted;
  #names;
  #ids;
  #shown = new Set();
  #said = new Map();

  constructor(place, changed, { path = GENERATIONS, wanted = isElse, names = {}, ids = "more" } = {}) {
    this.path = path;
    this.#place = place;
    this.#changed = changed;
    this.#wanted = wanted;
    this.#names = names;
    this.#ids = ids;
  }

  /** Those that were filled in, by name. */
  values() {
    return Object.fromEntries([...this.#said].filter(([name]) => this.#shown.has(name)));
  }

  /** Makes the fields anew for what this model can do; what was said stays, where it still can be. */
  async show(model) {
    await this.offer(model ? (await json(`v1/models/${inPath(model)}`)).capabilities : {});
  }

  /** The same, for these capabilities. */
  async offer(capabilities) {
    const rows = [...(await fields(this.path))].filter(([name]) => this.#wanted(name));
    this.#shown = new Set(rows.map(([name]) => name));
    this.#place.replaceChildren(...rows.map(([name, schema]) => this.#row(name, schema, capabilities)).filter(Boolean));
    this.#changed();
  }

  #row(name, schema, capabilities) {
    const reads = reader(name, schema, capabilities);
    if (!reads) return void this.#said.delete(name);
    const id = `${this.#ids}-${name}`;
    const control = controlOf(id, reads);
    if (this.#said.has(name)) control.value = String(this.#said.get(name));
    control.addEventListener("input", () => this.#say(name, control.value, reads));
    this.#say(name, control.value, reads);
    return make("div", { className: "field", "data-field": name },
      make("label", { htmlFor: id, textContent: this.#names[name] ?? name.replaceAll("_", " ") }),
      control,
      ...(reads.offers ? [make("datalist", { id: `${id}-offers` }, ...reads.offers.map((text) => new Option(text)))] : []),
      prose(hint(schema), "hint", { id: `${id}-hint` }),
      make("p", { className: "error", id: `${id}-error`, hidden: true }));
  }

  #say(name, text, { parse }) {
    if (text === "") this.#said.delete(name);
    else this.#said.set(name, parse(text));
  }
}

const hint = ({ description = "" }) => description.replace(" An extension of OpenAI's API.", "");
const yes = (text) => (text === "true" ? true : text === "false" ? false : text);
const asIs = (text) => text;

/** How a field is filled in: `choices` or a number's bounds; none where it is no field for a form or not on offer. */
function reader(name, schema, capabilities) {
  const offered = capabilities[name] ?? capabilities[`${name}s`] ?? capabilities[`${name}es`];
  const list = Array.isArray(offered) ? offered : null;
  const types = [schema.type ?? schema.anyOf?.map((one) => one.type) ?? []].flat();
  if (offered === false || list?.length === 0) return null;
  if (schema.enum) return { choices: list ?? schema.enum.filter((one) => one !== null), parse: asIs };
  if (types.some((type) => type === undefined || type === "object" || type === "array")) return null;
  if (types.includes("boolean")) return { choices: ["true", "false", ...(list ?? [])], parse: yes };
  if (types.includes("integer") || types.includes("number")) return number(schema, types, offered);
  return types.includes("string") ? { offers: list, parse: asIs } : null;
}

/** A capability that is a whole number says how far the field goes; any other what holds where nobody says. */
function number({ minimum, maximum }, types, offered) {
  const whole = types.includes("integer");
  const most = whole ? (offered ?? maximum) : maximum;
  const otherwise = whole ? undefined : offered;
  return { minimum, maximum: most, step: whole ? 1 : "any", otherwise, parse: Number };
}

function controlOf(id, reads) {
  const described = { id, "aria-describedby": `${id}-hint ${id}-error` };
  if (reads.choices) {
    return make("select", described, new Option("as the server is set", ""), ...reads.choices.map((one) => new Option(one)));
  }
  if (reads.parse === Number) {
    const { minimum: min = "", maximum: max = "", step, otherwise: placeholder = "" } = reads;
    return make("input", { ...described, type: "number", min, max, step, placeholder });
  }
  const control = make("input", { ...described, type: "text", spellcheck: false });
  if (reads.offers) control.setAttribute("list", `${id}-offers`);
  return control;
}
