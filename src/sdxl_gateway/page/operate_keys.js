// Keys: who has which, made, rotated and revoked here. A new key is shown once and then nowhere.

import { button, make } from "./dom.js";
import { Filters } from "./filters.js";
import { SchemaForm } from "./form.js";
import { asking, at } from "./said.js";
import { openapi } from "./schema.js";
import { Refused } from "./server.js";
import { sure } from "./sure.js";
import { Pager, Table } from "./table.js";

const PATH = "v1/admin/keys";
const ROWS = 50;
const everything = (globs) => (globs.length === 1 && globs[0] === "*" ? "all" : globs.join(", "));

export class Panel {
  polled = false;
  #act;
  #page;
  #pager;
  #filters;
  #schema = null;
  #form = make("form", { className: "card", noValidate: true, ariaLabel: "Make a key" });
  #maker = make("details", {}, make("summary", { textContent: "Make a key" }), this.#form);
  #table = new Table("Keys, the oldest first", [
    { title: "key", mono: true, of: ({ prefix }) => `${prefix}…` },
    { title: "name", of: ({ name }) => name },
    { title: "tenant", of: ({ tenant }) => tenant },
    { title: "roles", of: ({ roles }) => roles.join(", ") },
    { title: "models", of: ({ models }) => everything(models) },
    { title: "LoRAs", of: ({ loras }) => everything(loras) },
    { title: "state", of: stateOf },
    { title: "made", of: ({ created_at: seconds }) => at(seconds) },
    { title: "action", acts: (key) => (good(key) ? this.#acts() : []) },
  ], "There are no such keys.");

  constructor({ act, look, page }) {
    this.#act = act;
    this.#page = page;
    this.#pager = new Pager(look);
    this.#filters = new Filters(PATH, ["tenant"], () => {
      this.#pager.first();
      look();
    });
    this.#form.addEventListener("submit", (event) => this.#create(event));
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Keys" }), this.#maker,
      this.#filters.element, this.#table.element, this.#pager.element);
  }

  async refresh(ask) {
    await this.#filters.ready();
    await this.#prepare();
    const list = await ask(asking(PATH, { limit: ROWS, ...this.#filters.values(), ...this.#pager.query() }));
    this.#table.show(list.data);
    this.#pager.told(list);
  }

  /** The form is what the server's document says of a new key. */
  async #prepare() {
    if (this.#schema) return;
    const { requestBody } = (await openapi()).paths[`/${PATH}`].post;
    this.#schema = requestBody.content["application/json"].schema;
    this.#blank();
  }

  #blank() {
    this.#form.fields = new SchemaForm("new-key", this.#schema);
    const error = make("p", { className: "error", role: "alert", hidden: true });
    this.#form.replaceChildren(this.#form.fields.element, error, make("div", { className: "buttons" }, make("button", { type: "submit", textContent: "Make the key" })));
  }

  async #create(event) {
    event.preventDefault();
    this.#page.forgive(this.#form);
    await this.#act(async (ask) => {
      try {
        const made = await ask(PATH, { body: this.#form.fields.values() });
        this.#blank();
        this.#maker.open = false;
        await shownOnce(made);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 400) throw error;
        this.#page.refuse(error, this.#form);
      }
    }, "");
  }

  #acts() {
    return [["Rotate", (key) => this.#rotate(key)], ["Revoke", (key) => this.#revoke(key), true]];
  }

  async #rotate({ id, prefix, tenant }) {
    const question = `Make a key in place of ${prefix}… of ${tenant}? It is good for the same; the old one lives a day longer.`;
    if (!(await sure(question, "Make the new key"))) return;
    await this.#act(async (ask) => shownOnce(await ask(`${PATH}/${id}/rotate`, { method: "POST" })), `${prefix}… was rotated.`);
  }

  async #revoke({ id, prefix, tenant }) {
    const question = `Revoke ${prefix}… of ${tenant}? It opens nothing any more, and cannot be brought back.`;
    if (!(await sure(question, "Revoke it"))) return;
    await this.#act((ask) => ask(`${PATH}/${id}`, { method: "DELETE" }), `${prefix}… is revoked.`);
  }
}

const over = ({ expires_at: end }) => end !== null && end * 1000 <= Date.now();
const good = (key) => key.revoked_at === null && key.successor === null && !over(key);

function stateOf(key) {
  if (key.revoked_at !== null) return `✗ revoked ${at(key.revoked_at)}`;
  if (over(key)) return `✗ ended ${at(key.expires_at)}`;
  if (key.successor !== null) return `↻ rotated, good until ${at(key.expires_at)}`;
  return key.expires_at === null ? "✓ good" : `✓ good until ${at(key.expires_at)}`;
}

/** Until somebody says that they have it. */
async function shownOnce({ key, tenant }) {
  const shown = make("input", { id: "new-key-text", readOnly: true, value: key, className: "mono" });
  const copy = button("Copy", () => copied(copy, shown));
  const dialog = make("dialog", { "aria-labelledby": "new-key-title" },
    make("h2", { id: "new-key-title", textContent: `A key for ${tenant}` }),
    make("label", { htmlFor: shown.id, textContent: "It is shown this once. Keep it where nobody else reads it." }), shown,
    make("div", { className: "buttons" }, copy, button("I have it", () => dialog.close())));
  document.body.append(dialog);
  dialog.showModal();
  shown.select();
  await new Promise((closed) => dialog.addEventListener("close", closed));
  dialog.remove();
}

async function copied(copy, shown) {
  shown.select();
  try {
    await navigator.clipboard.writeText(shown.value);
    copy.textContent = "Copied";
  } catch {
    copy.textContent = "Select it and copy";
  }
}
