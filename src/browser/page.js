// What runs in a page to find the place for a one-time code, type it and submit it. The program evaluates this expression in an
// isolated world of exactly one frame, where no script of the page can reach it, and calls the methods of what it returns.
// The page does share the elements, and can name some so that they hide what a form or the document has: properties are
// read by the prototypes' own getters wherever that could be.
(() => {
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
  const [attribute, matches, closest, boundsOf, isVisible] = ["getAttribute", "matches", "closest", "getBoundingClientRect", "checkVisibility"].map(
    (name) => method(Element, name),
  );
  const send = method(EventTarget, "dispatchEvent");
  const titleOf = getter(Document, "title");
  const [readyState, isPrerendering] = [getter(Document, "readyState"), getter(Document, "prerendering")];
  const walker = method(Document, "createTreeWalker");
  const queries = new Map([Document, DocumentFragment, Element].map((kind) => [kind, method(kind, "querySelectorAll")]));
  const query = (of, selector) => queries.get([...queries.keys()].find((kind) => of instanceof kind))(of, selector);
  const { get: getValue, set: setValue } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  const valueOf = (box) => getValue.call(box);
  const above = (node) => (node instanceof ShadowRoot ? node.host : parentOf(node));

  // Words. Spaces in a phrase stand for a space or none, and a word of at most four Latin letters for a whole word.
  const plain = (text) =>
    text
      .slice(0, 400)
      .replace(/(\p{Ll})(\p{Lu})|(\p{Lu})(?=\p{Lu}\p{Ll})/gu, "$1$3 $2")
      .toLowerCase()
      .normalize("NFKD")
      .replace(/\p{M}/gu, "")
      .replace(/[\s_\-\u2010-\u2015'’:[\]]+/gu, " ");
  const phrase = (text) => {
    const pattern = plain(text).replaceAll(" ", " ?");
    return /^[a-z0-9]{1,4}$/.test(pattern) ? `(?<![a-z])${pattern}(?![a-z])` : pattern;
  };
  const words = (...lists) => new RegExp(lists.flatMap((list) => list.split("|").map(phrase)).join("|"), "u");

  const CODE = words(
    "verification code|verify code|security code|confirmation code|authentication code|authenticator|auth code|login code|log in code",
    "sign in code|access code|one time|2fa|mfa|tfa|otp|totp|otp code|two factor|2 factor|two step|2 step|multi factor|passcode|6 digit|six digit",
    "8 digit|eight digit|digit code|sms code|code we sent|code sent|code from your|enter the code|enter code|enter your code|single use code",
    "Bestätigungscode|Verifizierungscode|Sicherheitscode|Einmalcode|Einmalpasswort|Einmalkennwort|Einmal Code|Prüfcode|Zwei Faktor|2 Faktor",
    "Zwei Schritt|zweistufig|Authentifizierungscode|Anmeldecode|Zugangscode|stelligen Code|stelliger Code|stellige Code|Authentifikator",
    "code de vérification|code de sécurité|code de confirmation|code d authentification|code de validation|code de connexion|usage unique",
    "code unique|deux facteurs|double authentification|deux étapes|6 chiffres|six chiffres|8 chiffres",
    "código de verificación|código de seguridad|código de confirmación|código de autenticación|código de acceso|un solo uso|dos factores",
    "dos pasos|6 dígitos|seis dígitos|autenticador|código de verificação|código de segurança|código de confirmação|código de autenticação",
    "uso único|dois fatores|duas etapas|dois passos|codice di verifica|codice di sicurezza|codice di conferma|codice di autenticazione",
    "codice di accesso|monouso|due fattori|due passaggi|6 cifre|sei cifre|autenticatore|verificatiecode|beveiligingscode|bevestigingscode",
    "authenticatiecode|eenmalige code|tweestaps|twee stappen|tweefactor|twee factor|inlogcode|toegangscode|cijferige code|controlecode",
    "kod weryfikacyjny|kodu weryfikacyjnego|kod bezpieczeństwa|kod potwierdzający|kod uwierzytelniający|jednorazow|dwuetapow|dwuskładnikow",
    "cyfrowy kod|kod dostępu|код подтверждения|кода подтверждения|проверочный код|код безопасности|код проверки|одноразов|двухфактор",
    "двухэтап|код аутентификации|код из sms|код из смс|код из приложения|аутентификатор|шестизначн|6 значн|код підтвердження|двофактор",
    "doğrulama kodu|güvenlik kodu|onay kodu|tek kullanımlık|iki faktörlü|iki adımlı|haneli kod|giriş kodu|kimlik doğrulayıcı",
    "認証コード|確認コード|検証コード|セキュリティコード|セキュリティ コード|ワンタイム|二段階|2段階|二要素|2要素|認証番号|確認番号|認証アプリ|6桁",
    "인증 코드|인증 번호|확인 코드|보안 코드|일회용|2단계|이중 인증|2차 인증|6자리|验证码|驗證碼|校验码|动态码|动态密码|動態密碼|一次性|两步|兩步",
    "双重|雙重|双因素|雙因素|验证器|驗證器|安全码|安全碼|确认码|確認碼|6 位|六位|verifieringskod|säkerhetskod|engångskod|tvåfaktor|tvåstegs",
    "bekreftelseskode|bekræftelseskode|engangskode|tofaktor|totrinn|sikkerhetskode|sikkerhedskode|ověřovací kód|jednorázov|dvoufaktor",
    "dvoufázov|vahvistuskoodi|kertakäyttö|mã xác minh|mã xác thực|kode verifikasi|رمز التحقق",
  );
  const WEAK = words("code|codes|pin|token|digit|digits|código|codice|kod|kodu|kode|kód|код|コード|番号|코드|번호|码|碼|ziffer|chiffre|cijfer");
  // Codes of another kind.
  const OTHER = words(
    "promo|coupon|voucher|gift|discount|referral|invit|captcha|zip|postal|postcode|post code|area code|country code|dial|dialling|sort code",
    "cvv|cvv2|cvc|cvc2|csc|card security|card verification|card code|Postleitzahl|plz|Vorwahl|Gutschein|Rabatt|Aktionscode|Länderkennzahl|Ländercode",
    "Kartenprüf|indicatif|code pays|parrainage|cryptogramme|cupón|cupom|descuento|desconto|prefijo|cep|ddd|sconto|cap|codice fiscale|prefisso",
    "korting|landcode|netnummer|kod pocztowy|rabat|kierunkow|почтовый|индекс|промокод|купон|код страны|posta kodu|promosyon|kupon|indirim",
    "alan kodu|ülke kodu|郵便|クーポン|プロモ|招待|国番号|市外局番|カード|우편|쿠폰|프로모션|추천|국가 번호|邮政|邮编|郵遞|优惠|優惠|促销|区号|區碼|邀请|图形|圖形",
  );
  const BACKUP = words(
    "backup|back up|recovery|scratch|emergency|Wiederherstellung|Ersatzcode|Notfall|récupération|de secours|recuperación|respaldo|recuperação",
    "recupero|di riserva|herstel|reservecode|odzyskiwania|zapasow|резервн|восстановлен|kurtarma|yedek|リカバリ|バックアップ|回復|復旧|복구|백업|恢复|恢復|备用|備用|復原",
  );
  // What is asked for where no code of any kind is.
  const ELSE = words(
    "phone|mobile|telefon|tel|email|mail|user|username|login|password|passwort|kennwort|mot de passe|contraseña|senha|wachtwoord|hasło|пароль|şifre",
    "パスワード|비밀번호|密码|search|suche|query|name|nom|nombre|nome|address|adresse|birth|date|amount|card|iban|url|site|company|device",
    "téléphone|teléfono|telefone|telefono|телефон|電話|전화|手机|comment|message|answer|quantity|year|age",
  );
  const GO = words(
    "verify|continue|sign in|signin|log in|login|submit|confirm|next|ok|done|authenticate|validate|proceed|bestätigen|weiter|anmelden|einloggen",
    "prüfen|absenden|vérifier|continuer|valider|confirmer|connecter|connexion|suivant|verificar|continuar|iniciar|entrar|confirmar|siguiente",
    "acceder|validar|comprobar|avançar|próximo|verifica|continua|accedi|conferma|avanti|invia|verifiëren|doorgaan|inloggen|bevestigen|aanmelden",
    "volgende|controleren|verder|zweryfikuj|kontynuuj|zaloguj|potwierdź|dalej|подтвердить|продолжить|войти|далее|проверить|doğrula|devam|giriş",
    "onayla|ileri|oturum aç|確認|続行|続ける|ログイン|サインイン|認証|次へ|送信|検証|확인|계속|로그인|인증|다음|제출|验证|继续|登录|确认|下一步|提交|确定",
    "登入|驗證|繼續|確定|verifiera|fortsätt|logga in|bekreft|bekræft|fortsett|fortsæt|ověřit|pokračovat|přihlásit",
  );
  const AWAY = words(
    "resend|send|new code|again|another|other|different|instead|cancel|back|close|help|lost|trouble|can t|skip|sign up|register|forgot|change|edit|log out|sign out",
    "logout|google|apple|github|facebook|microsoft|passkey|password|recovery|backup|call|text me|erneut|neuen Code|abbrechen|zurück|andere|passwort",
    "renvoyer|nouveau code|annuler|retour|autre|reenviar|nuevo código|cancelar|volver|otro|otra|atrás|novo código|voltar|outro|outra|invia di nuovo",
    "nuovo codice|rinvia|reinvia|annulla|indietro|altro|opnieuw|annuleren|terug|wyślij|anuluj|wstecz|wróć|inny|отправить|повторно|отмена|назад",
    "другой|tekrar|yeniden|iptal|geri|başka|再送|キャンセル|戻る|別の|재전송|다시|받기|취소|뒤로|다른|重新|发送|获取|取消|返回|其他|傳送|獲取|skicka|avbryt|zpět",
  );
  const PARTS = /[.,;/|()!?。、，；]| (?:or|oder|ou|o|of|lub|или|veya) |または|또는|或/u;

  /** Whether some part of a text speaks of a one-time code. */
  const speaks = (text) => text.split(PARTS).some((part) => CODE.test(part) && !OTHER.test(part) && !BACKUP.test(part));
  /** Whether it speaks of other codes alone. */
  const speaksOtherwise = (text) => (OTHER.test(text) || BACKUP.test(text)) && !speaks(text);

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

  // Which inputs can take a code at all.
  const TEXTS = "input:not([type]), input[type=''], input[type=text i], input[type=tel i], input[type=number i], input[type=password i]";
  const tokensOf = (input) => (attribute(input, "autocomplete") ?? "").toLowerCase().split(/\s+/);
  const isEditable = (input) => !matches(input, ":disabled") && !input.readOnly && ![...ancestors(input)].some((up) => matches(up, "[inert]"));

  function isText(input) {
    if (input.type !== "password") return true;
    const isPassword = tokensOf(input).some((token) => token.endsWith("-password"));
    return tokensOf(input).includes("one-time-code") || (!isPassword && (input.inputMode === "numeric" || input.maxLength === 1));
  }

  function opacityOf(element) {
    return [element, ...ancestors(element)].reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1);
  }

  /** What is left of an element's rectangle by what cuts it off. */
  function shownBounds(element) {
    let { left, top, right, bottom } = boundsOf(element);
    for (const up of ancestors(element)) {
      const { overflowX, overflowY, clipPath } = getComputedStyle(up);
      if (/inset\((50|100)%|circle\(0/.test(clipPath)) return { width: 0, height: 0 };
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
    if (width >= 8 && height >= 8 && opacityOf(input) >= 0.1) return !/inset\((50|100)%|circle\(0/.test(getComputedStyle(input).clipPath);
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

  /** What an input says of itself, each source on its own. */
  function wordsOf(input) {
    const byId = (attribute(input, "aria-labelledby") ?? "").split(/\s+/).filter(Boolean);
    const labels = byId.flatMap((id) => [...query(rootOf(input), `[id="${CSS.escape(id)}"]`)]);
    const shown = [...(input.labels ?? []), ...labels].map((label) => textOf(label));
    shown.push(...["aria-label", "placeholder", "title"].map((name) => attribute(input, name)));
    const named = ["name", "id", "data-testid"].map((name) => attribute(input, name));
    const clean = (texts) => texts.filter((text) => text?.trim()).map(plain);
    return { shown: clean(shown), named: clean(named) };
  }

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

  /** How surely a place is one for a code: 0 is not at all. */
  function rankOf(boxes, inputs) {
    const own = boxes.map(wordsOf);
    const group = boxes.length > 1 ? wordsOf(closest(boxes[0], "[role=group], fieldset") ?? boxes[0]) : { shown: [], named: [] };
    const [shown, named] = ["shown", "named"].map((kind) => [...own, group].flatMap((each) => each[kind]));
    const all = [...shown, ...named];
    const tokens = boxes.flatMap(tokensOf);
    const isOf = /^(cc-.*|tel.*|postal-code|email|username|country.*|.*address.*|bday.*|current-password)$/;
    if (all.some(speaksOtherwise) || tokens.some((token) => isOf.test(token))) return 0;
    if (tokens.includes("one-time-code")) return 4;
    if (all.some(speaks)) return 3;
    if (all.some((text) => ELSE.test(text))) return 0;
    const described = (attribute(boxes[0], "aria-describedby") ?? "").split(/\s+/).filter(Boolean);
    const near = [textBefore(boxes, (node) => inputs.includes(node) && !boxes.includes(node))];
    near.push(...described.flatMap((id) => [...query(rootOf(boxes[0]), `[id="${CSS.escape(id)}"]`)].map((each) => plain(textOf(each)))));
    if (near.some(speaksOtherwise)) return 0;
    const headings = () => [titleOf(document), ...everywhere(HEADINGS).filter((each) => isVisible(each)).map(textOf)].map(plain);
    const isShaped = boxes.length > 1 || boxes[0].maxLength >= 6 || boxes[0].inputMode === "numeric" || boxes[0].pattern;
    const isCode = isShaped || all.some((text) => WEAK.test(text));
    if (isCode && [...near, ...headings()].some(speaks)) return 2;
    return shown.length === 0 && near.some(speaks) ? 1 : 0;
  }

  /** Where a code could go: the places that no other is better than. */
  function find(selector) {
    const modal = everywhere("dialog:modal").at(-1);
    const inputs = everywhere(selector ?? TEXTS).filter((input) => input instanceof HTMLInputElement && matches(input, TEXTS));
    if ((selector ?? null) !== null) return placesOf(inputs.filter(isEditable));
    const seen = inputs.filter((input) => isText(input) && isEditable(input) && isSeen(input));
    const ranked = placesOf(seen.filter((input) => !modal || [...ancestors(input)].includes(modal))).map((boxes) => [rankOf(boxes, seen), boxes]);
    const best = Math.max(1, ...ranked.map(([rank]) => rank));
    return ranked.filter(([rank]) => rank === best).map(([, boxes]) => boxes);
  }

  // Typing.
  const bare = (text) => text.replace(/[\s\-\u2010-\u2015.·]/gu, "");
  const held = (boxes) => bare(boxes.map(valueOf).join(""));
  /** Long enough for what a framework does after an event, and still the same task. */
  const turn = async () => {
    for (let turns = 0; turns < 20; turns += 1) await null;
  };
  const BUBBLES = { bubbles: true, composed: true };
  const inputEvent = (kind, inputType, data) => new InputEvent(kind, { ...BUBBLES, cancelable: kind === "beforeinput", inputType, data });

  function strike(box, kind, key) {
    const keyCode = key === "Enter" ? 13 : key.charCodeAt(0);
    const code = key === "Enter" ? key : `Digit${key}`;
    const charCode = kind === "keypress" ? keyCode : 0;
    return send(box, new KeyboardEvent(kind, { ...BUBBLES, cancelable: true, key, code, keyCode, which: keyCode, charCode, view: self }));
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
    let isTold = false;
    const tell = () => (isTold = true);
    box.addEventListener("focus", tell, { once: true, capture: true });
    box.focus({ preventScroll: true });
    box.removeEventListener("focus", tell, { capture: true });
    // A window in the background tells nobody.
    if (isTold) return;
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

  /** Types the code; whether all of it was typed. A place that the page replaces is looked for again, twice at most. */
  async function type() {
    const { code, selector } = filled;
    for (let at = 0, lost = 0; at < code.length; ) {
      const { place } = filled;
      const box = place.boxes[place.boxes.length > 1 ? at : 0];
      if (await enter(box, place, place.boxes.length > 1 || at === 0)) {
        filled.touched.add(box);
        const isLast = at === code.length - 1;
        if (isLast) filled.before = { held: held(place.boxes), canPress: isUsable(buttonFor(place.boxes[0])), submits: filled.submits };
        press(box, code[at], place);
        await turn();
        at += 1;
        if (isIn(place)(box) && (isLast || place.boxes.length > 1) && !isTaken()) send(box, new Event("change", BUBBLES));
        continue;
      }
      const again = lost < 2 && findPlace(selector, code.length);
      if (!again) return false;
      lost += 1;
      filled.place = again;
      if (held(again.boxes) !== code.slice(0, at)) at = 0;
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
  const BUTTONS = "button, input[type=submit i], input[type=button i], input[type=image i], [role=button]";
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

  /** The nearest button whose words say so; around a form without one, only what is close to it. */
  function buttonNear(box, form) {
    const groups = [...ancestors(form ?? box)].filter((up) => !matches(up, "html"));
    for (const group of form ? groups.slice(0, 2) : groups) {
      const isElsewhere = (button) => closest(button, "header, nav, footer") && !closest(box, "header, nav, footer");
      const said = everywhere(BUTTONS, group).filter((button) => isGo(button) && isShown(button) && !isElsewhere(button));
      const after = said.find((button) => comparedTo(box, button) & Node.DOCUMENT_POSITION_FOLLOWING);
      if (said.length > 0) return after ?? said[0];
    }
    return null;
  }

  const click = method(HTMLElement, "click");
  const requestSubmit = method(HTMLFormElement, "requestSubmit");

  function push() {
    if (isTaken()) return "submitted";
    const box = filled.place.boxes.at(-1);
    const button = buttonFor(box);
    if (button && !isUsable(button)) return "pending";
    if (button) return (click(button), filled.isInvalid && filled.submits === 0 ? "filled" : "submitted");
    const isFree = strike(box, "keydown", "Enter") && strike(box, "keypress", "Enter");
    if (isFree && filled.submits === 0 && box.form && isIn(filled.place)(box)) requestSubmit(box.form);
    if (isIn(filled.place)(box)) strike(box, "keyup", "Enter");
    return "submitted";
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

  async function typeAndSubmit(isToSubmit) {
    const isAll = await type();
    if (isTaken()) return "submitted";
    if (isAll && held(filled.place.boxes) !== filled.code) await paste();
    if (isTaken() && isAll) return "submitted";
    if (held(filled.place.boxes) !== filled.code) return "untyped";
    return isToSubmit ? push() : "filled";
  }

  const methods = {
    look(selector) {
      const seen = { origin: originNow(), title: topTitle().slice(0, 200), fields: 0, settled: readyState(document) === "complete" };
      try {
        return { ...seen, fields: find(selector).length };
      } catch {
        return { ...seen, selector: "invalid" };
      }
    },

    async fill(origin, code, submit, selector) {
      if (origin === "null" || originNow() !== origin) return { outcome: "wrong_origin" };
      let places = [];
      try {
        places = find(selector).filter((boxes) => boxes.length === 1 || boxes.length === code.length);
      } catch {}
      if (places.length !== 1) return { outcome: places.length === 0 ? "no_field" : "several_fields" };
      filled = { origin, code, selector, place: placed(places[0]), touched: new Set(), submits: 0, isInvalid: false, before: null };
      const outcome = await watched(() => typeAndSubmit(submit)).catch(() => "untyped");
      if (outcome === "untyped") methods.wipe();
      return { outcome };
    },

    async submit() {
      if (!filled || originNow() !== filled.origin) return { outcome: "filled" };
      return { outcome: await watched(async () => push()).catch(() => "filled") };
    },

    rest: () => ({ gone: !filled || ![...filled.touched].some((box) => isConnected(box) && holds(box)) }),

    wipe() {
      if (filled) [...filled.touched].reverse().filter(holds).forEach(empty);
    },
  };
  return methods;
})()
