// The LoRAs of the shelf: each with its load report, brought into a blend, described, removed; new ones come in.

import { button, make } from "./dom.js";
import { keeping } from "./keep.js";
import { Row, size, told } from "./row.js";
import { Rows } from "./rows.js";
import { inPath, json } from "./server.js";

const TEMPLATE = "v1/loras/{name}";
const pathOf = (name) => TEMPLATE.replace("{name}", () => inPath(name));

export class Loras {
  #page;
  #changed;
  #may = false;
  #upload = make("div");

  /** `changed` is called when there is another LoRA, or one less. */
  constructor(page, changed) {
    this.#page = page;
    this.#changed = changed;
    this.rows = new Rows("LoRAs", (card) => this.#row(card), wordsOf);
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
    this.#upload.replaceChildren(uploadForm(this.#page, { what: "LoRA", path: "v1/loras", replaceable: true }, this.#changed));
  }

  #row(card) {
    return new Row(card, factsOf, (row) => this.#inside(row), this.#page.refuse);
  }

  async #inside(row) {
    const { id } = row.card;
    const lora = await json(pathOf(id));
    row.update({ ...row.card, ...lora });
    const { buttons, editor } = this.#may && lora.in_folder ? this.#keeping(row) : { buttons: [], editor: "" };
    const blend = button("Blend it", () => this.#page.take({ lora: id }));
    return [...about(lora), make("div", { className: "buttons" }, blend, ...buttons), editor];
  }

  #keeping(row) {
    const { id } = row.card;
    const question = `Delete the LoRA ${id}, its file and its side-car?`;
    return keeping(row, { path: pathOf(id), template: TEMPLATE, question, page: this.#page, gone: this.#changed });
  }
}

const wordsOf = ({ id, description, base_family: family, dialect, trigger_words: words }) =>
  [id, description, family ?? "", dialect ?? "", ...words];

function factsOf({ base_family: family, dialect, ranks, dtype, bytes }) {
  const few = ranks.length > 3 ? `${ranks[0]} to ${ranks.at(-1)}` : ranks.join(", ");
  return [family, dialect, few && `rank ${few}`, dtype, size(bytes)];
}

/** What the server tells of it, the load report too. */
function about({ description, trigger_words: words, weight, recommended, report, problem, metadata, ...rest }) {
  const used = rest.last_used && new Date(rest.last_used * 1000).toLocaleString();
  return [
    ...(problem ? [make("p", { className: "error", textContent: problem })] : []),
    ...(description ? [make("p", { textContent: description })] : []),
    told([["trigger words", words.join(", ")], ["weight", weight], ...Object.entries(recommended), ["last used", used]]),
    ...(report ? [make("details", {}, make("summary", { textContent: `Load report on ${rest.checkpoint}` }), reported(report))] : []),
    ...(Object.keys(metadata).length
      ? [make("details", {}, make("summary", { textContent: "What the file says of itself" }), told(Object.entries(metadata)))]
      : []),
    told([["digest", rest.digest]]),
  ];
}

function reported(report) {
  const counted = (of) => Object.entries(of).map(([name, count]) => `${count} ${name}`).join(", ");
  const unmatched = report.unmatched_count && [report.unmatched_count, ...report.unmatched].join(", ");
  return told([
    ["dialect", report.dialect], ["layers", counted(report.parts)], ["algorithms", counted(report.algorithms)],
    ["ranks", report.ranks.join(", ")], ["tensors used", report.matched_count], ["tensors not used", unmatched || ""],
    ["embeddings", report.embeddings.join(", ")], ["notes", report.notes.join(" ")],
  ]);
}
