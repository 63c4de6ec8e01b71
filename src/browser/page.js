// The script that types a one-time code into a page and submits it. The program evaluates `(page.js)((find.js)(words.js))` in an isolated
// world of exactly one frame, where no script of the page can reach it, and calls the methods of what that returns.
({ dom: { getter, method, documentOf, isConnected, matches, rootOf }, originNow, topTitle, find, isEditable, buttonFor, isUsable }) => {
  const readyState = getter(Document, "readyState");
  const send = method(EventTarget, "dispatchEvent");
  const { get: getValue, set: setValue } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  const valueOf = (box) => getValue.call(box);
  const bare = (text) => text.replace(/[\s\-\u2010-\u2015.·]/gu, "");
  const held = (boxes) => bare(boxes.map(valueOf).join(""));
  /** Long enough for what a framework does after an event, and still the same task. */
  const turn = async () => {
    for (let turns = 0; turns < 20; turns += 1) await null;
  };
  const BUBBLES = { bubbles: true, composed: true };
  const inputEvent = (kind, inputType, data) =>
    new InputEvent(kind, { ...BUBBLES, cancelable: kind === "beforeinput", inputType, data });

  function strike(box, kind, key) {
    const keyCode = key === "Enter" ? 13 : key.charCodeAt(0);
    const code = key === "Enter" ? key : `Digit${key}`;
    const charCode = kind === "keypress" ? keyCode : 0;
    const given = { ...BUBBLES, cancelable: true, view: self, key, code, keyCode, which: keyCode, charCode };
    return send(box, new KeyboardEvent(kind, given));
  }

  function empty(box) {
    if (valueOf(box) === "") return;
    setValue.call(box, "");
    if (isConnected(box) && documentOf(box) === document) send(box, inputEvent("input", "deleteContentBackward", null));
  }

  /** What was filled last: where, by what, every box that held some of it, and what the page did meanwhile. */
  let filled = null;
  const holds = (box) => bare(valueOf(box)) !== "" && filled.code.includes(bare(valueOf(box)));
  const isIn = ({ boxes, roots }) => (box) =>
    isConnected(box) && documentOf(box) === document && rootOf(box) === roots[boxes.indexOf(box)] && originNow() === filled.origin;
  const placed = (boxes) => ({ boxes, roots: boxes.map((box) => rootOf(box)) });

  function findPlace(selector, length) {
    const found = find(selector).filter((boxes) => boxes.length === 1 || boxes.length === length);
    return found.length === 1 ? placed(found[0]) : null;
  }

  function focus(box) {
    let isFired = false;
    const note = () => (isFired = true);
    box.addEventListener("focus", note, { once: true, capture: true });
    box.focus({ preventScroll: true });
    box.removeEventListener("focus", note, { capture: true });
    // A window in the background fires no event.
    if (isFired) return;
    send(box, new FocusEvent("focus", { composed: true, view: self }));
    send(box, new FocusEvent("focusin", { ...BUBBLES, view: self }));
  }

  /** Puts a digit where the caret is, as its key would. */
  function insert(box, digit) {
    const length = valueOf(box).length;
    const [start, end] = box.selectionStart === null ? [length, length] : [box.selectionStart, box.selectionEnd];
    const value = valueOf(box).slice(0, start) + digit + valueOf(box).slice(end);
    if (box.maxLength > 0 && value.length > box.maxLength) return;
    setValue.call(box, value);
    if (box.selectionStart !== null) box.setSelectionRange(start + 1, start + 1);
    send(box, inputEvent("input", "insertText", digit));
  }

  /** A page that handles a key itself prevents what the key would do. Whatever it does, no event goes to a box that it moved. */
  function press(box, digit, place) {
    const isHere = () => isIn(place)(box);
    const isFree = strike(box, "keydown", digit) && isHere() && strike(box, "keypress", digit);
    if (isFree && isHere() && send(box, inputEvent("beforeinput", "insertText", digit)) && isHere()) insert(box, digit);
    if (isHere()) strike(box, "keyup", digit);
  }

  async function enter(box, place, isFirst) {
    if (isFirst) {
      focus(box);
      await turn();
      if (!isIn(place)(box)) return false;
      empty(box);
      box.select();
      await turn();
    }
    return isIn(place)(box) && isEditable(box);
  }

  /** Types the code; whether all of it was typed. A place that the page replaces is looked for again: after each digit that
   * the new one has as well, and else twice at most. */
  async function type() {
    const { code, selector } = filled;
    for (let at = 0, lost = 0, kept = 0; at < code.length; ) {
      const { place } = filled;
      const box = place.boxes[place.boxes.length > 1 ? at : 0];
      if (await enter(box, place, place.boxes.length > 1 || at === 0)) {
        filled.touched.add(box);
        const isLast = at === code.length - 1;
        if (isLast) filled.before = { held: held(place.boxes), canPress: isUsable(buttonFor(place.boxes[0])), submits: filled.submits };
        filled.isGiven ||= isLast;
        press(box, code[at], place);
        await turn();
        at += 1;
        if (isIn(place)(box) && (isLast || place.boxes.length > 1) && !isTaken()) send(box, new Event("change", BUBBLES));
        continue;
      }
      const again = lost < 2 && findPlace(selector, code.length);
      if (!again) return false;
      filled.place = again;
      const isKept = held(again.boxes) === code.slice(0, at);
      if (isKept && at > kept) kept = at;
      else lost += 1;
      if (!isKept) at = 0;
    }
    await turn();
    return true;
  }

  /** Pastes the code, for a page that takes no keys; a page that does not handle that either gets it as one input. */
  async function paste() {
    const { place, code } = filled;
    const [box] = place.boxes;
    place.boxes.filter(isIn(place)).forEach(empty);
    await turn();
    if (!isIn(place)(box)) return;
    place.boxes.forEach((each) => filled.touched.add(each));
    filled.isGiven = true;
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", code);
    const isFree = send(box, new ClipboardEvent("paste", { ...BUBBLES, cancelable: true, clipboardData }));
    if (isFree && isIn(place)(box) && place.boxes.length === 1) {
      setValue.call(box, code);
      send(box, inputEvent("input", "insertFromPaste", code));
    }
    await turn();
  }

  /** Whether the page has submitted the code on its own. */
  function isTaken() {
    const { place, before, submits, code } = filled;
    if (submits > 0) return true;
    if (!before) return false;
    const [box] = place.boxes;
    if (!isConnected(box) || !isEditable(box)) return true;
    if (before.held === code.slice(0, -1) && held(place.boxes) === "") return true;
    return before.canPress && !isUsable(buttonFor(box));
  }

  // Submitting.
  const clickHtml = method(HTMLElement, "click");
  /** A button may be a drawing, which has no way to be clicked of its own. */
  const click = (button) =>
    button instanceof HTMLElement ? clickHtml(button) : send(button, new MouseEvent("click", { ...BUBBLES, cancelable: true, view: self }));
  const requestSubmit = method(HTMLFormElement, "requestSubmit");
  /** The milliseconds in which a page that handles Enter begins a request. */
  const BEGINS_WITHIN = 300;

  function push() {
    if (isTaken()) return "submitted";
    const box = filled.place.boxes.at(-1);
    if (filled.entered) return afterEnter();
    const button = buttonFor(box);
    if (button && !isUsable(button)) return "pending";
    if (button) return (click(button), filled.isInvalid && filled.submits === 0 ? "filled" : "submitted");
    return box.form ? pressEnter(box) : enterAlone(box);
  }

  function pressEnter(box) {
    const isFree = strike(box, "keydown", "Enter") && strike(box, "keypress", "Enter");
    if (isFree && filled.submits === 0 && isIn(filled.place)(box)) requestSubmit(box.form);
    if (isIn(filled.place)(box)) strike(box, "keyup", "Enter");
    return "submitted";
  }

  /** Presses Enter where no form makes it send the code: only what the page does then shows whether it did. */
  async function enterAlone(box) {
    const entered = { at: performance.now(), url: location.href, isSent: false };
    filled.entered = entered;
    const sign = () => (entered.isSent = true);
    // A page that counts down changes by itself, so only what happens in the same task is a sign.
    const changes = new MutationObserver((list) => list.some(isReaction) && sign());
    for (const root of new Set([document, rootOf(box)])) {
      changes.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    }
    // A request is listed when it has ended.
    const requests = new PerformanceObserver((list) => list.getEntries().filter(isBegunBy(entered)).forEach(sign));
    requests.observe({ type: "resource" });
    // Many fields prevent the typing of everything but digits, in "keypress": that says nothing of Enter.
    if (!strike(box, "keydown", "Enter")) sign();
    else strike(box, "keypress", "Enter");
    await turn();
    if (isIn(filled.place)(box)) strike(box, "keyup", "Enter");
    await turn();
    changes.disconnect();
    return afterEnter();
  }

  /** Some pages note every key at their root. */
  const isReaction = ({ type, target }) => type !== "attributes" || !matches(target, "html, body");

  const isBegunBy = ({ at }) => ({ initiatorType, startTime }) =>
    /^(fetch|xmlhttprequest|beacon)$/.test(initiatorType) && startTime >= at && startTime < at + BEGINS_WITHIN;

  /** Whether the page reacted to Enter. If it did not, the code stays: another button could do anything. */
  function afterEnter() {
    const { url, isSent } = filled.entered;
    return isSent || isTaken() || location.href !== url ? "submitted" : "pending";
  }

  /** Does something while it notices what forms do. */
  async function watched(run) {
    const notice = { submit: () => (filled.submits += 1), invalid: () => (filled.isInvalid = true) };
    for (const [kind, noticed] of Object.entries(notice)) self.addEventListener(kind, noticed, true);
    try {
      return await run();
    } finally {
      for (const [kind, noticed] of Object.entries(notice)) self.removeEventListener(kind, noticed, true);
    }
  }

  /** After the page has made the boxes anew with what was in them. */
  function findAgain() {
    if (filled.place.boxes.every(isIn(filled.place))) return;
    const again = findPlace(filled.selector, filled.code.length);
    if (again && held(again.boxes) === filled.code) filled.place = again;
  }

  async function typeAndSubmit(isToSubmit) {
    const isAll = await type();
    findAgain();
    if (isTaken()) return "submitted";
    if (isAll && held(filled.place.boxes) !== filled.code) await paste();
    if (isTaken() && isAll) return "submitted";
    if (held(filled.place.boxes) !== filled.code) return "untyped";
    return isToSubmit ? push() : "filled";
  }

  const isSelector = (selector) => {
    try {
      return new DocumentFragment().querySelector(selector ?? "input") === null;
    } catch {
      return false;
    }
  };

  const methods = {
    look(selector) {
      const seen = { origin: originNow(), title: topTitle().slice(0, 200), fields: 0, settled: readyState(document) === "complete" };
      return isSelector(selector) ? { ...seen, fields: find(selector).length } : { ...seen, selector: "invalid" };
    },

    async fill(origin, code, submit, selector) {
      if (origin === "null" || originNow() !== origin) return { outcome: "wrong_origin" };
      const places = isSelector(selector) ? find(selector).filter(({ length }) => length === 1 || length === code.length) : [];
      if (places.length !== 1) return { outcome: places.length === 0 ? "no_field" : "several_fields" };
      const noticed = { submits: 0, isInvalid: false, before: null, isGiven: false, entered: null };
      filled = { origin, code, selector, place: placed(places[0]), touched: new Set(), ...noticed };
      const outcome = await watched(() => typeAndSubmit(submit)).catch(() => "untyped");
      if (outcome !== "untyped") return { outcome };
      methods.wipe();
      // A page that was given every digit may have sent them, whatever its field shows.
      return { outcome: filled.isGiven ? "unclear" : "untyped" };
    },

    async submit() {
      if (!filled || originNow() !== filled.origin) return { outcome: "filled" };
      findAgain();
      return { outcome: await watched(async () => push()).catch(() => "filled") };
    },

    rest: () => ({ gone: !filled || ![...filled.touched].some((box) => isConnected(box) && holds(box)) }),

    wipe() {
      if (filled) [...filled.touched].reverse().filter(holds).forEach(empty);
    },
  };
  return methods;
}
