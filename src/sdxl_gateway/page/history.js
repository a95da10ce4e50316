// What was painted here: shown with its recipe, painted again, or from another seed; recipes are read out of files too.

import { button, make } from "./dom.js";
import { MOST_BYTES, MOST_PICTURES, clear, forget, keep, keeping, kept } from "./kept.js";
import { paintAll } from "./paint.js";
import { EDITS, GENERATIONS, VARIATIONS } from "./schema.js";
import { call } from "./server.js";
import { sure } from "./sure.js";

const NO_PICTURES = "It was made from pictures that are not kept here: paint it from them in the view for editing.";
let view = null;

export async function show(place, page) {
  view ??= new History(place, page);
  await view.refresh();
}

class History {
  #page;
  #urls = [];
  #status = make("p", { role: "status" });
  #error = make("p", { className: "error", role: "alert", hidden: true });
  #painting = make("div");
  #read = make("ol", { className: "pictures", ariaLabel: "Files that were read" });
  #kept = make("ol", { className: "pictures", ariaLabel: "Kept pictures" });
  #empty = make("p", { className: "empty", textContent: "Nothing is kept yet. What you paint appears here." });

  constructor(place, page) {
    this.#page = page;
    this.place = make("section", { ariaLabel: "History" }, this.#tools(), this.#painting, this.#read, this.#kept, this.#empty);
    this.place.addEventListener("dragover", (event) => event.preventDefault());
    this.place.addEventListener("drop", (event) => this.#dropped(event));
    place.append(this.place);
  }

  /** Shows what is kept now, and says so where the server is away. */
  async refresh() {
    this.#error.hidden = true;
    await this.#list().catch(() => this.#say("This browser keeps nothing for this page."));
    const away = "What is kept can still be looked at.";
    await call("healthz").catch(({ message }) => this.#say(`${message} ${away}`));
  }

  async #list() {
    const all = await kept();
    const bytes = all.reduce((sum, one) => sum + one.bytes, 0);
    this.#urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    this.#kept.replaceChildren(...all.map((one) => this.#entry(one, this.#urls)));
    this.#empty.hidden = all.length > 0;
    this.#status.textContent = `${all.length} of at most ${MOST_PICTURES} pictures, ${mega(bytes)} of ${mega(MOST_BYTES)}.`;
  }

  #say(message) {
    this.#error.textContent = message;
    this.#error.hidden = false;
  }

  // ---- what can be done with all

  #tools() {
    const hint = "Kept in this browser alone: whoever uses it can see them. The oldest go when there are too many.";
    return make("div", { className: "card tools" },
      make("div", { className: "buttons" }, this.#status, this.#switch(), button("Clear the history", () => this.#clear())),
      make("p", { className: "hint", textContent: hint }),
      this.#reader(),
      this.#error);
  }

  #switch() {
    const box = make("input", { type: "checkbox", id: "keep-pictures", checked: keeping.get() });
    box.addEventListener("change", () => keeping.set(box.checked));
    return make("label", { className: "lock" }, box, "Keep what is painted");
  }

  #reader() {
    const id = "recipe-file";
    const input = make("input", { type: "file", id, accept: "image/png,image/jpeg,image/webp" });
    input.addEventListener("change", () => this.#readFile(input.files[0]).finally(() => (input.value = "")));
    const label = make("label", { htmlFor: id, textContent: "Read the recipe of a picture: choose one, or drop it here" });
    return make("div", { className: "field" }, label, input);
  }

  async #clear() {
    if (!(await sure("Forget all pictures that are kept in this browser?", "Forget them all"))) return;
    await clear();
    await this.#list();
  }

