// Takes a tag, properties and children, gives the element. Text goes in as text, never as markup.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function button(textContent, act, properties = {}) {
  const element = make("button", { type: "button", textContent, ...properties });
  element.addEventListener("click", act);
  return element;
}

/** A paragraph; what stands between backticks is code. */
export function prose(text, className = "", properties = {}) {
  const pieces = text.split("`").map((piece, place) => (place % 2 ? make("code", { textContent: piece }) : piece));
  return make("p", { className, ...properties }, ...pieces);
}

/** A field of a form, at which is shown what is wrong with it; its control has an id. */
export function field(name, label, control, ...more) {
  const error = make("p", { className: "error", id: `${control.id}-error`, hidden: true });
  control.setAttribute("aria-describedby", error.id);
  const said = make("label", { htmlFor: control.id, textContent: label });
  return make("div", { className: "field", "data-field": name }, said, control, ...more, error);
}
