"""Texts that try to run a script in a browser, each aimed at another context in which text is interpreted."""

from __future__ import annotations

from typing import Any

HOSTILE = (
    '"><img src=x onerror="window.hurt=1">',
    "'><img src=x onerror='window.hurt=1'>",
    "<svg onload=window.hurt=1>",
    "<script>window.hurt=1<!--",
    "</title></textarea></style></script><script>window.hurt=1</script>",
    "'`${window.hurt=1}`{{constructor.constructor('window.hurt=1')()}}",
    "javascript:window.hurt=1",
    "data:text/html,<script>parent.hurt=1</script>",
    '<iframe srcdoc="<script>parent.hurt=1</script>">',
    "x onfocus=window.hurt=1 autofocus tabindex=1 ",
    '#"),*{}body{background:url(//far/?)}/*',
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.hurt=1>",
    "&lt;img src=x onerror=window.hurt=1&gt;",
    "__proto__",
    "\u202egnp.\u2066exe<b>\u0000\ufffe",
)
"""If one of them ran, it would set "hurt"."""

FILE_NAMES = tuple(text for text in HOSTILE if text == text.strip() and not {*"/\0+:,"} & set(text))
"""Those that are valid as the name of a LoRA's file."""

TRACES = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const names = all("*").flatMap((one) => [...one.attributes].map((each) => each.name));
  const pictures = all("img, source").map((one) => one.src);
  const addresses = all("[href], [action]").map((one) => one.href?.baseVal ?? one.href ?? one.action);
  return {
    hurt: window.hurt,
    handlers: names.filter((name) => name.startsWith("on") || name === "srcdoc"),
    elements: all("main :is(script, iframe, object, embed, style, math, base, form form)").length,
    pictures: pictures.filter((one) => !/^(blob|data:image)/.test(one)),
    addresses: addresses.filter((one) => /^(javascript|data:text|vbscript):/i.test(one)),
  };
}"""
"""Returns what a page would contain if one of them had worked."""
UNTOUCHED: dict[str, Any] = {"hurt": None, "handlers": [], "elements": 0, "pictures": [], "addresses": []}
