//! Logins: access tokens of an identity provider that runs in the test, and every way in which a token can be wrong.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use countersign::{
    operations::{AddSeat, RemoveSeat, SeatChanges},
    transport::http::{HttpSettings, OAuthSettings},
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    attacks::abort,
    kit::{Answer, Server, settings, written},
    matrix::call_2026,
};

pub(super) const NOW: i64 = 1_795_305_600;
const AUDIENCE: &str = "http://localhost:8787/mcp";
const SECRETS: &str = "/api/v2/totp/secrets";

/// An identity provider.
pub(super) struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<Vec<Value>>>,
    /// Additional fields of its metadata.
    pub(super) more: Arc<Mutex<Value>>,
    /// The answer to a form.
    pub(super) form: Arc<Mutex<AnswerForm>>,
    asked: Arc<AtomicUsize>,
    /// A test holds this lock to delay the keys.
    kept_back: Arc<Mutex<()>>,
}

/// Returns the complete response to a request with this head and body.
type AnswerForm = Box<dyn Fn(&str, &str) -> Vec<u8> + Send>;

/// A signing key of the provider.
pub(super) struct SigningKey {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
}

/// Reads a private key from PEM.
type ReadKey = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;

impl SigningKey {
    pub(super) fn new(id: &str, algorithm: Algorithm) -> Self {
        let (kind, read): (_, ReadKey) = if algorithm == Algorithm::ES256 {
            (&rcgen::PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_pem)
        } else if algorithm == Algorithm::EdDSA {
            (&rcgen::PKCS_ED25519, EncodingKey::from_ed_pem)
        } else {
            (&rcgen::PKCS_RSA_SHA256, EncodingKey::from_rsa_pem)
        };
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let key = read(pair.serialize_pem().as_bytes()).unwrap();
        let mut public = if algorithm == Algorithm::EdDSA {
            json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(pair.public_key_raw())})
        } else {
            serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap()
        };
        public["kid"] = json!(id);
        public["use"] = json!("sig");
        Self { id: id.to_owned(), algorithm, key, public }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(
            &Header { kid: Some(self.id.clone()), typ: Some("at+jwt".to_owned()), ..Header::new(self.algorithm) },
            claims,
        )
    }

    pub(super) fn sign_as(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

impl Issuer {
    pub(super) fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Arc::new(Mutex::new(keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>()));
        let asked = Arc::new(AtomicUsize::new(0));
        let kept_back = Arc::new(Mutex::new(()));
        let more = Arc::new(Mutex::new(json!({})));
        let form: Arc<Mutex<AnswerForm>> = Arc::new(Mutex::new(Box::new(|_, _| Vec::new())));
        let issuer = Self {
            address,
            keys: Arc::clone(&keys),
            more: Arc::clone(&more),
            form: Arc::clone(&form),
            asked: Arc::clone(&asked),
            kept_back: Arc::clone(&kept_back),
        };
        let url = issuer.url();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
                if head.starts_with("POST") {
                    let length = head.to_ascii_lowercase().split_once("content-length: ").unwrap().1.to_owned();
                    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
                    reader.read_exact(&mut body).unwrap();
                    let answer = form.lock().unwrap()(&head, &String::from_utf8(body).unwrap());
                    let _ = stream.write_all(&answer);
                    continue;
                }
                let body = match head.split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        let mut metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
                        metadata.as_object_mut().unwrap().extend(more.lock().unwrap().as_object().unwrap().clone());
                        metadata
                    }
                    Some("/keys") => {
                        asked.fetch_add(1, Ordering::SeqCst);
                        drop(kept_back.lock());
                        json!({"keys": *keys.lock().unwrap()})
                    }
                    _ => json!({}),
                };
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
            }
        });
        issuer
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn settings(&self, server: &HttpSettings) -> HttpSettings {
        // The default account of a new vault is not known yet; `Server::of` sets it.
        let account = "00000000-0000-4000-8000-000000000000".parse().unwrap();
        let oauth = OAuthSettings { issuer: self.url(), audience: AUDIENCE.to_owned(), account, client: None };
        HttpSettings { oauth: Some(oauth), auth_failures: None, ..server.clone() }
    }

    fn claims(&self) -> Value {
        json!({"iss": self.url(), "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60, "scope": "openid codes:read secrets:read"})
    }
}

fn start(issuer: &Issuer) -> Server {
    seated(Server::with(issuer.settings(&settings())))
}

/// Adds a seat for the logins to a server.
fn seated(server: Server) -> Server {
    let changes = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some("ada".to_owned()),
        ..SeatChanges::default()
    };
    server.wait(server.vault.service.perform(&server.vault.person, AddSeat { profile: changes })).unwrap();
    server
}

