// A row of the shelf: what something is called, what it is and how near it lies; the rest when it is opened.

import { make } from "./dom.js";

const TIERS = { on: "on", vram: "on the device", host: "in memory", disk: "on disk" };

/** `fill(card)` gives what an opened row shows, `refuse(error, place)` shows why it cannot. */
export class Row {
  #facts = make("span", { className: "hint" });
  #tier = make("span", { className: "tier" });
  #body = make("div", { className: "body" });
  #fill;
  #refuse;

  constructor(card, facts, fill, refuse) {
    this.facts = facts;
    this.#fill = fill;
    this.#refuse = refuse;
    const name = make("span", { className: "what", textContent: card.id });
    this.details = make("details", {}, make("summary", {}, name, this.#facts, this.#tier), this.#body);
    this.details.addEventListener("toggle", () => this.open());
    this.element = make("li", {}, this.details);
    this.update(card);
  }

  /** As the server tells of it now. */
  update(card) {
    const tier = card.on ? "on" : card.tier;
    this.card = card;
    this.#facts.textContent = this.facts(card).filter(Boolean).join(" · ");
    this.#tier.textContent = TIERS[tier] ?? tier;
    this.#tier.dataset.tier = tier;
  }

  /** Fills the row anew, where it is open. */
  async open() {
    if (!this.details.open) return;
    const error = make("p", { className: "error", role: "alert", hidden: true });
    try {
      this.#body.replaceChildren(...(await this.#fill(this)), error);
    } catch (reason) {
      this.#body.replaceChildren(error);
      this.#refuse(reason, this.#body);
    }
  }

  /** Shows at the row why something was not done. */
  refuse(error) {
    this.#refuse(error, this.#body);
  }
}

/** Names with what they stand for; those that stand for nothing are left out. */
export function told(pairs) {
  const said = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", {}, ...said.flatMap(([name, value]) => [
    make("dt", { textContent: name.replaceAll("_", " ") }), make("dd", { textContent: value }),
  ]));
}

export function size(bytes) {
  const unit = ["bytes", "KiB", "MiB", "GiB"][Math.min(3, Math.floor(Math.log2(Math.max(bytes, 1)) / 10))];
  const divisor = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit];
  return `${(bytes / divisor).toFixed(unit === "bytes" ? 0 : 1)} ${unit}`;
}
