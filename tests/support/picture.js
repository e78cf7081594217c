// Run in the page: answers its live DOM, with the style rules that apply, as the text of an SVG.
() => {
  const used = (selector) => {
    try {
      // A state, such as hover or focus, is no state of a picture.
      if (/:(hover|focus|active|target)/.test(selector)) return false;
      // A pseudo-element has a place if what it stands in has one.
      const standing = selector.replace(/(^|[\s,>+~])::[a-z-]+/g, "$1*").replace(/::[a-z-]+/g, "");
      return document.querySelector(standing) !== null;
    } catch {
      return false;
    }
  };
  const written = [];
  const write = (rules) => {
    for (const rule of rules) {
      // Which medium it is was decided when the picture was taken.
      if (rule instanceof CSSMediaRule) {
        if (matchMedia(rule.conditionText).matches) write(rule.cssRules);
      } else if (rule instanceof CSSStyleRule && used(rule.selectorText)) {
        written.push(rule.cssText);
      }
    }
  };
  for (const sheet of document.styleSheets) write(sheet.cssRules);

  const body = document.body.cloneNode(true);
  body.querySelectorAll("script, dialog, .skip, input[type=hidden]").forEach((e) => e.remove());
  for (const e of [body, ...body.querySelectorAll("*")]) {
    for (const { name } of [...e.attributes]) {
      if (/^(on|data-|aria-(?!current)|tabindex|action$|method$|download$|rel$|title$)/.test(name)) e.removeAttribute(name);
    }
    const href = e.getAttribute("href");
    if (href && !href.startsWith("#")) e.setAttribute("href", "#");
  }
  const words = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  const blank = [];
  while (words.nextNode()) {
    if (/^\s*\n\s*$/.test(words.currentNode.data)) blank.push(words.currentNode);
  }
  blank.forEach((node) => (node.data = "\n"));

  const width = document.documentElement.clientWidth;
  const height = document.documentElement.scrollHeight;
  const style = document.createElementNS("http://www.w3.org/1999/xhtml", "style");
  // In an image nothing is a link, nothing scrolls, and nothing moves.
  const still = "* { animation: none !important; scrollbar-width: none; }";
  style.textContent = ["", "a { text-decoration: underline; }", ...written, still, ""].join("\n");
  body.prepend(style);
  const page = new XMLSerializer().serializeToString(body);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">\n` +
    `<title>${document.title.replace(/[&<]/g, " ")}</title>\n` +
    `<foreignObject width="100%" height="100%">${page}</foreignObject>\n</svg>\n`
  );
}
