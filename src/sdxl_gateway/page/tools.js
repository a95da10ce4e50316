// What a mask is painted with, and the room around a picture in numbers.

import { SIDES } from "./board.js";
import { button, make } from "./dom.js";
import { cleared, inverted, rectangle } from "./mask.js";

const BOX = ["left", "top", "width", "height"];

/** Brush, undo, invert, clear; `rectangle` is for whoever has no pointer. */
export class MaskTools {
  #board;
  #size = make("input", { type: "range", id: "edit-brush", min: 1, value: 1 });
  #told = make("output", { htmlFor: "edit-brush" });
  #kinds = { Brush: this.#kind("Brush", false), Eraser: this.#kind("Eraser", true) };
  #undo = button("Undo", () => this.#step("undo"), { title: "Ctrl+Z" });
  #redo = button("Redo", () => this.#step("redo"), { title: "Ctrl+Shift+Z" });

  constructor(board) {
    this.#board = board;
    this.#size.addEventListener("input", () => {
      board.brush.size = Number(this.#size.value);
      this.show();
    });
    const { Brush, Eraser } = this.#kinds;
    const group = make("div", { className: "tabs", role: "group", ariaLabel: "Paint the mask with" }, Brush, Eraser);
    const acts = [button("Invert", () => board.act(inverted)), button("Clear", () => board.act(cleared))];
    const label = make("label", { htmlFor: "edit-brush", textContent: "Size" });
    const size = make("div", { className: "joined" }, label, this.#size, this.#told);
    this.element = make("fieldset", { className: "field", "data-field": "mask" },
      make("legend", { textContent: "Mask: paint over what is to be painted anew" }),
      make("div", { className: "bar" }, group, size, this.#undo, this.#redo, ...acts),
      make("p", { className: "error", hidden: true }));
  }

  /** As the board is now. */
  show() {
    const { brush, mask, size } = this.#board;
    this.#size.max = Math.max(1, Math.ceil(Math.min(size.width, size.height) / 2));
    this.#size.value = brush.size;
    this.#told.textContent = `${brush.size} px`;
    this.#undo.disabled = !mask.canUndo;
    this.#redo.disabled = !mask.canRedo;
    this.#kinds.Brush.ariaPressed = String(!brush.erase);
    this.#kinds.Eraser.ariaPressed = String(brush.erase);
  }

  /** Ctrl+Z and its opposite, wherever no text is written. */
  key(event) {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("textarea, input:not([type=range])")) return;
    const letter = event.key.toLowerCase();
    if (letter !== "z" && letter !== "y") return;
    event.preventDefault();
    this.#step(letter === "y" || event.shiftKey ? "redo" : "undo");
  }

  #kind(name, erase) {
    return button(name, () => {
      this.#board.brush.erase = erase;
      this.show();
    });
  }

  #step(way) {
    this.#board.mask[way]();
    this.#board.redraw();
  }

  /** A part of the mask said in the picture's pixels. */
  rectangle() {
    const inputs = BOX.map((name) => make("input", { type: "number", min: 0, value: 0, id: `edit-box-${name}` }));
    const mark = (erase) => this.#board.act(rectangle(...inputs.map((input) => Number(input.value)), erase));
    return make("details", {}, make("summary", { textContent: "A rectangle by numbers" }),
      make("div", { className: "sides" }, ...BOX.map((name, index) => labelled(name, inputs[index]))),
      make("div", { className: "bar" }, button("Paint it", () => mark(false)), button("Erase it", () => mark(true))));
  }
}

const labelled = (name, input) => make("div", {}, make("label", { htmlFor: input.id, textContent: name }), input);

/** How far beyond each edge is painted; dragging the edges says the same. */
export class Room {
  #board;
  #inputs = SIDES.map((side) => make("input", { type: "number", min: 0, step: 8, value: 0, id: `edit-room-${side}` }));

  constructor(board) {
    this.#board = board;
    for (const input of this.#inputs) input.addEventListener("input", () => board.pad(this.#said()));
    const sides = SIDES.map((side, index) => labelled(side, this.#inputs[index]));
    this.element = make("fieldset", { className: "field", "data-field": "padding" },
      make("legend", { textContent: "Paint beyond the edges, in pixels" }),
      make("div", { className: "sides" }, ...sides),
      make("p", { className: "hint", textContent: "Or drag the picture's borders outwards." }),
      make("p", { className: "error", hidden: true }));
  }

  show() {
    SIDES.forEach((side, index) => {
      if (document.activeElement !== this.#inputs[index]) this.#inputs[index].value = this.#board.padding[side];
    });
  }

  #said() {
    const pixels = ({ value }) => Math.max(0, Math.round(Number(value)));
    return Object.fromEntries(SIDES.map((side, index) => [side, pixels(this.#inputs[index])]));
  }
}
