// The LoRAs of a blend as chips: each with its weight, its trigger words and a way out.

import { button, make } from "./dom.js";
import { json } from "./server.js";

const MOST = 4;
const known = new Map();

/** What the server tells of LoRAs is asked for anew. */
export const reread = () => known.clear();

export class Blend {
  #list;
  #changed;
  #prompt;
  #weights = new Map();

  /** Trigger words are put into the text area `prompt`. */
  constructor(list, changed, prompt) {
    this.#list = list;
    this.#changed = changed;
    this.#prompt = prompt;
  }

  /** As they stand in a model name. */
  parts() {
    return [...this.#weights].map(([name, weight]) => `${name}:${weight}`);
  }

  /** Throws Refused. */
  async choose(name) {
    if (!known.has(name)) for (const one of (await json("v1/loras")).data) known.set(one.name, one);
    this.#add(name, known.get(name));
  }

  #add(name, about = {}) {
    if (!this.#weights.has(name)) {
      this.#weights.set(name, about.weight ?? 1);
      this.#list.append(this.#chip(name, about));
    }
    this.#changed();
  }

  #chip(name, about) {
    const id = `${this.#list.id}-weight-of-${name}`;
    const weight = this.#weights.get(name);
    const shown = make("output", { className: "weight", textContent: weight });
    const slider = make("input", { type: "range", id, min: -MOST, max: MOST, step: 0.05, value: weight });
    slider.addEventListener("input", () => {
      this.#weights.set(name, Number(slider.value));
      shown.textContent = slider.value;
      this.#changed();
    });
    const remove = make("button", { type: "button", className: "remove", textContent: "×", ariaLabel: `Remove ${name}` });
    const head = make("div", { className: "head" }, make("label", { htmlFor: id, textContent: name }), shown, remove);
    const chip = make("li", {}, head, slider, ...this.#told(about));
    remove.addEventListener("click", () => {
      this.#weights.delete(name);
      chip.remove();
      this.#changed();
    });
    return chip;
  }

  #told({ description, trigger_words: words = [] }) {
    const about = description ? [make("p", { className: "hint", textContent: description })] : [];
    return [...about, ...words.map((word) => this.#word(word))];
  }

  #word(word) {
    return button(`+ ${word}`, () => this.#say(word), { className: "word", title: "Put it into the prompt" });
  }

  /** Once. */
  #say(word) {
    const { value } = this.#prompt;
    if (!value.includes(word)) this.#prompt.value = value.trim() ? `${value.trimEnd()}, ${word}` : word;
    this.#changed();
  }
}
