// Takes a place on the page, shows operators the server; asks it politely, and only while somebody looks.

import { button, make, prose } from "./dom.js";
import { call, loaded, Refused } from "./server.js";

const TICK_SECONDS = 3;
const MOST_SECONDS = 30;
const BACK = "The server is back.";
const PANELS = {
  now: ["Now", () => import("./operate_now.js")],
  jobs: ["Jobs", () => import("./operate_jobs.js")],
  batches: ["Batches", () => import("./operate_batches.js")],
  keys: ["Keys", () => import("./operate_keys.js")],
  usage: ["Usage", () => import("./operate_usage.js")],
  reviews: ["Reviews", () => import("./operate_reviews.js")],
  settings: ["Settings", () => import("./operate_settings.js")],
};

let operate = null;

export async function show(place, page) {
  operate ??= new Operate(place, page);
  await operate.look();
}

/**
 * One panel at a time: each has an `element` and `refresh(ask)`, where `ask(path, options)` gives an answer's JSON, and
 * is refreshed each tick where it is `polled`. It is made with `act(work, done)`, which does what somebody asks for, shows
 * why not or what was done, and refreshes; `look()`, which refreshes; and the `page`.
 */
class Operate {
  #place;
  #page;
  #chosen = "now";
  #panels = new Map();
  #failures = 0;
  #timer = 0;
  #turn = null;
  #notice = make("p", { className: "notice", role: "status" });
  #error = make("p", { className: "error", role: "alert", hidden: true });
  #tabs = make("div", { className: "tabs", role: "group", ariaLabel: "What to look at" });
  #body = make("div", { className: "panel" });
  #denied = make("div", { className: "card denied", hidden: true });

  constructor(place, page) {
    this.#place = place;
    this.#page = page;
    for (const [name, [label]] of Object.entries(PANELS)) {
      this.#tabs.append(button(label, () => this.#choose(name), { ariaPressed: String(name === this.#chosen) }));
    }
    this.#tabs.append(button("Refresh", () => this.look(), { className: "refresh" }));
    this.#denied.append(
      make("h2", { textContent: "This view is for operators" }),
      make("p", { className: "why" }),
      prose("`sdxl-gateway keys create --tenant ops --role admin` makes such a key.", "hint"),
      button("Use another key", () => page.askForKey("")));
    place.append(this.#tabs, this.#notice, this.#error, this.#denied, this.#body);
    addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.look()));
    addEventListener("key", () => this.#forget());
  }

  /** Asks now, and again each tick for as long as somebody looks. */
  async look() {
    this.#stop();
    if (document.hidden || this.#place.hidden) return;
    const turn = (this.#turn = new AbortController());
    try {
      const panel = await this.#panel();
      if (!turn.signal.aborted) await panel.refresh((path, options) => ask(path, { ...options, signal: turn.signal }));
      if (!turn.signal.aborted) this.#went(panel);
    } catch (error) {
      if (!turn.signal.aborted) this.#failed(error);
    }
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#turn?.abort();
  }

  #again(seconds) {
    this.#timer = setTimeout(() => this.look(), seconds * 1000);
  }

  async #panel() {
    const name = this.#chosen;
    if (!this.#panels.has(name)) {
      const { Panel } = await loaded(PANELS[name][1]());
      this.#panels.set(name, new Panel({ act: (work, done) => this.#act(work, done), look: () => this.look(), page: this.#page }));
    }
    const panel = this.#panels.get(name);
    if (name === this.#chosen && !this.#body.contains(panel.element)) this.#body.replaceChildren(panel.element);
    return panel;
  }

  #choose(name) {
    this.#chosen = name;
    [...this.#tabs.children].forEach((tab, place) => {
      if (place < Object.keys(PANELS).length) tab.ariaPressed = String(Object.keys(PANELS)[place] === name);
    });
    this.#error.hidden = true;
    this.#say("");
    this.#body.replaceChildren();
    this.look();
  }

  #went(panel) {
    if (this.#failures) this.#say(BACK);
    else if (this.#notice.textContent === BACK) this.#say("");
    this.#failures = 0;
    this.#place.classList.remove("stale");
    this.#error.hidden = this.#denied.hidden = true;
    this.#tabs.hidden = this.#body.hidden = false;
    if (panel.polled) this.#again(TICK_SECONDS);
  }

  /** What is not there yet, or too much at the moment, is asked for again, less and less often. */
  #failed(error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 403) return this.#deny(error);
    if (error.status && error.status < 429) return this.#complain(error);
    this.#failures += 1;
    const seconds = Math.min(TICK_SECONDS * 2 ** (this.#failures - 1), MOST_SECONDS);
    this.#place.classList.add("stale");
    this.#say(`${error.message} What stands here may have changed since; asked again in ${seconds} s.`);
    this.#again(seconds);
  }

  #say(text) {
    if (this.#notice.textContent !== text) this.#notice.textContent = text;
  }

  #complain(error) {
    this.#error.textContent = error.message;
    this.#error.hidden = false;
  }

  #deny(error) {
    this.#forget();
    this.#tabs.hidden = this.#body.hidden = true;
    this.#denied.hidden = false;
    this.#denied.querySelector(".why").textContent = error.message;
    if (error.status === 401) this.#page.refuse(error);
  }

  /** Nothing of what one key saw is left for the next. */
  #forget() {
    this.#stop();
    this.#panels.clear();
    this.#body.replaceChildren();
    this.#say("");
    this.#failures = 0;
  }

  /** What somebody does: why not is shown, else what was `done`. */
  async #act(work, done) {
    this.#error.hidden = true;
    try {
      await work(ask);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401 || error.status === 403) return this.#deny(error);
      return this.#complain(error);
    }
    await this.look();
    this.#say(done);
  }
}

const ask = async (path, options) => (await call(path, options)).json();
