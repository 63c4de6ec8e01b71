// Finds the fields of a document that take a one-time code, and the button that sends it. A function of `words.js`, whose value `page.js` takes.
// The page shares its elements with us, and can name some so that they hide what a form or the document has: properties are
// read by the prototypes' own getters wherever that could be.
({ plain, speaks, speaksOtherwise, WEAK, ELSE, GO, AWAY }) => {
  const getter = (kind, name) => {
    const { get } = Object.getOwnPropertyDescriptor(kind.prototype, name);
    return (of) => get.call(of);
  };
  const method = (kind, name) => {
    const own = kind.prototype[name];
    return (of, ...given) => own.apply(of, given);
  };
  const [parentOf, documentOf, isConnected, textOf] = ["parentNode", "ownerDocument", "isConnected", "textContent"].map((name) =>
    getter(Node, name),
  );
  const [shadowOf, nameOf] = ["shadowRoot", "localName"].map((name) => getter(Element, name));
  const [rootOf, comparedTo] = ["getRootNode", "compareDocumentPosition"].map((name) => method(Node, name));
  const [attribute, matches, closest] = ["getAttribute", "matches", "closest"].map((name) => method(Element, name));
  const [boundsOf, isVisible] = ["getBoundingClientRect", "checkVisibility"].map((name) => method(Element, name));
  const titleOf = getter(Document, "title");
  const isPrerendering = getter(Document, "prerendering");
  const walker = method(Document, "createTreeWalker");
  const queries = new Map([Document, DocumentFragment, Element].map((kind) => [kind, method(kind, "querySelectorAll")]));
  const query = (of, selector) => queries.get([...queries.keys()].find((kind) => of instanceof kind))(of, selector);
  const above = (node) => (node instanceof ShadowRoot ? node.host : parentOf(node));

  function* rootsIn(root) {
    yield root;
    for (const element of query(root, "*")) {
      const shadow = shadowOf(element);
      if (shadow) yield* rootsIn(shadow);
    }
  }
  const everywhere = (selector, root = document) => [...rootsIn(root)].flatMap((within) => [...query(within, selector)]);

  function* ancestors(node) {
    for (let up = above(node); up && up !== document; up = above(up)) if (up instanceof Element) yield up;
  }

  function originNow() {
    const isWeb = location.protocol === "https:" || location.protocol === "http:";
    return isWeb && self.origin === location.origin && !isPrerendering(document) ? self.origin : "null";
  }

  function topTitle() {
    try {
      return titleOf(top.document);
    } catch {
      return titleOf(document);
    }
  }

  // The inputs that can take a code.
  const TEXTS = ["text", "tel", "number", "password"].map((type) => `input[type=${type} i]`).join() + ", input:not([type]), input[type='']";
  const tokensOf = (input) => (attribute(input, "autocomplete") ?? "").toLowerCase().split(/\s+/);
  const isInert = (input) => [...ancestors(input)].some((up) => matches(up, "[inert]"));
  const isEditable = (input) => !matches(input, ":disabled") && !input.readOnly && !isInert(input);

  function isText(input) {
    if (input.type !== "password") return true;
    const isPassword = tokensOf(input).some((token) => token.endsWith("-password"));
    const isShort = input.maxLength === 1 || (input.maxLength >= 6 && input.maxLength <= 8);
    return tokensOf(input).includes("one-time-code") || (!isPassword && (input.inputMode === "numeric" || isShort || asksForCode(input)));
  }

  /** Whether what an input says of itself is that it is for a code, and nothing else. */
  function asksForCode(input) {
    const { shown, named } = wordsOf(input);
    const all = [...shown, ...named];
    return all.some(speaks) && all.every((text) => speaks(text) || !ELSE.test(text));
  }

  function opacityOf(element) {
    return [element, ...ancestors(element)].reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1);
  }

  const CLIPPED = /inset\((50|100)%|circle\(0/;

  /** What is left of an element's rectangle by what cuts it off. */
  function shownBounds(element) {
    let { left, top, right, bottom } = boundsOf(element);
    for (const up of ancestors(element)) {
      const { overflowX, overflowY, clipPath } = getComputedStyle(up);
      if (CLIPPED.test(clipPath)) return { width: 0, height: 0 };
      if (matches(up, "html, body") || !/hidden|clip/.test(overflowX + overflowY)) continue;
      const cut = boundsOf(up);
      [left, top] = [Math.max(left, cut.left), Math.max(top, cut.top)];
      [right, bottom] = [Math.min(right, cut.right), Math.min(bottom, cut.bottom)];
    }
    return { width: Math.min(right - left, right + scrollX), height: Math.min(bottom - top, bottom + scrollY) };
  }

  function isSeen(input) {
    if (!isVisible(input, { checkVisibilityCSS: true })) return false;
    const { width, height } = shownBounds(input);
    if (width >= 8 && height >= 8 && opacityOf(input) >= 0.1) return !CLIPPED.test(getComputedStyle(input).clipPath);
    const isKeptAway = [input, ...ancestors(input)].some((each) => attribute(each, "aria-hidden") === "true");
    return !isKeptAway && [...ancestors(input)].slice(0, 3).some(drawsBoxes);
  }

  /** Whether there are six to eight drawn boxes in a row, which show what a transparent input holds. */
  function drawsBoxes(container) {
    const rows = new Map();
    for (const box of everywhere("*", container)) {
      const { left, top, width, height } = boundsOf(box);
      const isBox = width >= 12 && width <= 120 && height >= 16 && height <= 120 && nameOf(box) !== "input";
      if (!isBox || !isVisible(box, { checkVisibilityCSS: true }) || opacityOf(box) < 0.1) continue;
      const row = Math.round((top + height / 2) / 4);
      rows.set(row, (rows.get(row) ?? new Set()).add(Math.round(left)));
    }
    return [...rows.values()].some((lefts) => lefts.size >= 6 && lefts.size <= 8);
  }

  function areNeighbours(one, other) {
    if (one.maxLength === 1 && other.maxLength === 1) return true;
    const [a, b] = [boundsOf(one), boundsOf(other)];
    const isNarrow = b.width <= 110 && b.width <= 2.5 * b.height;
    return isNarrow && Math.abs(a.width - b.width) < 3 && Math.abs(a.top - b.top) < 3 && b.left > a.left && b.left - a.right < 60;
  }

  const isRow = (boxes) => boxes.length >= 6 && boxes.length <= 8;

  /** Inputs as the places that they make up: a row of boxes is one. */
  function placesOf(inputs) {
    const runs = [];
    for (const input of inputs) {
      const run = runs.at(-1);
      if (run && areNeighbours(run.at(-1), input)) run.push(input);
      else runs.push([input]);
    }
    const places = runs.flatMap((run) => (isRow(run) ? [run] : run.map((input) => [input])));
    return places.filter(({ length, 0: { maxLength } }) => length > 1 || maxLength < 0 || maxLength >= 6);
  }

  /** The elements that an attribute names. */
  function namedBy(input, name) {
    const ids = (attribute(input, name) ?? "").split(/\s+/).filter(Boolean);
    return ids.flatMap((id) => [...query(rootOf(input), `[id="${CSS.escape(id)}"]`)]);
  }

  /** What an input says of itself, each source on its own. */
  function wordsOf(input) {
    const shown = [...(input.labels ?? []), ...namedBy(input, "aria-labelledby")].map((label) => textOf(label));
    shown.push(...["aria-label", "placeholder", "title"].map((name) => attribute(input, name)));
    const named = ["name", "id", "data-testid"].map((name) => attribute(input, name));
    const clean = (texts) => texts.filter((text) => text?.trim()).map(plain);
    return { shown: clean(shown), named: clean(named) };
  }

  // What shows a code's form, such as `000 000` or `------`.
  const SHAPE = /^\W*([\dx]\W?){6,8}$|^[-_•·* ]{6,}$/i;
  const HEADINGS = "h1, h2, h3, h4, h5, h6, legend, [role=heading]";
  const BLOCKS = `${HEADINGS}, p, div, label, li, td, section, form, fieldset, main, header`;
  const NO_TEXT = "script, style, noscript, template, option, a, button, [role=button]";

  /** The text before a place: up to a heading, another field, or its group's end. */
  function textBefore([first], isField) {
    const texts = [];
    let block;
    for (let from = first; from; from = rootOf(from).host) {
      const walk = walker(document, rootOf(from), NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
      walk.currentNode = from;
      for (let node = walk.previousNode(); node && texts.length < 40; node = walk.previousNode()) {
        if (node instanceof Element) {
          if (isField(node)) return texts.join(" ");
          continue;
        }
        const inside = parentOf(node) instanceof Element ? parentOf(node) : null;
        if (!inside || !node.data.trim() || closest(inside, NO_TEXT) || !isVisible(inside, { checkVisibilityCSS: true })) continue;
        const heading = closest(inside, HEADINGS);
        const ends = block && block !== closest(inside, BLOCKS) ? " . " : "";
        texts.unshift(plain(heading ? textOf(heading) : node.data) + ends);
        if (heading) return texts.join(" ");
        block = closest(inside, BLOCKS);
      }
    }
    return texts.join(" ");
  }

  /** What the title and the headings of the document say. */
  function headings() {
    const shown = everywhere(HEADINGS).filter((each) => isVisible(each));
    return [titleOf(document), ...shown.map(textOf)].map(plain);
  }

  /** How surely a place is one for a code: 0 is not at all. `heads` answers the headings. */
  function rankOf(boxes, inputs, heads) {
    const own = boxes.map(wordsOf);
    const group = boxes.length > 1 ? wordsOf(closest(boxes[0], "[role=group], fieldset") ?? boxes[0]) : { shown: [], named: [] };
    const [shown, named] = ["shown", "named"].map((kind) => [...own, group].flatMap((each) => each[kind]));
    const all = [...shown, ...named];
    const tokens = boxes.flatMap(tokensOf);
    const isOf = /^(cc-.*|tel.*|postal-code|email|username|country.*|.*address.*|bday.*|current-password)$/;
    if (all.some(speaksOtherwise) || tokens.some((token) => isOf.test(token))) return 0;
    if (tokens.includes("one-time-code")) return 4;
    const form = closest(boxes[0], "form");
    // In a form for a card, a security code is the card's.
    if (form && query(form, "[autocomplete^='cc-' i]").length > 0) return 0;
    if (all.some(speaks)) return 3;
    if (all.some((text) => ELSE.test(text))) return 0;
    const near = [textBefore(boxes, (node) => inputs.includes(node) && !boxes.includes(node))];
    near.push(...namedBy(boxes[0], "aria-describedby").map((each) => plain(textOf(each))));
    if (near.some(speaksOtherwise)) return 0;
    const isDrawn = SHAPE.test(attribute(boxes[0], "placeholder") ?? "");
    const isShaped = isDrawn || boxes.length > 1 || boxes[0].maxLength >= 6 || boxes[0].inputMode === "numeric" || boxes[0].pattern;
    const isCode = isShaped || all.some((text) => WEAK.test(text));
    if (isCode && [...near, ...heads()].some(speaks)) return 2;
    return shown.length === 0 && near.some(speaks) ? 1 : 0;
  }

  /** Where a code could go: the places that no other is better than. */
  function find(selector) {
    const modal = everywhere("dialog:modal").at(-1);
    const inputs = everywhere(selector ?? TEXTS).filter((input) => input instanceof HTMLInputElement && matches(input, TEXTS));
    if ((selector ?? null) !== null) return placesOf(inputs.filter(isEditable));
    const seen = inputs.filter((input) => isText(input) && isEditable(input) && isSeen(input));
    const reached = seen.filter((input) => !modal || [...ancestors(input)].includes(modal));
    let read;
    // The headings are read once: a long page may have many fields.
    const heads = () => (read ??= headings());
    const ranked = placesOf(reached).map((boxes) => [rankOf(boxes, seen, heads), boxes]);
    const best = Math.max(1, ...ranked.map(([rank]) => rank));
    return ranked.filter(([rank]) => rank === best).map(([, boxes]) => boxes);
  }

  // A link without a target is a button, too.
  const LINKS = "a:not([href]), a[href='#'], a[href^='javascript:' i]";
  const BUTTONS = `button, input[type=submit i], input[type=button i], input[type=image i], [role=button], ${LINKS}`;
  const isUsable = (button) => button !== null && !matches(button, ":disabled, [aria-disabled=true], [aria-busy=true]");
  const isShown = (button) => isVisible(button, { checkVisibilityCSS: true }) && boundsOf(button).width > 0;

  function isGo(button) {
    const { host } = rootOf(button);
    const texts = [textOf(button), button.value, attribute(button, "aria-label"), attribute(button, "title"), host && textOf(host)];
    const text = plain(texts.filter(Boolean).join(" . "));
    return AWAY.test(text) ? null : GO.test(text);
  }

  function buttonFor(box) {
    return (box.form && buttonIn(box.form)) ?? buttonNear(box, box.form);
  }

  /** What Enter would press, unless the words of another button say more; never one that leads elsewhere. */
  function buttonIn(form) {
    const owned = (button) => button.form === form || [...ancestors(button)].includes(form);
    const ranked = everywhere(BUTTONS).filter(owned).flatMap((button) => {
      const [go, submits] = [isGo(button), button.form === form && /^(submit|image)$/.test(button.type)];
      if (go === null || !(go || submits) || !(submits || isShown(button))) return [];
      return [[(submits ? 2 : 0) + (go ? 1 : 0) - (isShown(button) ? 0 : 3), button]];
    });
    const best = Math.max(...ranked.map(([rank]) => rank));
    return ranked.find(([rank]) => rank === best)?.[1] ?? null;
  }

  /** Whether it sends what stands in another form, such as the address for a newsletter. */
  function isOthers(button, box) {
    const own = closest(button, "form");
    return own !== null && own !== box.form && query(own, "input:not([type=hidden i])").length > 0;
  }

  /** The nearest button whose words say so; around a form without one, only what is close to it. */
  function buttonNear(box, form) {
    const groups = [...ancestors(form ?? box)].filter((up) => !matches(up, "html"));
    for (const group of form ? groups.slice(0, 2) : groups) {
      const isElsewhere = (button) => closest(button, "header, nav, footer") && !closest(box, "header, nav, footer");
      const isMeant = (button) => isGo(button) && isShown(button) && !isElsewhere(button) && !isOthers(button, box);
      const said = everywhere(BUTTONS, group).filter(isMeant);
      const after = said.find((button) => comparedTo(box, button) & Node.DOCUMENT_POSITION_FOLLOWING);
      if (said.length > 0) return after ?? said[0];
    }
    return null;
  }

  const dom = { getter, method, documentOf, isConnected, matches, rootOf };
  return { dom, originNow, topTitle, find, isEditable, buttonFor, isUsable };
}