  #dropped(event) {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file) this.#readFile(file);
  }

  /** Shows what a file says of how it was made. */
  async #readFile(file) {
    this.#error.hidden = true;
    try {
      const body = new FormData();
      body.append("image", file);
      const { recipe, parameters } = await (await call("v1/images/recipe", { body })).json();
      this.#read.prepend(this.#entry({ picture: file, request: {}, inputs: [], told: { recipe, parameters } }));
    } catch (error) {
      this.#page.refuse(error, this.place);
    }
  }

  // ---- one picture

  #entry(record, urls = []) {
    const { picture, told } = record;
    const { recipe, parameters = "" } = told;
    const url = URL.createObjectURL(picture);
    urls.push(url);
    const image = make("img", { src: url, loading: "lazy", alt: recipe?.prompt || "A picture without a prompt" });
    const said = make("p", { className: "prompt", textContent: recipe?.prompt ?? parameters });
    const about = make("div", { className: "about" }, make("p", { textContent: headline(record) }), said, recipeOf(told));
    const element = make("li", {}, image, about);
    about.append(this.#actions(record, url, element));
    return element;
  }

  #actions(record, url, element) {
    const { told, id } = record;
    const again = told.recipe
      ? [button("Paint again", () => this.#again(record, element)), button("Another seed", () => this.#another(record))]
      : [];
    const name = `picture-${told.seed ?? told.recipe?.seed ?? "read"}.${record.picture.type.split("/")[1] ?? "png"}`;
    const gone = async () => {
      if (id !== undefined) await forget(id);
      element.remove();
      if (id !== undefined) await this.#list();
    };
    const file = new File([record.picture], name, { type: record.picture.type });
    const save = make("a", { className: "button", href: url, download: name, textContent: "Download" });
    const others = [button("Edit this", () => this.#page.edit(file)), save, button("Delete", gone)];
    return make("div", { className: "actions" }, ...again, ...others);
  }

  /** From the same recipe; the same picture is told, and not kept twice. */
  #again(record, element) {
    return this.#paint(record, {}, async (made) => {
      const same = await areEqual(made.picture, record.picture);
      element.querySelector(".same")?.remove();
      const verdict = same ? "Painted again: the same picture, bit for bit." : "Painted again: another picture came out.";
      element.querySelector(".about").prepend(make("p", { className: "same", role: "status", textContent: verdict }));
      if (!same) await keep(made);
      return same;
    });
  }

  #another(record) {
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    return this.#paint(record, { seed }, async (made) => {
      await keep(made);
      if (keeping.get()) await this.#list();
      return keeping.get();
    });
  }

  /** `keep` says whether what came out stands somewhere by then. */
  async #paint({ told: { recipe }, request, inputs }, change, keep) {
    this.#error.hidden = true;
    const fromPictures = recipe.task !== "text_to_image";
    if (fromPictures && !inputs.length) return this.#say(NO_PICTURES);
    const bodyOf = ({ prompt: _, ...body }) => (fromPictures ? formOf(body, inputs) : body);
    const list = make("ol", { className: "pictures", ariaLabel: "Being painted" });
    this.#painting.prepend(list);
    const path = pathOf(recipe);
    const kept = async (made) => (await keep(made)) && list.remove();
    const room = { call, list, path, streams: path !== VARIATIONS, bodyOf, keep: kept, does: this.#page };
    const { refused } = await paintAll(room, { prompt: recipe.prompt, recipe, ...fileOf(request), ...change }, 1);
    if (refused) this.#page.refuse(refused, this.place);
  }
}

/** Where such a recipe is painted: an edit has a prompt, a variation has none. */
function pathOf({ task, prompt }) {
  if (task === "text_to_image") return GENERATIONS;
  return prompt ? EDITS : VARIATIONS;
}

const mega = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 1e7 ? 1 : 0)} MiB`;

function headline({ at, told: { recipe, size, warnings = [] } }) {
  if (!recipe) return "Made by another tool.";
  const when = at === undefined ? "read from a file" : new Date(at).toLocaleString();
  const model = [recipe.checkpoint, ...(recipe.loras ?? []).map(({ name, weight }) => `${name}:${weight}`)].join("+");
  return [when, model, size ?? recipe.size, `seed ${recipe.seed}`, ...warnings].filter(Boolean).join(" · ");
}

function recipeOf({ recipe, parameters }) {
  const text = recipe ? JSON.stringify(recipe, null, 2) : parameters;
  const pre = make("pre", { tabIndex: 0, ariaLabel: "Recipe", textContent: text });
  return make("details", {}, make("summary", { textContent: "Recipe" }), pre);
}

/** What a recipe does not hold: how the picture is written down. */
function fileOf(request) {
  const names = ["output_format", "output_compression", "embed_recipe"];
  return Object.fromEntries(names.filter((name) => name in request).map((name) => [name, request[name]]));
}

function formOf(body, inputs) {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) {
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  for (const [name, file] of inputs) form.append(name, file, file.name);
  return form;
}

async function areEqual(one, other) {
  const [left, right] = await Promise.all([pixelsOf(one), pixelsOf(other)]);
  return left.length === right.length && left.every((value, place) => value === right[place]);
}

async function pixelsOf(picture) {
  const bitmap = await createImageBitmap(picture, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  return canvas.getImageData(0, 0, bitmap.width, bitmap.height).data;
}
