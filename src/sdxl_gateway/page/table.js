// Takes things with an id, keeps a table of them up to date in place, so that whoever reads or acts in it is not disturbed.

import { button, make } from "./dom.js";

/**
 * Columns have a `title` and either `of(item)`, a text, or `acts(item)`, a list of `[label, act, grave]`. The first is
 * each row's header.
 */
export class Table {
  #rows = new Map();
  #body = make("tbody");
  #columns;
  #none;
  #scroller;

  constructor(caption, columns, none = "None.") {
    this.#columns = columns;
    this.#none = make("p", { className: "hint", textContent: none, hidden: true });
    const heads = columns.map(({ title, number }) => make("th", { scope: "col", className: number ? "number" : "", textContent: title }));
    const table = make("table", {}, make("caption", { textContent: caption }), make("thead", {}, make("tr", {}, ...heads)), this.#body);
    this.#scroller = make("div", { className: "scroller", tabIndex: 0, role: "region", ariaLabel: caption }, table);
    this.element = make("div", {}, this.#scroller, this.#none);
  }

  show(items) {
    const ids = new Set(items.map(({ id }) => id));
    for (const [id, row] of this.#rows) if (!ids.has(id)) this.#remove(id, row);
    items.forEach((item, place) => {
      const row = this.#rows.get(item.id) ?? this.#add(item.id);
      if (this.#body.children[place] !== row) this.#body.insertBefore(row, this.#body.children[place] ?? null);
      row.item = item;
      this.#columns.forEach((column, number) => fill(row, row.children[number], column));
    });
    this.#none.hidden = items.length > 0;
  }

  #add(id) {
    const cells = this.#columns.map(({ number, mono }, place) => {
      const look = { className: [number && "number", mono && "mono"].filter(Boolean).join(" ") };
      return place ? make("td", look) : make("th", { scope: "row", ...look });
    });
    const row = make("tr", {}, ...cells);
    this.#rows.set(id, row);
    return row;
  }

  #remove(id, row) {
    const held = row.contains(document.activeElement);
    row.remove();
    this.#rows.delete(id);
    if (held) this.#scroller.focus();
  }
}

function fill(row, cell, { of, acts }) {
  if (!acts) {
    const text = String(of(row.item) ?? "–");
    if (cell.textContent !== text) cell.textContent = text;
    return;
  }
  const wanted = acts(row.item);
  const labels = wanted.map(([label]) => label).join("\n");
  if (cell.dataset.acts === labels) return;
  cell.dataset.acts = labels;
  const held = cell.contains(document.activeElement);
  cell.replaceChildren(...wanted.map(([label, act, grave]) =>
    button(label, () => act(row.item), { className: grave ? "grave" : "", ariaLabel: `${label} ${row.item.id}` })));
  if (held) (cell.querySelector("button") ?? row.closest(".scroller")).focus();
}

/** Older and newer pages of a list; `query()` is the part of the address, `told(list)` says what came. */
export class Pager {
  #before = [];
  #last = null;
  #older;
  #newer;

  constructor(changed) {
    const go = (turn) => () => {
      turn();
      changed();
    };
    this.#older = button("Next page", go(() => this.#before.push(this.#last)), { disabled: true });
    this.#newer = button("Page before", go(() => this.#before.pop()), { disabled: true });
    this.element = make("div", { className: "buttons pages" }, this.#newer, this.#older);
  }

  first() {
    this.#before = [];
  }

  query() {
    return this.#before.length ? { after: this.#before.at(-1) } : {};
  }

  told({ has_more: more, last_id: last }) {
    this.#last = last;
    this.#older.disabled = !more;
    this.#newer.disabled = !this.#before.length;
    this.element.hidden = !more && !this.#before.length;
  }
}
