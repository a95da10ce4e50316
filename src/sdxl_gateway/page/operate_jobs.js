// Jobs of all tenants, as they stand; those that are not over can be cancelled.

import { make } from "./dom.js";
import { Filters } from "./filters.js";
import { asking, at } from "./said.js";
import { sure } from "./sure.js";
import { Pager, Table } from "./table.js";

const LIVE = new Set(["queued", "in_progress"]);

export class Panel {
  polled = true;
  #act;
  #pager;
  #filters;
  #table = new Table("Jobs, the latest first", [
    { title: "job", mono: true, of: ({ id }) => id },
    { title: "tenant", of: ({ tenant }) => tenant },
    { title: "model", of: ({ model }) => model || "the default" },
    { title: "state", of: stateOf },
    { title: "class", of: ({ priority }) => priority },
    { title: "accepted", of: ({ created_at: seconds }) => at(seconds) },
    { title: "batch", mono: true, of: ({ batch }) => batch },
    { title: "action", acts: (job) => (LIVE.has(job.state) ? [["Cancel", (one) => this.#cancel(one), true]] : []) },
  ], "There are no such jobs.");

  constructor({ act, look }) {
    this.#act = act;
    this.#pager = new Pager(look);
    this.#filters = new Filters("v1/jobs", ["state", "tenant"], () => {
      this.#pager.first();
      look();
    });
    const hint = "Requests that were made to be painted later. Those whose callers wait for the answer are counted under Now.";
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Jobs" }),
      make("p", { className: "hint", textContent: hint }), this.#filters.element, this.#table.element, this.#pager.element);
  }

  async refresh(ask) {
    await this.#filters.ready();
    const list = await ask(asking("v1/jobs", { ...this.#filters.values(), ...this.#pager.query() }));
    this.#table.show(list.data);
    this.#pager.told(list);
  }

  async #cancel({ id, tenant }) {
    if (await sure(`Cancel the job ${id} of ${tenant}?`, "Cancel the job")) {
      await this.#act((ask) => ask(`v1/jobs/${id}/cancel`, { method: "POST" }), `The job ${id} is cancelled.`);
    }
  }
}

function stateOf({ state, position, step, steps, error }) {
  const words = state.replace("_", " ");
  if (steps) return `${words}, step ${step} of ${steps}`;
  if (position !== null) return `${words}, ${position} before it`;
  return error ? `${words}: ${error.message}` : words;
}
