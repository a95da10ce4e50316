// The form of the view for editing: what there is to fill in, and where what came of it is shown.

import { button, field, make } from "./dom.js";

export class EditForm {
  image = make("input", { type: "file", id: "edit-image", accept: "image/png,image/jpeg,image/webp" });
  about = make("p", { className: "hint" });
  prompt = make("textarea", { id: "edit-prompt", rows: 3, placeholder: "what is to be there instead" });
  base = make("select", { id: "edit-base" }, new Option("the server's default", ""));
  lora = make("select", { id: "edit-lora" }, new Option("choose one to add", ""));
  chips = make("ul", { id: "edit-chips", className: "chips", ariaLabel: "LoRAs in the blend" });
  name = make("output", { htmlFor: "edit-base edit-lora" });
  // For fields that are made of the server's document.
  feather = make("div");
  first = make("div", { className: "first" });
  rest = make("div", { className: "fields" });
  kinds = { edit: button("Edit", () => {}), vary: button("Vary", () => {}) };
  cancel = button("Cancel", () => {}, { disabled: true });
  files = make("div", { className: "bar" });
  pictures = make("ol", { className: "pictures" });
  #n = make("input", { id: "edit-n", type: "number", min: 1, max: 10, value: 1 });
  #seed = make("input", { id: "edit-seed", type: "number", min: 0, placeholder: "drawn" });
  #lock = make("input", { type: "checkbox" });
  #submit = make("button", { type: "submit", textContent: "Paint", title: "Ctrl+Enter" });
  #status = make("p", { role: "status" });
  #empty = make("p", { className: "empty", textContent: "What becomes of your picture appears here." });

  /** Takes the elements of the parts that are made elsewhere. */
  constructor({ board, tools, rectangle, room, references, controls }) {
    this.easel = make("div", { className: "easel", hidden: true }, tools, board, room, this.feather, rectangle);
    const title = make("summary", { textContent: "Take it home: this request as code" });
    this.code = make("details", {}, title, make("div", { className: "code" }), this.files);
    const image = field("image", "Drop, paste or choose a picture", this.image, this.about);
    const came = make("section", { ariaLabel: "Pictures" }, this.pictures, this.#empty);
    const said = this.#said(references, controls);
    this.element = make("form", { className: "edit", noValidate: true, ariaLabel: "Edit" },
      make("div", { className: "card" }, image, this.easel), said, came);
    this.#seed.addEventListener("input", () => (this.#lock.checked = this.#seed.value !== ""));
  }

  #said(references, controls) {
    const model = field("model", "Model", this.base,
      make("label", { htmlFor: "edit-lora", textContent: "Blend in a LoRA" }), this.lora, this.chips,
      make("p", { className: "name" }, "model = ", this.name));
    return make("div", { className: "card said" },
      make("div", { className: "tabs", role: "group", ariaLabel: "What is done" }, this.kinds.edit, this.kinds.vary),
      field("prompt", "Prompt", this.prompt),
      model,
      make("div", { className: "row" }, this.first, field("n", "Pictures", this.#n), this.#seedField()),
      references,
      controls,
      make("details", {}, make("summary", { textContent: "More" }), this.rest),
      make("p", { className: "error", role: "alert", hidden: true }),
      make("div", { className: "buttons" }, this.#submit, this.cancel, this.#status),
      this.code);
  }

  #seedField() {
    const keep = make("label", { className: "lock" }, this.#lock, " keep");
    const made = field("seed", "Seed", this.#seed);
    const joined = make("div", { className: "joined" });
    this.#seed.replaceWith(joined);
    joined.append(this.#seed, keep);
    return made;
  }

  /** How many pictures; nothing said is one. */
  get n() {
    return this.#n.value === "" ? 1 : Number(this.#n.value);
  }

  /** The one to keep, null where one is to be drawn. */
  get seed() {
    return this.#lock.checked && this.#seed.value !== "" ? Number(this.#seed.value) : null;
  }

  set seed(seed) {
    this.#seed.value = seed;
    this.#lock.checked = true;
  }

  busy(yes) {
    this.#submit.disabled = yes;
    this.cancel.disabled = !yes;
    this.#empty.hidden = true;
    if (yes) this.tell("Painting …");
  }

  tell(word) {
    this.#status.textContent = word;
  }
}
