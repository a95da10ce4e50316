// What whoever may does with a row of the shelf: describes what it stands for, unless other servers have it too, and
// removes it.

import { button, make } from "./dom.js";
import { call } from "./server.js";
import { sure } from "./sure.js";

/**
 * The buttons of a row, and the place of its form. `path` is where it is on the server and `template` that path in its
 * document; `question` is asked before it goes; `gone` is called when it went.
 */
export function keeping(row, { path, template, question, page, gone }) {
  const editor = make("div");
  const describe = button("Describe it", () => edit(row, editor, path, template, page));
  const drop = button("Delete", () => remove(row, path, question, gone), { className: "grave" });
  return { buttons: row.card.shared ? [drop] : [describe, drop], editor };
}

async function edit(row, place, path, template, page) {
  if (place.firstChild) return place.replaceChildren();
  try {
    const { sidecarForm } = await import("./sidecar.js");
    const done = async (card) => {
      row.update({ ...row.card, ...card });
      await row.open();
    };
    place.replaceChildren(await sidecarForm(row.card, path, template, page, done));
    place.querySelector("input, textarea, select").focus();
  } catch (error) {
    row.refuse(error);
  }
}

async function remove(row, path, question, gone) {
  if (!(await sure(question, "Delete it"))) return;
  try {
    await call(path, { method: "DELETE" });
    await gone();
  } catch (error) {
    row.refuse(error);
  }
}
