// The server at this moment: how much it paints, who waits, what each engine has on and holds.

import { make } from "./dom.js";
import { Engines } from "./operate_engines.js";
import { Samples } from "./samples.js";
import { bytes, lasting, number } from "./said.js";
import { course, patterns } from "./svg.js";
import { Table } from "./table.js";

const tenths = (value) => (value < 10 ? value.toFixed(1) : number(Math.round(value)));

/** What is plotted: each line with its name, and how its numbers are read. */
const PLOTS = [
  ["Pictures a minute", tenths, (samples) => ({ "": samples.picturesAMinute() })],
  ["Steps a second", tenths, (samples) => ({ "": samples.stepsASecond() })],
  ["Jobs", number, (samples) => ({ waiting: samples.values("waiting"), "in hand": samples.values("running") })],
  ["Time of a job", lasting, (samples) => ({ "half within": samples.values("p50"), "95 % within": samples.values("p95") })],
  ["On the devices", bytes, (samples) => ({ "": samples.values("memory") })],
];

export class Panel {
  polled = true;
  #samples = new Samples();
  #summary = make("p", { className: "summary" });
  #degraded = make("p", { className: "error", hidden: true });
  #plots = PLOTS.map(() => make("figure"));
  #engines = new Engines();
  #classes = new Table("Waiting, by class", [
    { title: "class", of: ({ id }) => id },
    { title: "jobs", number: true, of: ({ jobs }) => jobs },
  ]);
  #tenants = new Table("Waiting, by tenant", [
    { title: "tenant", of: ({ id }) => id },
    { title: "jobs", number: true, of: ({ jobs }) => jobs },
  ], "Nobody waits.");
  #queue = make("p");

  constructor() {
    const plots = make("section", { className: "plots", ariaLabel: "Over the last minutes" }, ...this.#plots);
    const tables = make("div", { className: "side-by-side" }, this.#classes.element, this.#tenants.element);
    const line = make("section", { className: "card" }, make("h2", { textContent: "Queue" }), this.#queue, tables);
    this.element = make("div", { className: "now" }, patterns(), this.#summary, this.#degraded, plots,
      make("div", { className: "lower" }, this.#engines.element, line));
  }

  async refresh(ask) {
    const status = await ask("v1/admin/status");
    this.#samples.add(status, performance.now() / 1000);
    this.#sum(status);
    this.#line(status.queue);
    PLOTS.forEach(([title, read, of], place) => plot(this.#plots[place], title, read, of(this.#samples), this.#samples.seconds));
    this.#engines.show(status.engines, status.lora_names);
  }

  #sum({ ready, version, uptime_seconds: up, degraded, throughput }) {
    const told = [
      ready ? "✓ ready" : "✗ cannot paint now", `version ${version}`, `up for ${lasting(up)}`,
      `${number(throughput.pictures)} ${throughput.pictures === 1 ? "picture" : "pictures"} since`,
    ];
    this.#summary.textContent = told.join(" · ");
    this.#degraded.hidden = !degraded.length;
    this.#degraded.textContent = `Work in the background failed lately: ${degraded.join(", ")}.`;
  }

  #line({ waiting, running, predicted_wait_seconds: wait, waiting_by_class: classes, waiting_by_tenant: tenants }) {
    this.#queue.textContent = `${waiting} waiting, ${running} in hand. ${wait < 0.05 ? "Who comes now need not wait" : `Who comes now waits about ${lasting(wait)}`}.`;
    this.#classes.show(Object.entries(classes).map(([id, jobs]) => ({ id, jobs })));
    this.#tenants.show(Object.entries(tenants).map(([id, jobs]) => ({ id, jobs })));
  }
}

function plot(figure, title, read, lines, seconds) {
  const told = Object.entries(lines).map(([name, values]) => {
    const known = values.filter((value) => value !== null);
    const last = values.at(-1) ?? null;
    return { name, now: last === null ? "–" : read(last), highest: known.length ? read(Math.max(...known)) : "–" };
  });
  const window = lasting(seconds);
  const known = Object.values(lines).flat().filter((value) => value !== null);
  const said = told.map(({ name, now, highest }) => `${name && `${name} `}now ${now}, highest ${highest}`).join("; ");
  const caption = make("figcaption", {}, title, ...told.map(({ name, now }, place) =>
    make("span", { className: `now-${place}`, textContent: name ? `${name} ${now}` : now })));
  const scale = make("p", { className: "hint", textContent: `last ${window}, highest ${known.length ? read(Math.max(...known)) : "–"}` });
  figure.replaceChildren(caption, course(Object.values(lines), `${title}, over ${window}: ${said}`), scale);
}