pub(super) fn with(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn a_login_acts_for_the_seat_of_its_subject() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
        let key = SigningKey::new("one", algorithm);
        let issuer = Issuer::start(&[&key]);
        let server = start(&issuer);
        let id = server.secret("a");
        let token = key.sign(&issuer.claims());

        assert_eq!(server.get(SECRETS, &token).status, 200, "{algorithm:?}");
        assert_eq!(server.get(&format!("/api/v2/totp/code/{id}"), &token).status, 200);
        let auditor = server.token();
        let rows = server.get("/api/v2/audit?action=code.get", &auditor).json();
        assert_eq!(rows["rows"][0]["actor"], "oauth");
        assert!(rows["rows"][0]["seat_id"].is_string());
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "keys are kept");
    }
}

#[test]
fn every_other_token_is_refused() {
    let (key, other) = (SigningKey::new("one", Algorithm::ES256), SigningKey::new("one", Algorithm::ES256));
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let good = issuer.claims();
    let header = |typ: Option<&str>| Header {
        kid: Some("one".to_owned()),
        typ: typ.map(str::to_owned),
        ..Header::new(Algorithm::ES256)
    };
    let [_, body, signature]: [String; 3] =
        key.sign(&good).split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"at+jwt","kid":"one"}"#);
    let hmac = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let public = issuer.keys.lock().unwrap()[0].to_string();
    let mut crit = header(Some("at+jwt"));
    crit.crit = Some(vec!["exp".to_owned()]);
    let wrong = [
        ("another key", other.sign(&good)),
        ("no algorithm", format!("{none}.{body}.")),
        ("no algorithm, signed", format!("{none}.{body}.{signature}")),
        ("a shared secret", encode(&hmac, &good, &EncodingKey::from_secret(public.as_bytes())).unwrap()),
        ("expired", key.sign(&with(&good, &json!({"exp": NOW - 30})))),
        ("no expiry", key.sign(&with(&good, &json!({"exp": null})))),
        ("an expiry in words", key.sign(&with(&good, &json!({"exp": "tomorrow"})))),
        ("not yet valid", key.sign(&with(&good, &json!({"nbf": NOW + 31})))),
        ("another audience", key.sign(&with(&good, &json!({"aud": "https://other.example"})))),
        ("an audience that starts alike", key.sign(&with(&good, &json!({"aud": format!("{AUDIENCE}/x")})))),
        ("no audience", key.sign(&with(&good, &json!({"aud": null})))),
        ("another issuer", key.sign(&with(&good, &json!({"iss": "https://evil.example"})))),
        ("no issuer", key.sign(&with(&good, &json!({"iss": null})))),
        ("issuers in a list", key.sign(&with(&good, &json!({"iss": [issuer.url()]})))),
        ("another issuer beside it", key.sign(&with(&good, &json!({"iss": [issuer.url(), "https://evil.example"]})))),
        ("no subject", key.sign(&with(&good, &json!({"sub": null})))),
        ("an empty subject", key.sign(&with(&good, &json!({"sub": ""})))),
        ("an identity token", key.sign_as(&header(Some("id+jwt")), &good)),
        ("a logout token", key.sign_as(&header(Some("logout+jwt")), &good)),
        ("an unknown extension", key.sign_as(&crit, &good)),
        ("an unknown key", key.sign_as(&Header { kid: Some("two".to_owned()), ..header(None) }, &good)),
        ("cut short", key.sign(&good)[..40].to_owned()),
        ("no token", "a.b.c".to_owned()),
        ("nothing", String::new()),
    ];
    for (what, token) in wrong {
        let answer = server.get(SECRETS, &token);
        assert_eq!(answer.refusal(), (401, "unauthenticated".to_owned()), "{what}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
    }
    for (what, token) in [
        ("as it should be", key.sign(&good)),
        ("a list of audiences", key.sign(&with(&good, &json!({"aud": ["x", AUDIENCE]})))),
        ("an old type", key.sign_as(&header(Some("JWT")), &good)),
        ("no type", key.sign_as(&header(None), &good)),
        ("the whole type", key.sign_as(&header(Some("application/at+jwt")), &good)),
        ("no key named, and there is one", key.sign_as(&Header::new(Algorithm::ES256), &good)),
        ("a skewed clock", key.sign(&with(&good, &json!({"exp": NOW - 29, "nbf": NOW + 30})))),
        ("scopes in a list", key.sign(&with(&good, &json!({"scope": null, "scp": ["secrets:read"]})))),
    ] {
        assert_eq!(server.get(SECRETS, &token).status, 200, "{what}");
    }
}

