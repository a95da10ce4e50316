// The LoRAs and checkpoints of the server as they lie there now; who may adds LoRAs, describes and removes them.

import { button, make } from "./dom.js";
import { Loras } from "./loras.js";
import { Row, told } from "./row.js";
import { Rows } from "./rows.js";
import { inPath, json } from "./server.js";

const LOOK_MS = 5000;
// Long lists are asked for less often: most of the time the server has rest.
const REST = 20;
let view = null;

export async function show(place, page) {
  view ??= new Shelf(place, page);
  await view.refresh();
}

class Shelf {
  #page;
  #timer = null;
  #may = null;
  #error = make("p", { className: "error", role: "alert", hidden: true });
  #rights = make("p", { className: "hint" });

  constructor(place, page) {
    this.#page = page;
    this.place = place;
    this.loras = new Loras(page, () => this.#load());
    this.checkpoints = new Rows("Checkpoints", (card) => this.#checkpoint(card), (card) => [card.id, card.description]);
    const search = make("input", { type: "search", id: "shelf-search", placeholder: "name, word or family" });
    search.addEventListener("input", () => [this.loras.rows, this.checkpoints].forEach((rows) => rows.search(search.value)));
    place.append(
      make("div", { className: "field" }, make("label", { htmlFor: search.id, textContent: "Search" }), search, this.#error),
      make("section", { className: "card", ariaLabel: "LoRAs" },
        make("h2", { textContent: "LoRAs" }), this.#rights, ...this.loras.elements),
      make("section", { className: "card", ariaLabel: "Checkpoints" },
        make("h2", { textContent: "Checkpoints" }), ...this.checkpoints.elements));
  }

  /** Shows all anew, and goes on looking for as long as the view is open. */
  async refresh() {
    clearTimeout(this.#timer);
    const began = performance.now();
    if (!this.place.hidden && !document.hidden) await this.#look();
    const wait = Math.max(LOOK_MS, REST * (performance.now() - began));
    this.#timer = setTimeout(() => this.refresh(), wait);
  }

  async #look() {
    try {
      await this.#load();
      this.#error.hidden = true;
    } catch (error) {
      if (this.#error.hidden || this.#error.textContent !== error.message) this.#page.refuse(error, this.place);
    }
  }

  async #load() {
    const [{ roles }, loras, checkpoints] = await Promise.all(["v1/key", "v1/loras", "v1/checkpoints"].map(json));
    this.#allow(roles.includes("admin") || roles.includes("manage-loras"));
    this.loras.rows.show(loras);
    this.checkpoints.show(checkpoints);
  }

  /** What the key is not good for is not offered. */
  #allow(may) {
    if (may === this.#may) return;
    this.#may = may;
    this.loras.allow(may);
    const needed = "To add, describe or remove LoRAs takes a key with the role manage-loras. ";
    this.#rights.replaceChildren(...(may ? [] : [needed, button("Use another key", () => this.#page.askForKey(""))]));
  }

  #checkpoint(card) {
    const facts = ({ native_pixels: pixels, configured }) => [
      `made for ${Math.round(Math.sqrt(pixels))} pixels a side`, configured ? "from the settings" : "from the folder",
    ];
    return new Row(card, facts, (row) => this.#inCheckpoint(row.card), this.#page.refuse);
  }

  async #inCheckpoint({ id, description, digest, recommended }) {
    const { capabilities } = await json(`v1/models/${inPath(id)}`);
    const can = make("pre", { tabIndex: 0, ariaLabel: "Capabilities", textContent: JSON.stringify(capabilities, null, 2) });
    return [
      make("p", { textContent: description }),
      told([...Object.entries(recommended), ["digest", digest]]),
      make("details", {}, make("summary", { textContent: "What it can do" }), can),
      make("div", { className: "buttons" }, button("Paint with it", () => this.#page.take({ base: id }))),
    ];
  }
}
