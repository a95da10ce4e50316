// Takes a list's address, gives fields for what may be asked of it: a choice where the server's document has one.

import { field, make } from "./dom.js";
import { openapi } from "./schema.js";

export class Filters {
  element = make("div", { className: "row filters" });
  #path;
  #names;
  #changed;
  #made = null;
  #controls = new Map();

  constructor(path, names, changed) {
    this.#path = path;
    this.#names = names;
    this.#changed = changed;
  }

  /** Made once the document is there. */
  ready() {
    this.#made ??= this.#make().catch((error) => {
      this.#made = null;
      throw error;
    });
    return this.#made;
  }

  values() {
    return Object.fromEntries([...this.#controls].map(([name, control]) => [name, control.value.trim()]));
  }

  async #make() {
    const { parameters = [] } = (await openapi()).paths[`/${this.#path}`].get;
    for (const name of this.#names) {
      const schema = parameters.find((one) => one.name === name)?.schema ?? {};
      const id = `filter-${this.#path.split("/").at(-1)}-${name}`;
      const control = schema.enum
        ? make("select", { id }, new Option("any", ""), ...schema.enum.map((word) => new Option(word.replaceAll("_", " "), word)))
        : make("input", { id, spellcheck: false, autocomplete: "off", placeholder: "any" });
      control.addEventListener("change", this.#changed);
      this.#controls.set(name, control);
      this.element.append(field(name, name.replaceAll("_", " "), control));
    }
  }
}
