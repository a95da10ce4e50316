// A kind of thing on the shelf: its rows, what each shows when it is opened, and for whoever may, how another comes.

import { make } from "./dom.js";
import { keeping } from "./keep.js";
import { Row } from "./row.js";
import { Rows } from "./rows.js";
import { inPath } from "./server.js";

export class Shelved {
  #kind;
  #page;
  #changed;
  #may = false;
  #upload = make("div");

  /**
   * `kind` has a `label` for the list; `what` one is called, the `path` where all are, what is `gone` with one, and
   * whether one is `replaceable`; `facts(card)` for a row and `words(card)` to search through; and `inside(row, page)`,
   * what an opened row has `told`, and the button to `use` it. `changed` is called when there is another, or one less.
   */
  constructor(kind, page, changed) {
    this.#kind = kind;
    this.#page = page;
    this.#changed = changed;
    const rowOf = (card) => new Row(card, kind.facts, (row) => this.#inside(row), page.refuse);
    this.rows = new Rows(kind.label, rowOf, kind.words);
    this.elements = [this.#upload, ...this.rows.elements];
  }

  /** Whether this key may change anything. */
  async allow(may) {
    if (may === this.#may) return;
    this.#may = may;
    this.rows.forget();
    this.#upload.replaceChildren();
    if (!may) return;
    const { uploadForm } = await import("./upload.js");
    this.#upload.replaceChildren(uploadForm(this.#page, this.#kind, this.#changed));
  }

  async #inside(row) {
    const { told, use } = await this.#kind.inside(row, this.#page);
    const { buttons, editor } = this.#may && row.card.in_folder ? this.#keeping(row) : { buttons: [], editor: "" };
    return [...told, make("div", { className: "buttons" }, use, ...buttons), editor];
  }

  #keeping(row) {
    const { id } = row.card;
    const { path: all, what, gone } = this.#kind;
    const question = `Delete the ${what} ${id}, ${gone}?`;
    const [path, template] = [`${all}/${inPath(id)}`, `${all}/{name}`];
    return keeping(row, { path, template, question, page: this.#page, gone: this.#changed });
  }
}