#[test]
fn a_subject_without_a_seat_and_a_token_without_a_scope_get_nowhere() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let stranger = key.sign(&with(&issuer.claims(), &json!({"sub": "mallory"})));
    let narrow = key.sign(&with(&issuer.claims(), &json!({"scope": "codes:read"})));
    for scope in ["https://other.example/secrets:read", "x/secrets:read", "Secrets:read", "secrets:read,x", "secrets"] {
        let others = key.sign(&with(&issuer.claims(), &json!({"scope": scope})));
        assert_eq!(server.get(SECRETS, &others).refusal(), (403, "permission_denied".to_owned()), "{scope}");
    }
    for sub in [" ada", "ada ", "ada\t", "\u{a0}ada", "Ada"] {
        let nearly = key.sign(&with(&issuer.claims(), &json!({"sub": sub})));
        assert_eq!(server.get(SECRETS, &nearly).refusal(), (403, "permission_denied".to_owned()), "{sub:?}");
    }

    assert_eq!(server.get(SECRETS, &stranger).refusal(), (403, "permission_denied".to_owned()));
    let refused = server.get(SECRETS, &narrow);
    assert_eq!(refused.refusal(), (403, "permission_denied".to_owned()));
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope", scope="secrets:read""#), "{challenge}");
    let call = |tool: &str| -> Answer {
        let (headers, body) = call_2026(&narrow, tool, &json!({}));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.raw(written("POST", "/mcp", &headers, Some(&body)).as_bytes())
    };
    let refused = call("list_totp_secrets");
    assert_eq!(refused.status, 403);
    assert!(refused.header("www-authenticate").unwrap().contains(r#"scope="secrets:read""#));
    assert_eq!(call("get_totp_code").status, 200);
}

#[test]
fn who_has_no_token_is_told_where_to_get_one() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let open = |method: &str, path: &str| server.raw(written(method, path, &[], None).as_bytes());

    let challenge = open("GET", "/mcp");
    let place = "http://localhost:8787/.well-known/oauth-protected-resource/mcp";
    let expected = format!(r#"Bearer resource_metadata="{place}", scope="codes:read secrets:read seats:read""#);
    assert_eq!((challenge.status, challenge.header("www-authenticate")), (401, Some(expected.as_str())));
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let document = open("GET", path).json();
        assert_eq!(
            (&document["resource"], &document["authorization_servers"]),
            (&json!(AUDIENCE), &json!([issuer.url()]))
        );
        assert_eq!(document["scopes_supported"].as_array().map(Vec::len), Some(8));
        assert_eq!(Server::start().raw(written("GET", path, &[], None).as_bytes()).status, 404);
    }
    let key_still_works = server.token();
    assert_eq!(server.get(SECRETS, &key_still_works).status, 200);
}

