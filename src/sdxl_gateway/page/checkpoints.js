// The checkpoints of the shelf: each with what it can do, painted with, described, removed; new ones come in.

import { button, make } from "./dom.js";
import { keeping } from "./keep.js";
import { Row, told } from "./row.js";
import { Rows } from "./rows.js";
import { inPath, json } from "./server.js";

const TEMPLATE = "v1/checkpoints/{name}";

export class Checkpoints {
  #page;
  #changed;
  #may = false;
  #upload = make("div");

  /** `changed` is called when there is another, or one less. */
  constructor(page, changed) {
    this.#page = page;
    this.#changed = changed;
    this.rows = new Rows("Checkpoints", (card) => this.#row(card), (card) => [card.id, card.description]);
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
    this.#upload.replaceChildren(uploadForm(this.#page, { what: "checkpoint", path: "v1/checkpoints" }, this.#changed));
  }

  #row(card) {
    return new Row(card, factsOf, (row) => this.#inside(row), this.#page.refuse);
  }

  async #inside(row) {
    const { id, description, digest, recommended, in_folder: own } = row.card;
    const { capabilities } = await json(`v1/models/${inPath(id)}`);
    const can = make("pre", { tabIndex: 0, ariaLabel: "Capabilities", textContent: JSON.stringify(capabilities, null, 2) });
    const { buttons, editor } = this.#may && own ? this.#keeping(row) : { buttons: [], editor: "" };
    return [
      make("p", { textContent: description }),
      told([...Object.entries(recommended), ["digest", digest]]),
      make("details", {}, make("summary", { textContent: "What it can do" }), can),
      make("div", { className: "buttons" }, button("Paint with it", () => this.#page.take({ base: id })), ...buttons),
      editor,
    ];
  }

  #keeping(row) {
    const { id } = row.card;
    const path = TEMPLATE.replace("{name}", () => inPath(id));
    const question = `Delete the checkpoint ${id}, all of its files and its side-car?`;
    return keeping(row, { path, template: TEMPLATE, question, page: this.#page, gone: this.#changed });
  }
}

function factsOf({ native_pixels: pixels, configured, in_folder: own }) {
  const from = configured ? "from the settings" : own ? "from the folder" : "from the bucket";
  return [`made for ${Math.round(Math.sqrt(pixels))} pixels a side`, from];
}
