// Asks once before what cannot be undone.

import { make } from "./dom.js";

/** Whether the answer was yes; `yes` is what that button says. */
export async function sure(question, yes) {
  const form = make("form", { method: "dialog" },
    make("p", { id: "sure-question", textContent: question }),
    make("div", { className: "buttons" },
      make("button", { value: "no", textContent: "Leave it" }),
      make("button", { value: "yes", className: "grave", textContent: yes })));
  const dialog = make("dialog", { "aria-labelledby": "sure-question" }, form);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed));
  dialog.remove();
  return dialog.returnValue === "yes";
}
