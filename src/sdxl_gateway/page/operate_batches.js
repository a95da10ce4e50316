// Batches of all tenants: where they stand, how many of their lines are done; those that are not over can be cancelled.

import { make } from "./dom.js";
import { Filters } from "./filters.js";
import { asking, at } from "./said.js";
import { sure } from "./sure.js";
import { Pager, Table } from "./table.js";

const LIVE = new Set(["validating", "in_progress", "finalizing"]);

export class Panel {
  polled = true;
  #act;
  #pager;
  #filters;
  #table = new Table("Batches, the latest first", [
    { title: "batch", mono: true, of: ({ id }) => id },
    { title: "tenant", of: ({ tenant }) => tenant },
    { title: "state", of: ({ status, errors }) => (errors ? `${status}: ${errors.data[0].message}` : status.replace("_", " ")) },
    { title: "lines", number: true, of: ({ request_counts: { total } }) => total },
    { title: "done", number: true, of: ({ request_counts: { completed } }) => completed },
    { title: "failed", number: true, of: ({ request_counts: { failed } }) => failed },
    { title: "accepted", of: ({ created_at: seconds }) => at(seconds) },
    { title: "action", acts: (batch) => (LIVE.has(batch.status) ? [["Cancel", (one) => this.#cancel(one), true]] : []) },
  ], "There are no batches.");

  constructor({ act, look }) {
    this.#act = act;
    this.#pager = new Pager(look);
    this.#filters = new Filters("v1/batches", ["tenant"], () => {
      this.#pager.first();
      look();
    });
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Batches" }),
      this.#filters.element, this.#table.element, this.#pager.element);
  }

  async refresh(ask) {
    await this.#filters.ready();
    const list = await ask(asking("v1/batches", { ...this.#filters.values(), ...this.#pager.query() }));
    this.#table.show(list.data);
    this.#pager.told(list);
  }

  async #cancel({ id, tenant }) {
    const question = `Cancel the batch ${id} of ${tenant}? What is painted stays; its other lines will not be.`;
    if (!(await sure(question, "Cancel the batch"))) return;
    await this.#act((ask) => ask(`v1/batches/${id}/cancel`, { method: "POST" }), `The batch ${id} is being cancelled.`);
  }
}
