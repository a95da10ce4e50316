// A list of the shelf: its rows as the server tells them now, those that a search fits, and what cannot be used.

import { make } from "./dom.js";

const MOST_SHOWN = 200;
// What can be done about a problem, by its code; its message says what is wrong.
const REMEDIES = {
  invalid_lora: "Put a file in its place that fits, or remove it from the folder.",
  invalid_embedding: "Put a file in its place that fits, or remove it from the folder.",
  invalid_checkpoint: "Put it in the folder anew, whole, or remove it.",
  invalid_sidecar: "The rest of the side-car counts. Correct the key in the file.",
  duplicate_name: "Only one of them can be asked for.",
};

export class Rows {
  #made = new Map();
  #list;
  #rowOf;
  #wordsOf;
  #rest = make("p", { className: "hint" });
  #problems = make("ul");
  #trouble = make("details", { className: "problems", hidden: true }, make("summary"), this.#problems);
  #cards = [];
  #search = "";

  /** `rowOf(card)` makes a row, `wordsOf(card)` gives what a search looks through. */
  constructor(label, rowOf, wordsOf) {
    this.#list = make("ul", { className: "rows", ariaLabel: label });
    this.#rowOf = rowOf;
    this.#wordsOf = wordsOf;
    this.elements = [this.#list, this.#rest, this.#trouble];
  }

  /** Rows that are there stay as they are, opened or not. */
  show({ data, problems }) {
    this.#cards = data;
    for (const card of data) this.#made.get(card.id)?.update(card);
    this.#place();
    this.#tell(problems);
  }

  /** Makes all rows anew: what may be done with them is something else now. */
  forget() {
    this.#made.clear();
    this.#list.replaceChildren();
  }

  search(text) {
    this.#search = text.trim().toLowerCase();
    this.#place();
  }

  #place() {
    const fit = this.#cards.filter((card) => this.#wordsOf(card).join("\n").toLowerCase().includes(this.#search));
    const rows = fit.slice(0, MOST_SHOWN).map((card) => this.#row(card).element);
    const stays = new Set(rows);
    for (const old of [...this.#list.children]) if (!stays.has(old)) old.remove();
    rows.forEach((row, place) => this.#list.children[place] !== row && this.#list.insertBefore(row, this.#list.children[place]));
    this.#rest.textContent = this.#count(fit.length);
  }

  #count(fit) {
    if (!this.#cards.length) return "There are none.";
    if (!fit) return "None fits.";
    return fit > MOST_SHOWN ? `${fit - MOST_SHOWN} more; search for what you want.` : "";
  }

  #row(card) {
    if (!this.#made.has(card.id)) this.#made.set(card.id, this.#rowOf(card));
    return this.#made.get(card.id);
  }

  #tell(problems) {
    this.#trouble.hidden = !problems.length;
    this.#trouble.querySelector("summary").textContent = `Cannot be used, or not wholly: ${problems.length}`;
    this.#problems.replaceChildren(...problems.map(({ file, code, message }) =>
      make("li", {},
        make("strong", { textContent: file }),
        make("p", { textContent: message }),
        make("p", { className: "hint", textContent: REMEDIES[code] ?? code }))));
  }
}
