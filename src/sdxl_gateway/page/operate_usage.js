// What keys used, day by day, and what that is for each tenant together.

import { make } from "./dom.js";
import { Filters } from "./filters.js";
import { asking, number } from "./said.js";
import { Pager, Table } from "./table.js";

const ROWS = 100;
const COUNTS = [
  { title: "requests", number: true, of: ({ requests }) => number(requests) },
  { title: "pictures", number: true, of: ({ images }) => number(images) },
  { title: "pixel-steps", number: true, of: ({ pixel_steps: steps }) => number(steps) },
];

export class Panel {
  polled = false;
  #pager;
  #filters;
  #missing = make("p", { className: "hint", hidden: true });
  #sums = new Table("By tenant, of the rows below", [{ title: "tenant", of: ({ id }) => id }, ...COUNTS], "Nothing was used.");
  #rows = new Table("By day, tenant and key (days are UTC's)", [
    { title: "day", of: ({ day }) => day },
    { title: "tenant", of: ({ tenant }) => tenant },
    { title: "key", mono: true, of: ({ key_id: key }) => key ?? "none of the store" },
    ...COUNTS,
  ], "Nothing was used.");

  constructor({ look }) {
    this.#pager = new Pager(look);
    this.#filters = new Filters("v1/admin/usage", ["tenant", "key_id"], () => {
      this.#pager.first();
      look();
    });
    const hint = "A pixel-step is one pixel painted in one step: what costs the device more counts more.";
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Usage" }), make("p", { className: "hint", textContent: hint }),
      this.#filters.element, this.#missing, this.#sums.element, this.#rows.element, this.#pager.element);
  }

  async refresh(ask) {
    await this.#filters.ready();
    const list = await ask(asking("v1/admin/usage", { limit: ROWS, ...this.#filters.values(), ...this.#pager.query() }));
    this.#rows.show(list.data);
    this.#sums.show(summed(list.data));
    this.#missing.hidden = !list.missing.length;
    this.#missing.textContent = `Not in it is what was used at ${list.missing.map(({ host }) => host ?? "all other gateways").join(", ")}: no answer.`;
    this.#pager.told(list);
  }
}

function summed(rows) {
  const sums = new Map();
  for (const { tenant: id, requests, images, pixel_steps: steps } of rows) {
    const sum = sums.get(id) ?? { id, requests: 0, images: 0, pixel_steps: 0 };
    sums.set(id, { id, requests: sum.requests + requests, images: sum.images + images, pixel_steps: sum.pixel_steps + steps });
  }
  return [...sums.values()].sort((one, other) => other.pixel_steps - one.pixel_steps);
}