#[test]
fn a_new_key_is_learned_of_and_an_invented_one_asks_no_more_than_once() {
    let (first, second) = (SigningKey::new("first", Algorithm::ES256), SigningKey::new("second", Algorithm::ES256));
    let issuer = Issuer::start(&[&first, &second]);
    let server = start(&issuer);
    let invented = SigningKey::new("invented", Algorithm::ES256);

    for _ in 0..5 {
        assert_eq!(server.get(SECRETS, &invented.sign(&issuer.claims())).status, 401);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    assert_eq!(server.get(SECRETS, &second.sign(&issuer.claims())).status, 200);
    let unnamed = second.sign_as(&Header::new(Algorithm::ES256), &issuer.claims());
    assert_eq!(server.get(SECRETS, &unnamed).status, 401, "two keys would fit");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

fn asking(token: &str) -> Vec<u8> {
    written("GET", SECRETS, &[("authorization", &format!("Bearer {token}"))], None).into_bytes()
}

#[test]
fn keys_that_nobody_waits_for_any_more_are_learned_all_the_same() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let invented = SigningKey::new("invented", Algorithm::ES256);

    let kept_back = issuer.kept_back.lock().unwrap();
    let mut impatient = server.client();
    impatient.write(&asking(&invented.sign(&issuer.claims())));
    crate::kit::until(|| issuer.asked.load(Ordering::SeqCst) != 0);
    drop(impatient);
    // The request is gone by the time the answer arrives.
    let connections = || {
        let text = String::from_utf8(server.raw(written("GET", "/metrics", &[], None).as_bytes()).body).unwrap();
        text.lines().any(|line| line == "countersign_http_connections 1")
    };
    crate::kit::until(connections);
    drop(kept_back);

    assert_eq!(server.get(SECRETS, &key.sign(&issuer.claims())).status, 200);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn ten_thousand_junk_tokens_on_aborted_connections_keep_no_login_out() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let junk: Vec<String> = (0..50)
        .map(|nth| {
            SigningKey { id: format!("junk {nth}"), ..SigningKey::new("", Algorithm::ES256) }.sign(&issuer.claims())
        })
        .collect();
    let good = key.sign(&issuer.claims());

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| junk.iter().cycle().take(2_500).for_each(|token| abort(&server, &asking(token))));
        }
        for _ in 0..50 {
            assert_eq!(server.get(SECRETS, &good).status, 200);
        }
    });

    assert_eq!(server.get(SECRETS, &good).status, 200);
    assert!(issuer.asked.load(Ordering::SeqCst) <= 3, "{:?}", issuer.asked);
}

#[test]
fn a_token_that_expires_during_a_wait_gets_no_code() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let server = start(&issuer);
    let id = server.secret("a");
    let token = key.sign(&with(&issuer.claims(), &json!({"exp": NOW + 10})));
    let path = format!("/api/v2/totp/code/{id}?single_use=true&max_wait=120");
    assert_eq!(server.get(&path, &token).status, 200);
    let mut waiting = server.client();
    waiting.write(written("GET", &path, &[("authorization", &format!("Bearer {token}"))], None).as_bytes());
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    server.vault.clock.set_seconds(NOW + 10);

    assert_eq!(waiting.read().refusal(), (401, "unauthenticated".to_owned()));
    assert_eq!(server.vault.service.tally().codes_issued, 1);
}

/// Opens streams of both transports for a login.
fn listen(server: &Server, token: &str) -> [super::kit::Client; 2] {
    let bearer = format!("Bearer {token}");
    let session = super::mcp::try_open(server, token).unwrap();
    let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", &session)];
    ["/mcp", "/sse"].map(|path| {
        let mut stream = server.client();
        stream.write(written("GET", path, &headers, None).as_bytes());
        assert_eq!(stream.head().unwrap().0, 200, "{path}");
        stream
    })
}

#[test]
fn a_logins_streams_end_with_its_token_and_with_its_seat() {
    let key = SigningKey::new("one", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]);
    let mut settings = settings();
    settings.limits.keep_alive = std::time::Duration::from_millis(100);
    let server = seated(Server::with(issuer.settings(&settings)));
    let short = listen(&server, &key.sign(&with(&issuer.claims(), &json!({"exp": NOW + 10}))));
    let mut long = listen(&server, &key.sign(&issuer.claims()));

    server.vault.clock.set_seconds(NOW + 10);
    for mut stream in short {
        while stream.chunk().is_some() {}
    }
    for stream in &mut long {
        assert!(stream.chunk().is_some(), "another token's goes on");
    }

    server.wait(server.vault.service.perform(&server.vault.person, RemoveSeat { seat: "ada".to_owned() })).unwrap();
    for mut stream in long {
        while stream.chunk().is_some() {}
    }
}
