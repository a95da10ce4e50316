// Pictures that a judge flagged and that left: looked at, blurred first, and decided about.

import { button, field, make } from "./dom.js";
import { asking, at } from "./said.js";
import { call, Refused } from "./server.js";
import { Pager } from "./table.js";

const PATH = "v1/admin/reviews";
const WAITING = { open: "flagged", appealed: "appealed against" };

export class Panel {
  polled = false;
  #act;
  #page;
  #pager;
  #cards = new Map();
  #list = make("ol", { className: "reviews" });
  #none = make("p", { className: "hint", textContent: "Nothing waits to be looked at." });
  #missing = make("p", { className: "hint", hidden: true });
  #state;

  constructor({ act, look, page }) {
    this.#act = act;
    this.#page = page;
    this.#pager = new Pager(look);
    this.#state = make("select", { id: "reviews-state" }, ...Object.entries(WAITING).map(([state, words]) => new Option(words, state)));
    this.#state.addEventListener("change", () => {
      this.#pager.first();
      look();
    });
    this.element = make("section", { className: "card" }, make("h2", { textContent: "Reviews" }),
      make("div", { className: "row filters" }, field("state", "What waits", this.#state)), this.#missing, this.#list, this.#none, this.#pager.element);
  }

  async refresh(ask) {
    const list = await ask(asking(PATH, { state: this.#state.value, ...this.#pager.query() }));
    const cards = list.data.map((review) => this.#card(review));
    for (const [id, card] of this.#cards) if (!list.data.some((review) => review.id === id)) this.#drop(id, card);
    cards.forEach(({ element }, place) => {
      if (this.#list.children[place] !== element) this.#list.insertBefore(element, this.#list.children[place] ?? null);
    });
    this.#missing.hidden = !list.missing.length;
    this.#missing.textContent = `Not in it are the reviews of ${list.missing.map(({ host }) => host ?? "all other gateways").join(", ")}: no answer.`;
    this.#none.hidden = cards.length > 0;
    this.#pager.told(list);
  }

  #card(review) {
    if (!this.#cards.has(review.id)) this.#cards.set(review.id, new Card(review, (body, form) => this.#decide(review, body, form)));
    return this.#cards.get(review.id);
  }

  /** Whoever was at it goes on from the list. */
  #drop(id, card) {
    const held = card.element.contains(document.activeElement);
    card.leave();
    this.#cards.delete(id);
    if (held) (this.#list.querySelector("button") ?? this.#state).focus();
  }

  async #decide({ id }, body, form) {
    this.#page.forgive(form);
    await this.#act(async (ask) => {
      try {
        await ask(`${PATH}/${id}`, { body });
      } catch (error) {
        // Somebody else may have decided meanwhile: that is said where it was tried, and the list is looked at again.
        if (!(error instanceof Refused) || ![400, 404, 409].includes(error.status)) throw error;
        this.#page.refuse(error, form);
      }
    }, "");
  }
}

class Card {
  #url = null;
  #picture = make("div", { className: "look" });
  #id;

  constructor(review, decide) {
    const { id, tenant, created_at: created, categories, prompt, appeal, note } = review;
    this.#id = id;
    const told = [["Found", categories.join(", ")], ["Tenant", tenant], ["Painted", at(created)], ["Prompt", prompt]];
    if (appeal) told.push(["Decided before", note || "without a note"], ["Appeal", appeal]);
    const list = make("dl", {}, ...told.flatMap(([term, text]) => [make("dt", { textContent: term }), make("dd", { textContent: text })]));
    this.#picture.append(button("Look at it, blurred", () => this.#look(), { ariaLabel: `Look at it, blurred: ${id}` }));
    this.element = make("li", { className: "review" }, this.#picture, make("div", {}, list, decision(id, decide)));
  }

  leave() {
    this.element.remove();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  async #look() {
    try {
      const answer = await call(`${PATH}/${this.#id}/picture`);
      this.#url = URL.createObjectURL(await answer.blob());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return this.#picture.append(make("p", { className: "error", role: "alert", textContent: error.message }));
    }
    this.#show();
  }

  #show() {
    const image = make("img", { src: this.#url, alt: "The picture under review, blurred", className: "blurred" });
    const clear = button("Show it clearly", () => {
      const blurred = image.classList.toggle("blurred");
      image.alt = `The picture under review${blurred ? ", blurred" : ""}`;
      clear.textContent = blurred ? "Show it clearly" : "Blur it";
    });
    this.#picture.replaceChildren(make("div", { className: "frame" }, image), clear);
    clear.focus();
  }
}

function decision(id, decide) {
  const note = make("input", { id: `note-${id}`, autocomplete: "off" });
  const form = make("form", { noValidate: true, ariaLabel: `Decide ${id}` }, field("note", "Note to its owner", note),
    make("p", { className: "error", role: "alert", hidden: true }),
    make("div", { className: "buttons" }, ...["approve", "reject"].map((word) => choice(word, () => decide({ decision: word, note: note.value }, form)))));
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}

const choice = (word, act) => button(word[0].toUpperCase() + word.slice(1), act, { className: word === "reject" ? "grave" : "" });
