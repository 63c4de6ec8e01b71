// The texts of the generated login pages, by language.

const table = {
  en: [
    "Two-step verification",
    "Enter the 6-digit code from your authenticator app.",
    "Verification code",
    "Verify",
    "Resend code",
  ],
  de: [
    "Zwei-Faktor-Anmeldung",
    "Geben Sie den 6-stelligen Code aus Ihrer App ein.",
    "Bestätigungscode",
    "Anmelden",
    "Code erneut senden",
  ],
  fr: [
    "Validation en deux étapes",
    "Saisissez les 6 chiffres affichés par l’application.",
    "Code de vérification",
    "Se connecter",
    "Renvoyer le code",
  ],
  es: [
    "Verificación en dos pasos",
    "Escribe los 6 dígitos que ves en tu aplicación.",
    "Código de verificación",
    "Continuar",
    "Reenviar el código",
  ],
  pt: [
    "Verificação em duas etapas",
    "Digite o código de 6 dígitos do aplicativo.",
    "Código de segurança",
    "Entrar",
    "Reenviar código",
  ],
  it: [
    "Accesso in due passaggi",
    "Inserisci le 6 cifre mostrate dall’app.",
    "Codice di verifica",
    "Accedi",
    "Invia di nuovo il codice",
  ],
  nl: [
    "Inloggen in twee stappen",
    "Vul de 6-cijferige code uit je app in.",
    "Verificatiecode",
    "Inloggen",
    "Code opnieuw versturen",
  ],
  pl: ["Logowanie dwuetapowe", "Wpisz 6-cyfrowy kod z aplikacji.", "Kod weryfikacyjny", "Zaloguj się", "Wyślij kod ponownie"],
  ru: ["Двухэтапный вход", "Введите 6-значный код из приложения.", "Код подтверждения", "Войти", "Отправить код ещё раз"],
  tr: ["İki adımlı doğrulama", "Uygulamanızdaki 6 haneli kodu girin.", "Doğrulama kodu", "Giriş yap", "Kodu yeniden gönder"],
  ja: ["2段階認証", "アプリに表示された6桁のコードを入力してください。", "認証コード", "ログイン", "コードを再送信"],
  ko: ["2단계 인증", "앱에 표시된 6자리 코드를 입력하세요.", "인증번호", "로그인", "코드 다시 보내기"],
  zh: ["两步验证", "请输入身份验证器应用中显示的 6 位数字。", "验证码", "登录", "重新发送"],
  sv: ["Tvåstegsverifiering", "Ange den sexsiffriga koden från appen.", "Verifieringskod", "Logga in", "Skicka koden igen"],
};

export const LANGUAGES = Object.keys(table);
export const TEXTS = Object.fromEntries(
  Object.entries(table).map(([lang, [heading, text, label, go, again]]) => [lang, { lang, heading, text, label, go, again }]),
);
