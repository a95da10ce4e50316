"""Texts by which a stranger would run a script in somebody's browser, each for another place where text is read."""

from __future__ import annotations

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
"""The first hold no character that a file's name cannot have; "hurt" is what a script would set."""

FILE_NAMES = tuple(text for text in HOSTILE if not {"/", "\0"} & set(text))

TRACES = """() => ({
  hurt: window.hurt,
  handlers: [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes].map((each) => each.name))
    .filter((name) => name.startsWith("on") || name === "srcdoc"),
  elements: [...document.querySelectorAll("main :is(script, iframe, object, embed, style, math, base, form form)")].length,
  images: [...document.querySelectorAll("img, source")].map((one) => one.src).filter((src) => !/^(blob|data:image)/.test(src)),
  links: [...document.querySelectorAll("[href], [action], [formaction]")]
    .map((one) => one.href?.baseVal ?? one.href ?? one.action).filter((href) => /^(javascript|data:text|vbscript):/i.test(href)),
})"""
"""Gives what a page would hold had one of them worked."""
UNTOUCHED = {"hurt": None, "handlers": [], "elements": 0, "images": [], "links": []}
