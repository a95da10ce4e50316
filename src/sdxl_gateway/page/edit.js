// The view for editing by hand: a picture, its mask, what is to become of it, and what came of it.

import { Blend } from "./blend.js";
import { Board } from "./board.js";
import { compared } from "./compare.js";
import { button, field, make } from "./dom.js";
import { Controls, References, named } from "./guides.js";
import { ELSEWHERE, More } from "./more.js";
import { paintAll } from "./paint.js";
import { EDITS, VARIATIONS, fields, openapi } from "./schema.js";
import { Refused, call, inPath, json } from "./server.js";
import { MaskTools, Room } from "./tools.js";

const FIRST = ["strength", "size", "quality"];
const isFeather = (name) => name === "seam";
const isRest = (name) => !ELSEWHERE.has(name) && !FIRST.includes(name) && !isFeather(name);
let view = null;
let brought = null;

/** The next time it is shown, this picture is edited. */
export function bring(file) {
  brought = file;
}

export async function show(place, page) {
  view ??= new Edit(place, page);
  const file = brought;
  brought = null;
  await view.refresh();
  if (file) await view.open(file);
}

class Edit {
  #place;
  #page;
  #form;
  #path = EDITS;
  #running = null;

  // What is said.
  #image = make("input", { type: "file", id: "edit-image", accept: "image/png,image/jpeg,image/webp" });
  #about = make("p", { className: "hint" });
  #prompt = make("textarea", { id: "edit-prompt", rows: 3, placeholder: "what is to be there instead" });
  #base = make("select", { id: "edit-base" }, new Option("the server's default", ""));
  #lora = make("select", { id: "edit-lora" }, new Option("choose one to add", ""));
  #chips = make("ul", { id: "edit-chips", className: "chips", ariaLabel: "LoRAs in the blend" });
  #name = make("output", { htmlFor: "edit-base edit-lora" });
  #n = make("input", { id: "edit-n", type: "number", min: 1, max: 10, value: 1 });
  #seed = make("input", { id: "edit-seed", type: "number", min: 0, placeholder: "drawn" });
  #lock = make("input", { type: "checkbox" });
  #blend = new Blend(this.#chips, () => this.#changed(), this.#prompt);
  #references = new References(() => this.#changed());
  #controls = new Controls(() => this.#changed());
  #board = new Board(() => this.#changed());
  #places = { feather: make("div"), first: make("div", { className: "row" }), rest: make("div", { className: "fields" }) };
  #mores = [
    this.#more("feather", isFeather, { seam: "Feather (seam)" }),
    this.#more("first", (name) => FIRST.includes(name)),
    this.#more("rest", isRest),
  ];
  #tools = new MaskTools(this.#board);
  #room = new Room(this.#board);

  // What is done, and what came of it.
  #easelled = make("div", { className: "easel" },
    this.#tools.element, this.#board.element, this.#room.element, this.#places.feather, this.#tools.rectangle());
  #kinds = { Edit: this.#kind("Edit", EDITS), Vary: this.#kind("Vary", VARIATIONS) };
  #submit = make("button", { type: "submit", textContent: "Paint", title: "Ctrl+Enter" });
  #cancel = button("Cancel", () => this.#running?.abort(), { disabled: true });
  #status = make("p", { role: "status" });
  #files = make("div", { className: "bar" });
  #code = make("details", {}, make("summary", { textContent: "Take it home: this request as code" }),
    make("div", { className: "code" }), this.#files);
  #pictures = make("ol", { className: "pictures" });
  #empty = make("p", { className: "empty", textContent: "What becomes of your picture appears here." });

  constructor(place, page) {
    this.#place = place;
    this.#page = page;
    this.#form = make("form", { className: "edit", noValidate: true, ariaLabel: "Edit" }, this.#easel(), this.#said(),
      make("section", { ariaLabel: "Pictures" }, this.#pictures, this.#empty));
    place.append(this.#form);
    this.#listen();
  }

  // ---- how it looks

  #easel() {
    this.#easelled.hidden = true;
    return make("div", { className: "card" }, field("image", "Drop, paste or choose a picture", this.#image, this.#about), this.#easelled);
  }

  #said() {
    const model = field("model", "Model", this.#base,
      make("label", { htmlFor: "edit-lora", textContent: "Blend in a LoRA" }), this.#lora, this.#chips,
      make("p", { className: "name" }, "model = ", this.#name));
    const seed = make("div", { className: "joined" }, this.#seed, make("label", { className: "lock" }, this.#lock, " keep"));
    const kinds = make("div", { className: "tabs", role: "group", ariaLabel: "What is done" }, ...Object.values(this.#kinds));
    return make("div", { className: "card said" },
      kinds,
      field("prompt", "Prompt", this.#prompt),
      model,
      this.#places.first,
      make("div", { className: "row" }, field("n", "Pictures", this.#n), seedField(this.#seed, seed)),
      this.#references.element,
      this.#controls.element,
      make("details", {}, make("summary", { textContent: "More" }), this.#places.rest),
      make("p", { className: "error", role: "alert", hidden: true }),
      make("div", { className: "buttons" }, this.#submit, this.#cancel, this.#status),
      this.#code);
  }

  #more(place, wanted, names) {
    return new More(this.#places[place], () => this.#changed(), { path: EDITS, wanted, names, ids: "edit" });
  }

  #kind(name, path) {
    return button(name, () => {
      this.#path = path;
      this.refresh();
    });
  }

  #listen() {
    const form = this.#form;
    form.addEventListener("submit", (event) => this.#paint(event));
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#paint(event);
    });
    form.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
    form.addEventListener("drop", (event) => this.#given(event, event.dataTransfer));
    addEventListener("keydown", (event) => this.#place.hidden || this.#tools.key(event));
    addEventListener("paste", (event) => this.#place.hidden || this.#given(event, event.clipboardData));
    this.#image.addEventListener("change", () => this.#image.files.length && this.open(this.#image.files[0]));
    this.#base.addEventListener("change", () => this.refresh());
    this.#lora.addEventListener("change", () => this.#addLora());
    this.#seed.addEventListener("input", () => (this.#lock.checked = this.#seed.value !== ""));
    this.#code.addEventListener("toggle", () => this.#changed());
  }

  // ---- what may be asked for

  /** Brings it up to date with what the server offers. */
  async refresh() {
    try {
      await this.#page.showModels(this.#base, this.#lora);
      await this.#offer();
    } catch (error) {
      this.#page.refuse(error, this.#form);
    }
  }

  async #offer() {
    const model = this.#model() || this.#base.options[1]?.value;
    const { capabilities = {} } = model ? await json(`v1/models/${inPath(model)}`) : {};
    const known = await fields(this.#path);
    for (const name of ["mask", "padding"]) {
      this.#form.querySelector(`[data-field=${name}]`).hidden = !known.has(name);
    }
    this.#controls.offer(capabilities, (await openapi()).components.schemas.ControlEntry.properties);
    this.#references.offer(capabilities);
    this.#board.marks = known.has("mask");
    this.#board.layOut();
    for (const more of this.#mores) {
      more.path = this.#path;
      await more.offer(capabilities);
    }
  }

  async #addLora() {
    const { value } = this.#lora;
    this.#lora.value = "";
    try {
      if (value) await this.#blend.choose(value);
    } catch (error) {
      this.#page.refuse(error, this.#form);
    }
  }

  // ---- the picture

  #given(event, { files }) {
    const file = [...files].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    this.open(file);
  }

  async open(file) {
    this.#page.forgive(this.#form);
    this.#easelled.hidden = false;
    try {
      await this.#board.open(file);
      const { width, height } = this.#board.size;
      this.#about.textContent = `${file.name}, ${width}x${height}`;
    } catch {
      const message = `This browser cannot read ${file.name || "it"} as a picture.`;
      this.#page.refuse(new Refused(0, { message, param: "image" }), this.#form);
    }
    this.#easelled.hidden = !this.#board.file;
  }

  // ---- what the request will be

  #model() {
    return [this.#base.value, ...this.#blend.parts()].filter(Boolean).join("+");
  }

  #asked() {
    const { padding, marks } = this.#board;
    return {
      ...((marks || this.#prompt.value) && { prompt: this.#prompt.value }),
      ...(this.#model() && { model: this.#model() }),
      ...(this.#lock.checked && this.#seed.value !== "" && { seed: Number(this.#seed.value) }),
      ...(marks && Object.values(padding).some(Boolean) && { padding: { ...padding } }),
      ...Object.assign({}, ...this.#mores.map((more) => more.values())),
      ...this.#references.fields(),
      ...this.#controls.fields(),
    };
  }

  /** Each with its field, its name, and the file itself or who makes it. */
  #parts() {
    const { file, mask, marks, size } = this.#board;
    return [
      ...(file ? [{ field: "image", name: named(file, "image"), file }] : []),
      ...(file && marks && !mask.isBlank ? [{ field: "mask", name: "mask.png", file: () => mask.file(size) }] : []),
      ...this.#references.files(),
      ...this.#controls.files(),
    ];
  }

  /** As app.js has it: one request for each. */
  #number() {
    return this.#n.value === "" ? 1 : Number(this.#n.value);
  }

  async #changed() {
    if (!view) return;
    this.#tools.show();
    this.#room.show();
    for (const [name, path] of [["Edit", EDITS], ["Vary", VARIATIONS]]) this.#kinds[name].ariaPressed = String(path === this.#path);
    this.#name.textContent = this.#model() ? JSON.stringify(this.#model()) : "the server's default";
    if (!this.#code.open) return;
    const [{ show: showCode }, { kinds }] = await Promise.all([import("./code.js"), import("./edit_code.js")]);
    const parts = this.#parts();
    this.#files.replaceChildren(...parts.map((part) => button(`Download ${part.name}`, () => download(part))));
    await showCode(this.#code, { ...this.#asked(), n: this.#number() }, this.#path, kinds(this.#path, parts));
  }

  // ---- painting

  async #paint(event) {
    event.preventDefault();
    if (this.#running) return;
    this.#page.forgive(this.#form);
    if (!this.#board.file) {
      return this.#page.refuse(new Refused(0, { message: "Choose a picture first.", param: "image" }), this.#form);
    }
    this.#running = new AbortController();
    this.#busy(true);
    try {
      const told = await paintAll(await this.#workshop(), this.#asked(), this.#number());
      this.#status.textContent = told.summary;
      if (told.refused) this.#page.refuse(told.refused, this.#form);
    } finally {
      this.#running = null;
      this.#busy(false);
    }
  }

  async #workshop() {
    const parts = await Promise.all(this.#parts().map(whole));
    const before = await this.#board.before();
    return {
      call,
      list: this.#pictures,
      path: this.#path,
      streams: (await fields(this.#path)).has("stream"),
      bodyOf: (said) => formOf(said, parts),
      signal: this.#running.signal,
      does: {
        keepSeed: (seed) => this.#keepSeed(seed),
        edit: (file) => this.open(file).then(() => this.#form.scrollIntoView()),
        frame: (image) => compared(before, image),
      },
    };
  }

  #busy(yes) {
    this.#submit.disabled = yes;
    this.#cancel.disabled = !yes;
    this.#empty.hidden = true;
    if (yes) this.#status.textContent = "Painting …";
  }

  #keepSeed(seed) {
    this.#seed.value = seed;
    this.#lock.checked = true;
    this.#changed();
  }
}

function seedField(input, joined) {
  const error = make("p", { className: "error", id: "edit-seed-error", hidden: true });
  input.setAttribute("aria-describedby", error.id);
  return make("div", { className: "field", "data-field": "seed" }, make("label", { htmlFor: input.id, textContent: "Seed" }), joined, error);
}

const whole = async (part) => ({ ...part, file: part.file instanceof Blob ? part.file : await part.file() });

function formOf(said, parts) {
  const form = new FormData();
  for (const [name, value] of Object.entries(said)) form.append(name, typeof value === "object" ? JSON.stringify(value) : value);
  for (const { field: name, file, name: filename } of parts) form.append(name, file, filename);
  return form;
}

async function download(part) {
  const { file, name } = await whole(part);
  const address = URL.createObjectURL(file);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
