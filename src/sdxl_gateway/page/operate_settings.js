// By which settings the server runs, and when a change of each holds. What is secret is masked by the server already.

import { field, make } from "./dom.js";
import { Table } from "./table.js";

const APPLIES = { reload: "SIGHUP", restart: "a restart" };

export class Panel {
  polled = false;
  #settings = [];
  #search = make("input", { id: "settings-search", type: "search", spellcheck: false, placeholder: "part of a name or a value" });
  #set = make("input", { id: "settings-set", type: "checkbox" });
  #table = new Table("Settings in force, and after what a change of each holds", [
    { title: "setting", mono: true, of: ({ id }) => id },
    { title: "value", mono: true, of: valueOf },
    { title: "set", of: ({ is_default: usual }) => (usual ? "the default" : "by you") },
    { title: "after", of: ({ applies }) => APPLIES[applies] },
  ], "No setting is called so.");

  constructor() {
    const only = make("label", { className: "lock" }, this.#set, " only those that were set");
    for (const control of [this.#search, this.#set]) control.addEventListener("input", () => this.#show());
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Settings" }),
      make("div", { className: "row filters" }, field("search", "Search", this.#search), only), this.#table.element);
  }

  async refresh(ask) {
    const { data } = await ask("v1/admin/settings");
    this.#settings = data.map((one) => ({ ...one, id: one.key }));
    this.#show();
  }

  #show() {
    const words = this.#search.value.trim().toLowerCase();
    const fits = (one) => `${one.key} ${valueOf(one)}`.toLowerCase().includes(words) && !(this.#set.checked && one.is_default);
    this.#table.show(this.#settings.filter(fits));
  }
}

function valueOf({ value, secret }) {
  if (secret) return value === null || value.length === 0 ? "not set" : Array.isArray(value) ? `${value.length} set, hidden` : "set, hidden";
  if (value === null || value === "") return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}
