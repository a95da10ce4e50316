// The view for editing by hand: a picture, its mask, what is to become of it, and what came of it.

import { Blend } from "./blend.js";
import { Board } from "./board.js";
import { compared } from "./compare.js";
import { button } from "./dom.js";
import { EditForm } from "./edit_form.js";
import { Controls, References, named } from "./guides.js";
import { ELSEWHERE, More } from "./more.js";
import { paintAll } from "./paint.js";
import { EDITS, VARIATIONS, fields, openapi } from "./schema.js";
import { Refused, call, inPath, json } from "./server.js";
import { MaskTools, Room } from "./tools.js";

const PATHS = { edit: EDITS, vary: VARIATIONS };
const FIRST = ["strength", "size", "quality"];
const isFirst = (name) => FIRST.includes(name);
const isFeather = (name) => name === "seam";
const isRest = (name) => !ELSEWHERE.has(name) && !isFirst(name) && !isFeather(name);
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
  #path = EDITS;
  #running = null;
  #changes = () => this.#changed();
  #references = new References(this.#changes);
  #controls = new Controls(this.#changes);
  #board = new Board(this.#changes);
  #tools = new MaskTools(this.#board);
  #room = new Room(this.#board);
  #form = new EditForm({
    board: this.#board.element,
    tools: this.#tools.element,
    rectangle: this.#tools.rectangle(),
    room: this.#room.element,
    references: this.#references.element,
    controls: this.#controls.element,
  });
  #blend = new Blend(this.#form.chips, this.#changes, this.#form.prompt);
  #mores = [
    this.#more(this.#form.feather, isFeather, { seam: "Feather (seam)" }),
    this.#more(this.#form.first, isFirst),
    this.#more(this.#form.rest, isRest),
  ];

  constructor(place, page) {
    this.#place = place;
    this.#page = page;
    place.append(this.#form.element);
    this.#listen();
    this.#listenForPictures();
  }

  #more(place, wanted, names) {
    return new More(place, this.#changes, { path: EDITS, wanted, names, ids: "edit" });
  }

  #listen() {
    const { element, base, lora, cancel, code, kinds } = this.#form;
    element.addEventListener("submit", (event) => this.#paint(event));
    element.addEventListener("input", this.#changes);
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#paint(event);
    });
    addEventListener("keydown", (event) => this.#place.hidden || this.#tools.key(event));
    base.addEventListener("change", () => this.refresh());
    lora.addEventListener("change", () => this.#addLora());
    code.addEventListener("toggle", this.#changes);
    cancel.addEventListener("click", () => this.#running?.abort());
    for (const [kind, tab] of Object.entries(kinds)) {
      tab.addEventListener("click", () => {
        this.#path = PATHS[kind];
        this.refresh();
      });
    }
  }

  #listenForPictures() {
    const { element, image } = this.#form;
    image.addEventListener("change", () => image.files.length && this.open(image.files[0]));
    element.addEventListener("dragover", (event) => {
      if (event.dataTransfer.types.includes("Files")) event.preventDefault();
      element.classList.add("over");
    });
    for (const end of ["dragleave", "drop"]) element.addEventListener(end, () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => this.#given(event, event.dataTransfer));
    addEventListener("paste", (event) => this.#place.hidden || this.#given(event, event.clipboardData));
  }

  #refuse(error) {
    this.#page.refuse(error, this.#form.element);
  }

  // ---- what may be asked for

  /** Brings it up to date with what the server offers. */
  async refresh() {
    try {
      await this.#page.showModels(this.#form.base, this.#form.lora);
      await this.#offer();
    } catch (error) {
      this.#refuse(error);
    }
  }

  async #offer() {
    const model = this.#model() || this.#form.base.options[1]?.value;
    const { capabilities = {} } = model ? await json(`v1/models/${inPath(model)}`) : {};
    const known = await fields(this.#path);
    for (const { element } of [this.#tools, this.#room]) element.hidden = !known.has(element.dataset.field);
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
    const { value } = this.#form.lora;
    this.#form.lora.value = "";
    try {
      if (value) await this.#blend.choose(value);
    } catch (error) {
      this.#refuse(error);
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
    const { element, easel, about } = this.#form;
    this.#page.forgive(element);
    easel.hidden = false;
    try {
      await this.#board.open(file);
      const { width, height } = this.#board.size;
      about.textContent = `${file.name}, ${width}x${height}`;
    } catch {
      const message = `This browser cannot read ${file.name || "it"} as a picture.`;
      this.#refuse(new Refused(0, { message, param: "image" }));
    }
    easel.hidden = !this.#board.file;
  }

  // ---- what the request will be

  #model() {
    return [this.#form.base.value, ...this.#blend.parts()].filter(Boolean).join("+");
  }

  #asked() {
    const { padding, marks } = this.#board;
    const { prompt, seed } = this.#form;
    return {
      ...((marks || prompt.value) && { prompt: prompt.value }),
      ...(this.#model() && { model: this.#model() }),
      ...(seed !== null && { seed }),
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

  async #changed() {
    if (!view) return;
    const { code, files, kinds, n, name } = this.#form;
    this.#tools.show();
    this.#room.show();
    for (const [kind, tab] of Object.entries(kinds)) tab.ariaPressed = String(PATHS[kind] === this.#path);
    name.textContent = this.#model() ? JSON.stringify(this.#model()) : "the server's default";
    if (!code.open) return;
    const [written, edits] = await Promise.all([import("./code.js"), import("./edit_code.js")]);
    const parts = this.#parts();
    files.replaceChildren(...parts.map((part) => button(`Download ${part.name}`, () => download(part))));
    await written.show(code, { ...this.#asked(), n }, this.#path, edits.kinds(this.#path, parts));
  }

  // ---- painting

  async #paint(event) {
    event.preventDefault();
    if (this.#running) return;
    this.#page.forgive(this.#form.element);
    if (!this.#board.file) return this.#refuse(new Refused(0, { message: "Choose a picture first.", param: "image" }));
    this.#running = new AbortController();
    this.#form.busy(true);
    try {
      const told = await paintAll(await this.#workshop(), this.#asked(), this.#form.n);
      this.#form.tell(told.summary);
      if (told.refused) this.#refuse(told.refused);
    } finally {
      this.#running = null;
      this.#form.busy(false);
    }
  }

  async #workshop() {
    const parts = await Promise.all(this.#parts().map(whole));
    const before = await this.#board.before();
    return {
      call,
      list: this.#form.pictures,
      path: this.#path,
      streams: (await fields(this.#path)).has("stream"),
      bodyOf: (said) => formOf(said, parts),
      signal: this.#running.signal,
      does: {
        keepSeed: (seed) => {
          this.#form.seed = seed;
          this.#changed();
        },
        edit: (file) => this.open(file).then(() => this.#form.element.scrollIntoView()),
        frame: (image) => compared(before, image),
      },
    };
  }
}

const whole = async (part) => ({ ...part, file: part.file instanceof Blob ? part.file : await part.file() });

function formOf(said, parts) {
  const form = new FormData();
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  for (const [name, value] of Object.entries(said)) form.append(name, text(value));
  for (const { field, file, name } of parts) form.append(field, file, name);
  return form;
}

async function download(part) {
  const { file, name } = await whole(part);
  const address = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
