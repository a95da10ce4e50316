// The LoRAs and checkpoints of the server as they lie there now; who may adds LoRAs, and describes and removes both.

import { button, make } from "./dom.js";
import { CHECKPOINTS } from "./checkpoints.js";
import { LORAS } from "./loras.js";
import { json } from "./server.js";
import { Shelved } from "./shelved.js";

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
  #roles = null;
  #error = make("p", { className: "error", role: "alert", hidden: true });
  #rights = make("p", { className: "hint" });

  constructor(place, page) {
    this.#page = page;
    this.place = place;
    [this.loras, this.checkpoints] = [LORAS, CHECKPOINTS].map((kind) => new Shelved(kind, page, () => this.#load()));
    const search = make("input", { type: "search", id: "shelf-search", placeholder: "name, word or family" });
    search.addEventListener("input", () => [this.loras, this.checkpoints].forEach(({ rows }) => rows.search(search.value)));
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
    this.#allow(roles);
    this.loras.rows.show(loras);
    this.checkpoints.rows.show(checkpoints);
  }

  /** What the key is not good for is not offered. */
  #allow(roles) {
    if (roles.join() === this.#roles) return;
    this.#roles = roles.join();
    const admin = roles.includes("admin");
    const may = admin || roles.includes("manage-loras");
    this.loras.allow(may);
    this.checkpoints.allow(admin);
    const needed = "To add, describe or remove LoRAs takes a key with the role manage-loras. ";
    this.#rights.replaceChildren(...(may ? [] : [needed, button("Use another key", () => this.#page.askForKey(""))]));
  }
}
