// Takes the picture before and after, gives both in one frame with a border between them that is moved.

import { make } from "./dom.js";

/** `before` is an address, `image` stands in the page already or is about to. */
export function compared(before, image) {
  const under = make("img", { className: "before", src: before, alt: "Before" });
  const ariaLabel = "How much is shown of the picture before";
  const slider = make("input", { type: "range", min: 0, max: 100, value: 0, ariaLabel });
  const frame = make("div", { className: "compare" }, image, under, slider);
  const set = () => frame.style.setProperty("--shown", `${slider.value}%`);
  slider.addEventListener("input", set);
  set();
  return frame;
}
