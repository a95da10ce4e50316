// Further pictures of a request, each with its weight: those that guide it, and those it follows line by line.

import { button, make } from "./dom.js";

const ENDINGS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };

/** What a file is called where it is sent: its own name is nobody's business. */
export const named = (file, stem) => `${stem}.${ENDINGS[file.type] ?? "png"}`;

/** Pictures in a list. What a kind of them has beside a picture and a weight is made by its `extras(entry)`. */
class Guides {
  #changed;
  #list = make("ul", { className: "guides" });
  #entries = [];
  #file = make("input", { type: "file", accept: "image/png,image/jpeg,image/webp", multiple: true });
  #error = make("p", { className: "error", hidden: true });

  constructor(field, title, about, changed) {
    this.#changed = changed;
    this.field = field;
    this.#file.id = `edit-${field}`;
    this.#file.addEventListener("change", () => this.#chosen());
    this.element = make("div", { className: "field", "data-field": field, hidden: true },
      make("label", { htmlFor: this.#file.id, textContent: title }),
      make("p", { className: "hint", textContent: about }),
      this.#file,
      this.#list,
      this.#error);
  }

  /** The fields and the files of a request; none while nothing of the kind is on offer. */
  fields() {
    const said = this.entries.map((entry) => entry.said);
    return said.length ? { [this.field]: said } : {};
  }

  files() {
    const name = (file, index) => named(file, `${this.stem}-${index + 1}`);
    return this.entries.map(({ file }, index) => ({ field: `${this.part}[]`, file, name: name(file, index) }));
  }

  get entries() {
    return this.element.hidden ? [] : this.#entries;
  }

  #chosen() {
    for (const file of this.#file.files) this.#add(file);
    this.#file.value = "";
    this.#changed();
  }

  #add(file) {
    const entry = { file, said: { ...this.usual() } };
    const address = URL.createObjectURL(file);
    const picture = make("img", { src: address, alt: file.name });
    const item = make("li", {}, picture, make("div", {}, ...this.#controls(entry)));
    const remove = button("×", () => {
      this.#entries.splice(this.#entries.indexOf(entry), 1);
      URL.revokeObjectURL(address);
      item.remove();
      this.#changed();
    }, { className: "remove", ariaLabel: `Remove ${file.name}` });
    item.append(remove);
    this.#entries.push(entry);
    this.#list.append(item);
  }

  #controls(entry) {
    const { weight } = this.bounds();
    return [this.number(entry, "weight", weight), ...this.extras(entry)];
  }

  /** A slider for a number of the entry. */
  number(entry, name, { minimum, maximum }) {
    const shown = make("output", { className: "weight", textContent: entry.said[name] });
    const slider = make("input", { type: "range", min: minimum, max: maximum, step: 0.05, value: entry.said[name] });
    slider.addEventListener("input", () => {
      entry.said[name] = Number(slider.value);
      shown.textContent = slider.value;
      this.#changed();
    });
    return make("label", {}, name, " ", shown, slider);
  }

  /** A choice of the entry; "" leaves it to the server. */
  choice(entry, name, choices, changed = () => {}) {
    const select = make("select", {}, ...choices.map(([text, value]) => new Option(text, JSON.stringify(value))));
    select.value = JSON.stringify(entry.said[name] ?? "");
    select.addEventListener("change", () => {
      const value = JSON.parse(select.value);
      if (value === "") delete entry.said[name];
      else entry.said[name] = value;
      changed();
      this.#changed();
    });
    return make("label", {}, name, " ", select);
  }
}

/** Pictures that an IP-Adapter sees. */
export class References extends Guides {
  part = "reference_image";
  stem = "reference";
  #offered = null;

  constructor(changed) {
    super("references", "Reference pictures", "What is painted takes after them.", changed);
  }

  offer({ references }) {
    this.#offered = references;
    this.element.hidden = !references;
  }

  usual() {
    return { weight: this.#offered.default_weight };
  }

  bounds() {
    return { weight: { minimum: 0, maximum: this.#offered.max_weight } };
  }

  extras() {
    return [];
  }
}

/** Pictures whose lines, depths or poses a ControlNet follows. */
export class Controls extends Guides {
  part = "control_image";
  stem = "control";
  #types = {};
  #preprocessors = [];
  #keys = {};

  constructor(changed) {
    super("controls", "Control pictures", "What is painted follows them, as a ControlNet sees them.", changed);
  }

  /** `keys` are the schemas of what an entry says. */
  offer({ controls, preprocessors }, keys) {
    this.#keys = keys;
    this.#types = controls ?? {};
    this.#preprocessors = preprocessors ?? [];
    this.element.hidden = !controls;
  }

  usual() {
    return { type: Object.keys(this.#types)[0], weight: 1, start: 0, end: 1 };
  }

  bounds() {
    return this.#keys;
  }

  extras(entry) {
    const modes = make("div");
    const showModes = () => {
      const { modes: offered = [] } = this.#types[entry.said.type] ?? {};
      if (!offered.includes(entry.said.mode)) delete entry.said.mode;
      const choices = [["as the server is set", ""], ...offered.map((one) => [one, one])];
      modes.replaceChildren(...(offered.length ? [this.choice(entry, "mode", choices)] : []));
    };
    showModes();
    const preprocessors = this.#preprocessors.map((one) => [one, one]);
    const made = [["as the server is set", ""], ["none: it is the map itself", false], ...preprocessors];
    return [
      this.choice(entry, "type", Object.keys(this.#types).map((one) => [one, one]), showModes),
      modes,
      this.choice(entry, "preprocess", made),
      this.number(entry, "start", this.#keys.start),
      this.number(entry, "end", this.#keys.end),
    ];
  }
}
