// The words of login pages, in the languages of their readers: for one-time codes, for other codes, and on buttons. An
// expression, whose value `find.js` takes.
(() => {
  // Spaces in a phrase stand for a space or none, and a word of at most four Latin letters for a whole word.
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
    "verification code|verify code|security code|confirmation code|authentication code|authenticator|auth code|login code",
    "log in code|sign in code|access code|one time|2fa|mfa|tfa|otp|totp|otp code|two factor|2 factor|two step|2 step",
    "multi factor|passcode|6 digit|six digit|8 digit|eight digit|digit code|authentication app|temporary code|sms code",
    "code we sent|code sent|code from your|enter the code|enter code|enter your code|single use code|Bestätigungscode",
    "Verifizierungscode|Sicherheitscode|Einmalcode|Einmalpasswort|Einmalkennwort|Einmal Code|Prüfcode|Zwei Faktor|2 Faktor",
    "Zwei Schritt|Authentifizierungs App|Authentifizierungsapp|zweistufig|Authentifizierungscode|Anmeldecode|Zugangscode",
    "stelligen Code|stelliger Code|stellige Code|Authentifikator|code de vérification|code de sécurité|code de confirmation",
    "code d authentification|code de validation|code de connexion|usage unique|application d authentification",
    "appli d authentification|code généré|code reçu|code unique|deux facteurs|double authentification|deux étapes",
    "6 chiffres|six chiffres|8 chiffres|código de verificación|código de seguridad|código de confirmación",
    "código de autenticación|código de acceso|un solo uso|dos factores|app de autenticación|aplicación de autenticación",
    "dos pasos|6 dígitos|seis dígitos|autenticador|código de verificação|código de segurança|código de confirmação",
    "código de autenticação|app de autenticação|aplicativo de autenticação|uso único|dois fatores|duas etapas|dois passos",
    "codice di verifica|codice di sicurezza|codice di conferma|codice di autenticazione|app di autenticazione",
    "codice temporaneo|codice di accesso|monouso|due fattori|due passaggi|6 cifre|sei cifre|autenticatore|verificatiecode",
    "beveiligingscode|bevestigingscode|authenticatiecode|eenmalige code|tweestaps|twee stappen|tweefactor|twee factor",
    "inlogcode|toegangscode|cijferige code|controlecode|kod weryfikacyjny|kodu weryfikacyjnego|kod bezpieczeństwa",
    "kod potwierdzający|kod uwierzytelniający|jednorazow|dwuetapow|dwuskładnikow|kod z aplikacji|uwierzytelniając",
    "cyfrowy kod|kod dostępu|код подтверждения|кода подтверждения|проверочный код|код безопасности|код проверки|одноразов",
    "двухфактор|двухэтап|код аутентификации|код из sms|код из смс|код из приложения|аутентификатор|шестизначн|6 значн",
    "код підтвердження|двофактор|doğrulama kodu|güvenlik kodu|onay kodu|tek kullanımlık|iki faktörlü|iki adımlı|haneli kod",
    "giriş kodu|kimlik doğrulayıcı|kimlik doğrulama uygulama|認証コード|確認コード|検証コード|セキュリティコード|セキュリティ コード|ワンタイム|二段階|2段階|二要素|2要素",
    "認証番号|確認番号|認証アプリ|6桁|인증 코드|인증 번호|확인 코드|보안 코드|일회용|2단계|이중 인증|2차 인증|6자리|验证码|驗證碼|校验码|动态码|动态密码|動態密碼|一次性|两步|兩步|双重|雙重|双因素|雙因素",
    "验证器|驗證器|安全码|安全碼|确认码|確認碼|6 位|六位|verifieringskod|säkerhetskod|engångskod|tvåfaktor|tvåstegs|bekreftelseskode",
    "bekræftelseskode|engangskode|tofaktor|totrinn|sikkerhetskode|sikkerhedskode|ověřovací kód|jednorázov|dvoufaktor",
    "dvoufázov|vahvistuskoodi|kertakäyttö|mã xác minh|mã xác thực|kode verifikasi|رمز التحقق",
  );
  const WEAK = words("code|codes|pin|token|digit|digits|código|codice|kod|kodu|kode|kód|код|コード|番号|코드|번호|码|碼|ziffer|chiffre|cijfer");
  // Codes of another kind.
  const OTHER = words(
    "promo|coupon|voucher|gift|discount|referral|invit|captcha|zip|postal|postcode|post code|area code|country code|dial",
    "dialling|sort code|cvv|cvv2|cvc|cvc2|csc|card security|card verification|card code|Postleitzahl|plz|Vorwahl|Gutschein",
    "Rabatt|Aktionscode|Länderkennzahl|Ländercode|Kartenprüf|indicatif|code pays|parrainage|cryptogramme|cupón|cupom",
    "descuento|desconto|prefijo|cep|ddd|sconto|cap|codice fiscale|prefisso|korting|landcode|netnummer|kod pocztowy|rabat",
    "kierunkow|почтовый|индекс|промокод|купон|код страны|posta kodu|promosyon|kupon|indirim|alan kodu|ülke kodu|郵便|クーポン|プロモ",
    "招待|国番号|市外局番|カード|우편|쿠폰|프로모션|추천|국가 번호|邮政|邮编|郵遞|优惠|優惠|促销|区号|區碼|邀请|图形|圖形",
  );
  const BACKUP = words(
    "backup|back up|recovery|scratch|emergency|Wiederherstellung|Ersatzcode|Notfall|récupération|de secours|recuperación",
    "respaldo|recuperação|recupero|di riserva|herstel|reservecode|odzyskiwania|zapasow|резервн|восстановлен|kurtarma|yedek",
    "リカバリ|バックアップ|回復|復旧|복구|백업|恢复|恢復|备用|備用|復原",
  );
  // Fields that ask for no code of any kind.
  const ELSE = words(
    "phone|mobile|telefon|tel|email|mail|user|username|login|password|passwort|kennwort|mot de passe|contraseña|senha",
    "wachtwoord|hasło|пароль|şifre|パスワード|비밀번호|密码|search|suche|query|name|nom|nombre|nome|address|adresse|birth|date|amount",
    "card|iban|url|site|company|device|téléphone|teléfono|telefone|telefono|телефон|電話|전화|手机|comment|message|answer",
    "quantity|year|age",
  );
  const GO = words(
    "verify|continue|enter|unlock|sign in|signin|log in|login|submit|confirm|next|ok|done|authenticate|validate|proceed|bestätigen",
    "weiter|anmelden|einloggen|prüfen|absenden|vérifier|continuer|valider|confirmer|connecter|connexion|suivant|verificar",
    "continuar|iniciar|entrar|confirmar|siguiente|acceder|validar|comprobar|avançar|próximo|verifica|continua|accedi",
    "conferma|avanti|invia|verifiëren|doorgaan|inloggen|bevestigen|aanmelden|volgende|controleren|verder|zweryfikuj",
    "kontynuuj|zaloguj|potwierdź|dalej|подтвердить|продолжить|войти|далее|проверить|doğrula|devam|giriş|onayla|ileri",
    "oturum aç|確認|続行|続ける|ログイン|サインイン|認証|次へ|送信|検証|확인|계속|로그인|인증|다음|제출|验证|继续|登录|确认|下一步|提交|确定|登入|驗證|繼續|確定|verifiera|fortsätt",
    "logga in|bekreft|bekræft|fortsett|fortsæt|ověřit|pokračovat|přihlásit|підтвердити|продовжити|увійти|далі|vahvista|jatka",
    "xác nhận|xác minh|tiếp tục|đăng nhập|verifikasi|lanjut|تأكيد|تحقق|متابعة",
  );
  const AWAY = words(
    "resend|send|new code|didn t|did not|haven t|sms|by email|by phone|by text|sso|again|another|other|different|instead|cancel|back|close|help|lost|trouble|can t|skip|sign up",
    "register|forgot|change|edit|log out|sign out|logout|google|apple|github|facebook|microsoft|passkey|password|recovery",
    "backup|call|text me|erneut|neuen Code|abbrechen|zurück|andere|passwort|renvoyer|nouveau code|annuler|retour|autre",
    "reenviar|nuevo código|cancelar|volver|otro|otra|atrás|novo código|voltar|outro|outra|invia di nuovo|nuovo codice",
    "rinvia|reinvia|annulla|indietro|altro|opnieuw|annuleren|terug|wyślij|anuluj|wstecz|wróć|inny|отправить|повторно|отмена",
    "назад|другой|tekrar|yeniden|iptal|geri|başka|再送|キャンセル|戻る|別の|재전송|다시|받기|취소|뒤로|다른|重新|发送|获取|取消|返回|其他|傳送|獲取|skicka|avbryt",
    "zpět|надіслати|скасувати|інший|lähetä|peruuta|gửi lại|quay lại|hủy|kirim|batal|إعادة|إرسال|إلغاء",
  );
  const PARTS = /[.,;/|()!?。、，；]| (?:or|oder|ou|o|of|lub|или|veya) |または|또는|或/u;

  /** Whether some part of a text speaks of a one-time code. */
  const speaks = (text) => text.split(PARTS).some((part) => CODE.test(part) && !OTHER.test(part) && !BACKUP.test(part));
  /** Whether it speaks of other codes alone. */
  const speaksOtherwise = (text) => (OTHER.test(text) || BACKUP.test(text)) && !speaks(text);

  return { plain, speaks, speaksOtherwise, WEAK, ELSE, GO, AWAY };
})()
