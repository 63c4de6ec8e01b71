//! How the program starts and ends: settings, the vault's creation, vaults that can't be opened, and texts that are
//! never printed.

use std::{fs, process::Stdio};

use serde_json::Value;

#[cfg(unix)]
use super::Terminal;
use super::{Person, files_in, finish, found, text_of};
use crate::kit::RFC_SEED;

#[test]
fn what_is_typed_wrong_ends_with_2() {
    let person = Person::new();
    for arguments in [
        vec!["nonsense"],
        vec!["secret"],
        vec!["secret", "add"],
        vec!["vault", "rekey"],
        vec!["secret", "add", "--label", "a", "--stdin", "--generate"],
        vec!["secret", "add", "--digits", "8", "--qr", "x.png"],
        vec!["--log", "countersign=loud", "secret", "list"],
        vec!["--account", "", "secret", "list"],
        vec!["serve", "--listen", "0.0.0.0:0"],
    ] {
        let refused = person.run(&arguments).refused(2);
        assert!(!refused.is_empty(), "{arguments:?}");
    }
    assert!(fs::read_dir(person.home()).unwrap().next().is_none(), "nothing was made");
}

#[test]
fn help_and_version_are_answers() {
    let person = Person::new();
    assert!(person.run(&["--help"]).ok().contains("Global options"));
    assert!(person.run(&["secret", "add", "--help"]).ok().contains("--uri-file"));
    assert_eq!(person.run(&["--version"]).ok(), format!("countersign {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(target_os = "linux")]
#[test]
fn help_that_cant_be_written_is_a_failure() {
    let person = Person::new();
    for arguments in [vec!["--help"], vec!["--version"], vec!["secret", "add", "--help"]] {
        let told = person.unheard(&arguments);
        assert!(told.starts_with("error: the answer could not be written: No space left"), "{arguments:?}: {told}");
    }
}

#[test]
fn without_a_command_it_serves_the_host_that_started_it() {
    let person = Person::new();
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

    for arguments in [vec![], vec!["stdio"], vec!["stdio", "--scope", "codes:read", "--reveal", "never"]] {
        let answered = person.fed(&format!("{hello}\n"), &arguments).ok();
        let answer: Value = serde_json::from_str(answered.lines().next().unwrap()).unwrap();
        assert_eq!(text_of(&answer, "/result/protocolVersion"), "2025-06-18");
    }
    assert_eq!(person.run(&[]).ok(), "");
    assert!(person.run(&["stdio", "--seat", "nobody"]).refused(1).contains("no such seat"));
}

#[test]
fn a_sidecar_that_cant_serve_tells_its_host_why_in_answer_to_its_first_request() {
    let hello = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let noise = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    let person = Person::with_alice();
    let none = person.file("none.key", "not a key");
    let none = none.to_str().unwrap();
    let within = person.home().join("data").join("my.key");
    for (arguments, status, reason) in [
        (vec!["--key-file", none], 78, "the key file"),
        (vec!["--key-file", none, "stdio"], 78, "the key file"),
        (vec!["stdio", "--seat", "nobody"], 1, "no such seat"),
        (vec!["--account", "nobody", "stdio"], 1, "no account of this name"),
        (vec!["--data-dir", "data", "--key-file", within.to_str().unwrap(), "stdio"], 2, "in the folder of the vault"),
        (vec!["--log", "=x=", "stdio"], 2, "filter"),
    ] {
        let ran = person.fed(&format!("\n{noise}\n{hello}\n"), &arguments);
        assert_eq!(ran.status, status, "{arguments:?}: {ran:?}");
        let answer: Value = serde_json::from_str(ran.out.trim_end()).expect("one answer");
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&7.into(), &(-32603).into()), "{answer}");
        assert!(text_of(&answer, "/error/message").contains(reason), "{answer}");
        assert!(ran.err.contains(reason), "{ran:?}");
        // A host that sends nothing gets no answer.
        let silent = person.run(&arguments);
        assert_eq!((silent.status, &*silent.out), (status, ""), "{silent:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_sidecar_that_is_told_to_end_or_can_answer_nobody_ends() {
    use std::io::{BufRead as _, BufReader, Write as _};

    use rustix::process::{Pid, Signal, kill_process};

    let person = Person::with_vault();
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    for told in [Some(Signal::TERM), Some(Signal::HUP), None] {
        let mut command = person.command(&["stdio"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        writeln!(input, "{hello}").unwrap();
        output.read_line(&mut String::new()).unwrap();
        if let Some(signal) = told {
            kill_process(Pid::from_child(&child), signal).unwrap();
        } else {
            drop(output);
            // The answers can't be delivered. A process that another test starts at this moment has the other end of
            // the pipe, too, until it executes its program, so the first answer may still be delivered.
            let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
            while child.try_wait().unwrap().is_none() && writeln!(input, "{ping}").is_ok() {}
        }
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{told:?}: {ended:?}");
        drop(input);
    }
}

#[cfg(unix)]
#[test]
fn a_sidecar_whose_host_has_gone_silent_and_reads_nothing_ends() {
    use std::{
        io::Write as _,
        time::{Duration, Instant},
    };

    let person = Person::with_vault();
    let mut command = person.command(&["stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    // Far more answers than fit into a pipe.
    writeln!(input, "{hello}\n{ready}\n{}", [list; 100].join("\n")).unwrap();
    drop(input);

    let closed = Instant::now();
    while child.try_wait().unwrap().is_none() && closed.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    let took = closed.elapsed();
    child.kill().unwrap();

    assert!(took < Duration::from_secs(4), "{took:?}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn a_vault_is_made_on_first_use_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let person = Person::with_alice();
    let status = person.run(&["vault", "status", "--json"]).json();

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (vault, key) = (text_of(&status, "/location"), text_of(&status, "/key_file"));
    for path in [vault, key].map(std::path::Path::new) {
        assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700), "{}", path.display());
    }
    assert!(!key.starts_with(std::path::Path::new(vault).parent().unwrap().to_str().unwrap()));
}

#[test]
fn variables_say_what_flags_say() {
    let person = Person::new();
    let (vault, key) = (person.home().join("v"), person.home().join("k/my.key"));
    let mut command = person.command(&["vault", "status", "--json"]);
    command.env("COUNTERSIGN_DATA_DIR", &vault).env("COUNTERSIGN_KEY_FILE", &key);

    finish(
        person.command(&["vault", "create"]).env("COUNTERSIGN_DATA_DIR", &vault).env("COUNTERSIGN_KEY_FILE", &key),
        b"",
    )
    .ok();
    let status = finish(&mut command, b"").json();

    assert_eq!(text_of(&status, "/location"), vault.join("vault.db").to_str().unwrap());
    assert_eq!(text_of(&status, "/key_file"), key.to_str().unwrap());
    let flags = ["--data-dir", "v", "--key-file", "k/my.key", "vault", "status", "--json"];
    assert_eq!(person.run(&flags).json(), status);
}

#[test]
fn a_vault_that_cant_be_opened_ends_with_78_and_is_left_as_it_was() {
    let person = Person::with_alice();
    let status = person.run(&["vault", "status", "--json"]).json();
    let (vault, key) = (text_of(&status, "/location"), text_of(&status, "/key_file"));
    let before = fs::read(vault).unwrap();

    let stranger = Person::with_alice();
    let other = stranger.run(&["vault", "status", "--json"]).json();
    let wrong = person.run(&["--key-file", text_of(&other, "/key_file"), "secret", "list"]).refused(78);
    assert!(wrong.contains("this key is not the vault's"), "{wrong}");

    let nowhere = person.run(&["--store", "postgres://u:geheim@127.0.0.1:1/x", "secret", "list"]).refused(78);
    assert!(
        nowhere.contains("the server postgres://127.0.0.1:1/x can't be used") && !nowhere.contains("geheim"),
        "{nowhere}"
    );

    let none = person.run(&["--store", "", "secret", "list"]).refused(2);
    assert!(none.contains("the store's address can't be read"), "{none}");

    fs::rename(key, format!("{key}.away")).unwrap();
    let missing = person.run(&["secret", "list", "--json"]).refused(78);
    let body: Value = serde_json::from_str(&missing).unwrap();
    assert!(text_of(&body, "/message").contains("there is no key file"), "{missing}");
    assert_eq!(fs::read(vault).unwrap(), before);
}

#[test]
fn a_key_beside_the_vault_is_refused() {
    let person = Person::new();
    let refused = person.run(&["--data-dir", "v", "--key-file", "v/my.key", "secret", "list"]).refused(2);
    assert!(refused.contains("the key would lie in the folder of the vault"), "{refused}");
    assert!(!person.home().join("v").exists());
}

#[test]
fn logs_at_any_level_hold_no_seed_and_no_code() {
    let person = Person::new();
    let add = ["--log", "trace", "secret", "add", "--label", "alice", "--digits", "8", "--stdin"];
    let added = person.fed(RFC_SEED, &add);
    let code = person.run(&["--log", "trace", "code", "alice", "--json"]);
    let call = format!(
        "{}\n{}\n{}\n",
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        format_args!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"register_totp_secret","arguments":{{"label":"b","secret":"{RFC_SEED}"}}}}}}"#
        ),
    );
    let served = person.fed(&call, &["--log", "rmcp=trace,trace", "stdio", "--reveal", "never"]);

    // The code has eight digits, because the times in the log have six.
    let digits = serde_json::from_str::<Value>(&code.out).unwrap();
    assert!(!code.err.contains(text_of(&digits, "/code")));
    for ran in [added, code, served] {
        assert_eq!(ran.status, 0);
        assert!(!ran.err.contains("GEZDGNBV") && !ran.out.contains("GEZDGNBV"), "{ran:?}");
    }
}

#[test]
fn colour_is_for_terminals_or_those_who_ask() {
    let person = Person::with_alice();
    assert!(!person.run(&["secret", "list"]).ok().contains('\u{1b}'));
    assert!(person.run(&["--color", "always", "secret", "list"]).ok().starts_with("\u{1b}[1mID"));
    let mut plain = person.command(&["secret", "list"]);
    assert!(!finish(plain.env("NO_COLOR", "1"), b"").ok().contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let person = Person::with_alice();
    for arguments in [vec!["audit", "export"], vec!["--help"], vec!["--version"]] {
        let mut command = person.command(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());

        let ended = child.wait_with_output().unwrap();

        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()), "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_server_says_that_nobody_elsewhere_knows_its_name_and_what_was_asked_of_it() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    let person = Person::with_alice();
    let serve = ["--log", "debug", "serve", "--listen", "0.0.0.0:0", "--behind-proxy"];
    let mut child = person.command(&serve).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let port = said.find_map(|line| line.strip_prefix("listening on http://0.0.0.0:").map(str::to_owned)).unwrap();
    assert!(said.any(|line| line.contains("WARN") && line.contains("--public-url")));

    let mut connection = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let request = "GET /api/v2/seats/JBSWY3DP?JBSWY3DP HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    connection.read_to_string(&mut String::new()).unwrap();
    let line = said.find(|line| line.contains("answered")).unwrap();

    assert!(line.contains("GET") && line.contains("/api/v2/seats/{seat_id}") && line.contains("401"), "{line}");
    assert!(!line.contains("JBSWY3DP"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_server_says_where_it_listens_and_finishes_when_told() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    let person = Person::with_alice();
    let mut command = person.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();

    let first = said.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on http://").unwrap();
    assert!(said.next().unwrap().unwrap().contains("countersign key create"));
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_mistake_is_a_document_for_programs_too() {
    let person = Person::new();
    for (arguments, message) in [
        (
            vec!["--json", "secret", "lsit"],
            "unrecognized subcommand 'lsit'; some similar subcommands exist: 'ls', 'list'; `--help` shows",
        ),
        (
            vec!["secret", "add", "--json", "--generate"],
            "the following required arguments were not provided: --label <LABEL>; `--help` shows",
        ),
        (vec!["secret", "list", "--json", "--account", " "], "--account must not be empty"),
    ] {
        let refused = person.run(&arguments).refused(2);
        let document: Value = serde_json::from_str(&refused).unwrap();
        let [status, error, told] = ["/status", "/error", "/message"].map(|at| text_of(&document, at));
        assert_eq!((status, error), ("ERROR", "invalid_argument"));
        assert!(told.starts_with(message), "{refused}");
    }
    // Words after `--` are not flags.
    assert!(person.run(&["vault", "status", "--", "--json"]).refused(2).starts_with("error: "));
}

#[test]
fn an_address_to_listen_on_is_asked_for_in_words() {
    let person = Person::new();

    let refused = person.run(&["serve", "--listen", "example.com:8803"]).refused(2);

    assert!(
        refused.contains("must be an IP address and a port, such as 127.0.0.1:8787, or localhost and a port"),
        "{refused}"
    );
    let refused =
        person.run(&["serve", "--listen", "localhost:0", "--tls-cert", "none", "--tls-key", "none"]).refused(1);
    assert!(refused.contains("--tls-cert ") && refused.contains("none: "), "{refused}");
}

#[cfg(unix)]
#[test]
fn damage_is_named_to_the_caller_and_in_the_log() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    let person = Person::with_alice();
    let vault = person.run(&["vault", "status", "--json"]).json();
    let secrets = person.run(&["secret", "list", "--json"]).json();
    let key = person.run(&["key", "create", "--name", "agent", "--json"]).json();
    let vault = rusqlite::Connection::open(text_of(&vault, "/location")).unwrap();
    vault.execute_batch("UPDATE record SET body = zeroblob(9) WHERE kind = 5").unwrap();
    let mut command = person.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let address = first.trim_end().strip_prefix("listening on http://").unwrap();

    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let (id, token) = (text_of(&secrets, "/totp_secrets/0/id"), text_of(&key, "/token"));
    let request =
        format!("GET /api/v2/totp/code/{id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    write!(connection, "{request}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut log = String::new();
    said.read_to_string(&mut log).unwrap();

    let what = format!("use of secret {id}: it was changed without the vault's key");
    assert!(answer.contains(&format!("the vault is damaged: {what}")), "{answer}");
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(&what)), "{answer}\n{log}");
}

#[test]
fn an_empty_variable_is_unset() {
    let person = Person::with_alice();
    for variable in ["DATA_DIR", "KEY_FILE", "STORE", "ACCOUNT", "LOG"] {
        let mut command = person.command(&["secret", "list"]);
        let listed = finish(command.env(format!("COUNTERSIGN_{variable}"), ""), b"");
        assert!(listed.err.is_empty(), "{variable}: {listed:?}");
        assert!(listed.ok().contains("alice"), "{variable}");
    }
    let mut command = person.command(&["--color", "auto", "secret", "list"]);
    finish(command.env("NO_COLOR", ""), b"").ok();
}

#[test]
fn a_variable_of_a_hosts_configuration_makes_no_folder_of_a_shells_name() {
    let person = Person::new();
    let with =
        |variable: &str, value: &str, arguments: &[&str]| finish(person.command(arguments).env(variable, value), b"");
    for value in ["${HOME}/vault", "$HOME/vault", "vault", "./vault"] {
        for variable in ["COUNTERSIGN_DATA_DIR", "COUNTERSIGN_KEY_FILE"] {
            let refused = with(variable, value, &["vault", "create"]).refused(2);
            assert!(refused.starts_with(&format!("error: {variable} ")) && refused.contains("~/"), "{refused}");
        }
        with("COUNTERSIGN_STORE", &format!("sqlite:{value}"), &["vault", "create"]).refused(2);
    }
    assert!(fs::read_dir(person.home()).unwrap().next().is_none(), "nothing was made");

    let made = with("COUNTERSIGN_DATA_DIR", "~/vault", &["vault", "create", "--json"]).json();
    assert_eq!(text_of(&made, "/location"), person.home().join("vault/vault.db").to_str().unwrap());
}

#[test]
fn reading_commands_make_no_vault_and_say_where_there_is_none() {
    let person = Person::new();
    for arguments in [
        vec!["secret", "list"],
        vec!["secret", "list", "--deleted"],
        vec!["secret", "show", "a"],
        vec!["secret", "update", "a", "--label", "b"],
        vec!["secret", "rm", "a", "--yes"],
        vec!["secret", "restore", "a"],
        vec!["secret", "reset-steps", "a", "--yes"],
        vec!["secret", "export", "--plaintext", "--yes"],
        vec!["code", "a"],
        vec!["verify", "a", "--stdin"],
        vec!["seat", "list"],
        vec!["seat", "show", "a"],
        vec!["seat", "rm", "a", "--yes"],
        vec!["key", "list"],
        vec!["key", "revoke", "a"],
        vec!["account", "list"],
        vec!["account", "rm", "a", "--yes"],
        vec!["audit", "list"],
        vec!["audit", "verify"],
        vec!["audit", "export"],
        vec!["audit", "head"],
        vec!["audit", "trace", "--stdin"],
        vec!["audit", "prune", "--before", "400d", "--yes"],
        vec!["vault", "status"],
        vec!["vault", "migrate"],
        vec!["vault", "doctor"],
        vec!["vault", "accept-loss", "--yes"],
    ] {
        let told = person.run(&[&["--data-dir", "typo"], &arguments[..]].concat()).refused(78);
        assert!(told.contains("there is no vault in ") && told.contains("typo. See that --data-dir"), "{told}");
        assert!(fs::read_dir(person.home()).unwrap().next().is_none(), "{arguments:?} made something");
    }
    // An existing folder is not a valid file either.
    fs::create_dir(person.home().join("v")).unwrap();
    #[cfg(unix)]
    fs::set_permissions(person.home().join("v"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(person.run(&["--data-dir", "v", "secret", "list"]).refused(78).contains("there is no vault in "));
    assert!(fs::read_dir(person.home().join("v")).unwrap().next().is_none());
}

#[test]
fn a_command_that_fails_on_its_own_input_makes_no_vault() {
    const LINK: &str = "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ\n";
    const PROVIDER: &str = "--public-url https://totp.example --oauth-issuer https://login.example --oauth-audience a \
                            --oauth-client-id countersign";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (words, input, status) in [
        ("secret add --qr nope.png", "", 1),
        ("secret add --uri-file nope", "", 1),
        ("secret add --label a --stdin", "no seed", 1),
        ("secret add --label a", "", 1),
        ("secret add --label a --digits 7 --stdin", RFC_SEED, 1),
        ("secret import nope", "", 1),
        ("secret import -", "no list", 1),
        ("secret import -", "otpauth://hotp/a?secret=GEZDGNBVGY3TQOJQ&counter=1\n", 1),
        ("seat import nope", "", 1),
        ("seat import -", "email\nnobody\n", 1),
        ("seat add --email nobody", "", 1),
        ("key create --name ci --expires nope", "", 2),
        ("key create --name ci --scope nope", "", 2),
        ("key create --name ", "", 1),
        ("key create --name ci --codes-per-hour 0", "", 1),
        ("secret enroll --no-open --label ", "", 1),
        ("account add default", "", 1),
        ("key create --name ci --seat ada@example.com", "", 1),
        ("key create --name ci --secret github", "", 1),
        ("--account foo secret add --label a --stdin", RFC_SEED, 1),
        ("--account foo secret import -", LINK, 1),
        ("--account foo secret import - --dry-run", LINK, 1),
        ("--account foo vault create", "", 1),
        ("--account foo stdio", "", 1),
        ("--account foo serve --listen 127.0.0.1:0", "", 1),
        ("stdio --seat ada@example.com", "", 1),
        ("serve --listen 127.0.0.1:0 --tls-cert nope --tls-key nope", "", 1),
        ("serve --listen 0.0.0.0:0", "", 1),
        (&format!("serve --listen {}", taken.local_addr().unwrap()), "", 1),
        (&format!("serve --listen 127.0.0.1:0 {PROVIDER} --oauth-client-secret-file nope"), "", 1),
    ] {
        let person = Person::new();
        let ran = person.fed(input, &words.split(' ').collect::<Vec<_>>());
        assert!([status, 2].contains(&ran.status) && ran.status >= status, "{words}: {ran:?}");
        // A sidecar and a server make the folders in which alone they may write, and nothing in them.
        assert_eq!(files_in(person.home()), Vec::<std::path::PathBuf>::new(), "{words}: {ran:?}");
    }
}

#[test]
fn a_key_that_nobody_would_see_makes_no_vault() {
    let person = Person::new();
    let mut command = person.command(&["key", "create", "--name", "ci"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();

    assert_eq!(status.code(), Some(1));
    assert_eq!(files_in(person.home()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_import_that_only_looks_shows_its_preview_without_a_vault() {
    let person = Person::new();
    let links = "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ\notpauth://totp/b?secret=GEZDGNBVGY3TQOJQ\nnonsense\n";

    let shown = person.fed(links, &["secret", "import", "-", "--dry-run"]);

    assert_eq!((shown.status, shown.out.as_str()), (1, ""), "{shown:?}");
    assert!(shown.err.contains("add: a\n") && !shown.err.contains("Made a vault"), "{}", shown.err);
    assert!(shown.err.contains("1 would be added, 1 present, 1 skipped"), "{}", shown.err);
    let told = person.fed(links, &["secret", "import", "-", "--dry-run", "--json"]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(["/added", "/present", "/skipped"].map(|field| told.pointer(field).unwrap().as_u64()), [Some(1); 3]);
    assert!(fs::read_dir(person.home()).unwrap().next().is_none(), "a preview made something");
}

#[cfg(unix)]
#[test]
fn a_first_import_is_asked_about_once_and_a_no_makes_no_vault() {
    let person = Person::new();
    person.file("list.txt", "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ\n");
    for answer in ["n", "y"] {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, "secret import list.txt");
        terminal.read_until("Add 1 secret? [y/N] ");
        terminal.types(answer);
        let (rest, ended) = terminal.rest_of(program);
        assert_eq!((ended.success(), rest.contains("Made a vault")), (answer == "y", answer == "y"), "{rest}");
        assert!(!rest.contains("Add 1 secret?"), "{rest}");
        assert_eq!(person.home().join(".local").exists(), answer == "y", "{rest}");
    }
}

#[test]
fn who_makes_a_vault_says_once_where_it_and_its_key_are_and_that_both_want_a_backup() {
    for (arguments, input) in [
        (vec!["secret", "add", "--label", "a", "--stdin"], RFC_SEED),
        (vec!["secret", "import", "-"], "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ\n"),
        (vec!["seat", "add", "--email", "ada@example.com"], ""),
        (vec!["seat", "import", "-"], "email\nada@example.com\n"),
        (vec!["key", "create", "--name", "ci"], ""),
        (vec!["account", "add", "acme"], ""),
        (vec!["vault", "create"], ""),
        (vec!["stdio"], ""),
    ] {
        let person = Person::new();
        let first = person.fed(input, &arguments);
        assert_eq!(first.status, 0, "{arguments:?}: {first:?}");
        let status = person.run(&["vault", "status", "--json"]).json();
        for place in ["/location", "/key_file"] {
            assert!(first.err.contains(text_of(&status, place)), "{arguments:?}: {}", first.err);
        }
        assert!(first.err.contains("Keep a backup of both, apart from each other"), "{}", first.err);
        assert!(!person.fed(RFC_SEED, &["secret", "add", "--label", "b", "--stdin"]).err.contains("backup"));
    }
    let person = Person::with_vault();
    assert!(person.run(&["vault", "create"]).refused(1).contains("there is a vault already"));
}

#[test]
fn a_mistyped_word_is_shown_and_another_programs_word_leads_to_ours() {
    let person = Person::new();
    let tip = |arguments: &[&str]| person.run(arguments).refused(2);
    for (word, meant) in [
        ("get", "`countersign code NAME`"),
        ("create", "`countersign secret add --label LABEL`"),
        ("delete", "`countersign secret rm NAME`"),
        ("list", "`countersign secret list`"),
    ] {
        let told = tip(&[word]);
        assert!(told.contains(&format!("'{word}'")) && told.contains(&format!("did you mean {meant}?")), "{told}");
    }
    assert!(tip(&["secrte", "list"]).contains("'secrte'"));
    assert!(tip(&["secret", "lsit"]).contains("'list'"));
    assert!(tip(&["secret", "help"]).contains("`countersign secret --help`"));
    assert!(person.run(&["help"]).ok().contains("Global options"));
    assert!(person.run(&["help", "secret", "add"]).ok().contains("--uri-file"));
    assert!(person.run(&["version"]).ok().starts_with("countersign "));
    // The verbs of other programs are accepted.
    person.run(&["secret", "create", "--label", "a", "--generate"]).ok();
    person.run(&["secret", "ls"]).ok();
    person.run(&["secret", "get", "a"]).ok();
    person.run(&["secret", "delete", "a", "--yes"]).ok();
}

#[test]
fn numbers_are_asked_for_in_words_and_not_quoted() {
    let person = Person::with_alice();
    for arguments in [
        vec!["secret", "add", "--label", "a", "--stdin", "--digits"],
        vec!["secret", "add", "--label", "a", "--stdin", "--period"],
        vec!["code", "alice", "--min-validity"],
        vec!["code", "alice", "--max-wait"],
        vec!["seat", "list", "--limit"],
        vec!["seat", "list", "--offset"],
        vec!["seat", "add", "--email", "a@example.com", "--codes-per-hour"],
        vec!["key", "create", "--name", "a", "--codes-per-hour"],
        vec!["audit", "list", "--limit"],
    ] {
        for wrong in ["x", "", "1.5", "99999999999999999999999", "2345672345672345"] {
            if arguments.contains(&"--offset") && wrong.len() == 16 {
                // An offset of this length is within its limit.
                continue;
            }
            let told = person.run(&[&arguments[..], &[wrong]].concat());
            assert_eq!((told.status, told.out.as_str()), (2, ""), "{arguments:?} {wrong}: {told:?}");
            let own = ["must be", "takes", "a value is required"].iter().any(|words| told.err.contains(words));
            assert!(own && !told.err.contains("invalid digit") && !told.err.contains("too large"), "{}", told.err);
            assert!(wrong.len() < 3 || !told.err.contains(wrong), "{}", told.err);
        }
    }
}

#[test]
fn colour_is_as_it_was_asked_for_in_mistakes_and_help_too() {
    let person = Person::new();
    for arguments in [vec!["secret", "lsit"], vec!["secret", "add"], vec!["--account", " ", "secret", "list"]] {
        let coloured = person.run(&[&["--color", "always"], &arguments[..]].concat());
        assert!(coloured.err.contains('\u{1b}'), "{arguments:?}: {coloured:?}");
        let plain = person.run(&[&["--color", "never"], &arguments[..]].concat());
        assert!(plain.status == 2 && !plain.err.contains('\u{1b}'), "{arguments:?}: {plain:?}");
    }
    assert!(person.run(&["--color", "always", "--help"]).ok().contains('\u{1b}'));
    assert!(!person.run(&["--color=never", "--help"]).ok().contains('\u{1b}'));
}

#[cfg(unix)]
#[cfg(unix)]
#[test]
fn a_server_makes_backups_by_itself_when_they_are_due() {
    use std::io::{BufRead as _, BufReader};

    use rustix::process::{Pid, Signal, kill_process};

    let person = Person::with_alice();
    let folder = person.home().join("backups");
    let dir = folder.to_str().unwrap();
    let backups = || -> Vec<String> {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    };
    // Serves until the log has this text, and returns the whole log.
    let serve_until = |sought: &str| {
        let arguments =
            ["--log", "info", "serve", "--listen", "127.0.0.1:0", "--backup-dir", dir, "--backup-keep", "1"];
        let mut child = person.command(&arguments).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !said.contains(sought) && lines.read_line(&mut said).unwrap() > 0 {}
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        while lines.read_line(&mut said).unwrap() > 0 {}
        assert!(child.wait().unwrap().success(), "{said}");
        said
    };

    let said = serve_until("a backup was made");
    let [first] = backups().try_into().unwrap();
    assert!(said.contains(&first), "{said}");
    let ran = person.run(&["audit", "list", "--all-accounts", "--json"]).json();
    let rows = ran.pointer("/rows").unwrap().as_array().unwrap();
    assert!(rows.iter().any(|row| (text_of(row, "/action"), text_of(row, "/actor")) == ("vault.backup", "system")));

    // The newest backup is recent enough.
    serve_until("listening on");
    assert_eq!(backups(), [first.as_str()]);

    // The backup is old now. The next one replaces it.
    let old = "vault-2020-01-02T03-04-05.000Z.db";
    fs::rename(folder.join(&first), folder.join(old)).unwrap();
    serve_until("a backup was made");
    let [second] = backups().try_into().unwrap();
    assert_ne!(second, old);
    person.run(&["vault", "restore", folder.join(&second).to_str().unwrap(), "--yes"]).ok();
    assert!(person.run(&["secret", "list"]).ok().contains("alice"));
}

#[test]
fn what_a_server_keeps_has_its_limits() {
    let person = Person::new();
    for (flags, problem) in [
        (&["--backup-every", "1h"][..], "--backup-dir"),
        (&["--backup-dir", "b", "--backup-every", "59s"], "must be 1m at least"),
        (&["--backup-dir", "b", "--backup-every", "daily"], "such as 90s, 24h or 7d"),
        (&["--backup-dir", "b", "--backup-keep", "0"], "1..=1000"),
        (&["--audit-keep", "364d"], "must be 365d at least"),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
        let refused = person.run(&arguments).refused(2);
        assert!(refused.contains(problem), "{refused}");
    }
}

#[test]
fn a_server_tells_a_program_in_json_where_it_listens() {
    use std::io::{BufRead as _, BufReader};

    let person = Person::with_alice();
    let mut command = person.command(&["serve", "--json", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let document: Value = serde_json::from_str(&line).unwrap();
    assert!(text_of(&document, "/listening").starts_with("http://127.0.0.1:"), "{line}");
    assert_eq!(text_of(&document, "/status"), "OK");
}

/// Only root can give a folder to another user; otherwise the test can't run.
#[cfg(unix)]
#[test]
fn a_folder_that_belongs_to_another_user_says_what_to_do() {
    let person = Person::with_alice();
    let status = person.run(&["vault", "status", "--json"]).json();
    let folder = std::path::Path::new(text_of(&status, "/location")).parent().unwrap();
    if std::os::unix::fs::chown(folder, Some(4242), None).is_ok() {
        let told = person.run(&["secret", "list"]).refused(78);
        assert!(
            told.contains("belongs to another user; run countersign as that user, or name a folder of your own"),
            "{told}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_first_start_with_a_named_key_file_goes_through_a_link_as_a_mounted_secret_has_it() {
    let person = Person::new();
    let (keys, link) = (person.home().join("..data"), person.home().join("vault.key"));
    fs::create_dir(&keys).unwrap();
    let create = |key: &std::path::Path| person.run(&["--key-file", key.to_str().unwrap(), "vault", "create"]);
    create(&keys.join("vault.key")).ok();
    std::os::unix::fs::symlink(keys.join("vault.key"), &link).unwrap();

    person.run(&["--key-file", "vault.key", "secret", "list"]).ok();

    // A link into the vault's own folder does not circumvent the rule.
    let status = person.run(&["--key-file", "vault.key", "vault", "status", "--json"]).json();
    let beside = std::path::Path::new(text_of(&status, "/location")).with_file_name("my.key");
    fs::copy(&link, &beside).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&beside, &link).unwrap();
    let told = person.run(&["--key-file", "vault.key", "secret", "list"]).refused(78);
    assert!(told.contains("lies in the folder of the vault"), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_strict_server_hands_out_no_code_before_its_row_is_on_the_disk() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    for (durability, status) in [("normal", "200"), ("strict", "503")] {
        let person = Person::new();
        person.fed(RFC_SEED, &["secret", "add", "--label", "slow", "--period", "3600", "--stdin"]).ok();
        let id = text_of(&person.run(&["secret", "list", "--json"]).json(), "/totp_secrets/0/id").to_owned();
        let token = text_of(&person.run(&["key", "create", "--name", "a", "--json"]).json(), "/token").to_owned();
        let (mut command, faults) =
            person.with_faults(&["serve", "--listen", "127.0.0.1:0", "--durability", durability]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("listening on http://").unwrap();
        let ask = || {
            let mut connection = std::net::TcpStream::connect(address).unwrap();
            let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close");
            write!(connection, "GET /api/v2/totp/code/{id} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(ask().starts_with("HTTP/1.1 200"), "{durability}");
        // The time of the key's last use is written after the request, and would trigger the fault instead.
        let keys = || person.run(&["key", "list", "--json"]).json();
        assert!((0..500).any(|_| keys().pointer("/keys/0/last_used_at").is_some_and(Value::is_string)));
        fs::write(faults.path().join("sync"), "").unwrap();

        let again = ask();

        child.kill().unwrap();
        child.wait().unwrap();
        assert!(again.starts_with(&format!("HTTP/1.1 {status}")), "{durability}: {again}");
    }
}

/// A core file would hold seeds, and a server needs more files than many shells grant at first.
#[cfg(target_os = "linux")]
#[test]
fn a_process_leaves_no_core_file_and_may_open_as_many_files_as_the_system_grants() {
    use std::io::{BufRead as _, Write as _};

    let person = Person::with_vault();
    let mut sidecar = person.command(&["stdio"]);
    let mut sidecar = sidecar.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Once it answers, its limits are set.
    sidecar.stdin.as_mut().unwrap().write_all(b"no message\n").unwrap();
    std::io::BufReader::new(sidecar.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();

    let limits = fs::read_to_string(format!("/proc/{}/limits", sidecar.id())).unwrap();

    let limit = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    let files = limit("Max open files");
    assert_eq!(files[0], files[1]);
    drop(sidecar.stdin.take());
    sidecar.wait().unwrap();
}

/// The error is not attributed to a full disk.
#[test]
fn a_process_that_ends_on_an_older_copy_says_so() {
    use std::io::{BufRead as _, Read as _, Write as _};

    let person = Person::with_vault();
    let file = found("vault.db", person.home()).unwrap();
    let older = fs::read(&file).unwrap();
    person.run(&["secret", "add", "--label", "newer", "--generate"]).ok();
    let mut sidecar = person.command(&["stdio"]);
    sidecar.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sidecar = sidecar.spawn().unwrap();
    let mut answers = std::io::BufReader::new(sidecar.stdout.take().unwrap());
    // The refusal of the line is a row of the audit log.
    let mut refused = |stdin: &mut std::process::ChildStdin| {
        stdin.write_all(b"no message\n").unwrap();
        answers.read_line(&mut String::new()).unwrap();
    };
    let mut stdin = sidecar.stdin.take().unwrap();
    refused(&mut stdin);

    fs::write(&file, older).unwrap();
    refused(&mut stdin);
    drop(stdin);

    let mut told = String::new();
    sidecar.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(sidecar.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("could not be closed in good order: ") && told.contains("replaced"), "{told}");
    assert!(!told.contains("disk is full"), "{told}");
}

#[test]
fn an_argument_that_other_programs_take_gets_a_tip() {
    let person = Person::with_alice();
    let seed = "the seed is never an argument";
    for (arguments, tip) in [
        (vec!["secret", "add", "--secret", "GEZDGNBVGY3TQOJQ"], seed),
        (vec!["secret", "add", "--seed=GEZDGNBVGY3TQOJQ", "--label", "ada"], seed),
        (vec!["secret", "add", "GEZDGNBVGY3TQOJQ"], seed),
        (vec!["secret", "add", "--label", "Ada", "Lovelace"], "quote a label with spaces"),
        (vec!["secret", "add", "--label"], "a value is required"),
        (vec!["secret", "list", "git"], "--query"),
        (vec!["code", "alice", "--format", "json"], "use --json"),
        (vec!["verify", "alice", "123456"], "a code is never an argument"),
        (vec!["verify", "alice", "123 456"], "a code is never an argument"),
    ] {
        let refused = person.run(&arguments).refused(2);
        assert!(refused.contains(tip), "{arguments:?}: {refused}");
        assert!(!refused.contains("GEZDGNBV") && !refused.contains("123456"), "{arguments:?}: {refused}");
    }
}

#[test]
fn a_mistyped_place_makes_no_folders_above_it() {
    let person = Person::new();
    let far = person.home().join("nope").join("dir");
    let (file, dir) = (far.join("k"), far.to_str().unwrap());
    let file = file.to_str().unwrap();
    let store = format!("sqlite:{file}");
    let add = ["secret", "add", "--label", "a", "--generate"];
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (flag, value) in [("--key-file", file), ("--store", &*store), ("--data-dir", dir), ("--state-dir", dir)] {
        for command in [&add[..], &serve[..], &["stdio"][..], &["vault", "create"][..]] {
            let ran = person.run(&[&[flag, value], command].concat());
            assert_eq!(ran.status, 2, "{flag} {command:?}: {ran:?}");
            assert!(ran.err.contains(flag) && ran.err.contains("make the folder above it"), "{flag}: {ran:?}");
        }
    }
    let refused = person.run(&[&serve[..], &["--backup-dir", dir]].concat()).refused(2);
    assert!(refused.contains("--backup-dir"), "{refused}");
    let home: Vec<_> = fs::read_dir(person.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(home.is_empty(), "{home:?}");

    // Of a given path only the last folder is made; of the default path, all folders are.
    let near = person.home().join("near");
    person.run(&[&["--data-dir", near.to_str().unwrap()], &add[..]].concat()).ok();
    person.run(&add).ok();
}

#[cfg(unix)]
#[test]
fn a_folder_of_backups_is_its_owners_alone_or_the_server_does_not_start() {
    let person = Person::with_vault();
    let folder = person.home().join("backups");
    fs::create_dir(&folder).unwrap();
    crate::sqlite::set_mode(&folder, 0o777);
    let dir = folder.to_str().unwrap();
    let refused = person.run(&["serve", "--listen", "127.0.0.1:0", "--backup-dir", dir]).refused(78);
    assert!(refused.contains("chmod 700"), "{refused}");
    let refused = person.run(&["serve", "--listen", "127.0.0.1:0", "--backup-dir", "/proc/x"]).refused(78);
    assert!(refused.contains("/proc/x"), "{refused}");
    assert!(files_in(&folder).is_empty());
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_secret_keeps_no_server_waiting() {
    let person = Person::new();
    let pipe = person.home().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let pipe = pipe.to_str().unwrap();
    let client =
        ["--oauth-issuer", "https://id.example", "--oauth-audience", "https://c.example", "--oauth-client-id", "c"];
    let secret = [&["serve", "--listen", "127.0.0.1:0"], &client[..], &["--oauth-client-secret-file", pipe]].concat();
    let refused = person.run(&secret).refused(2);
    assert!(refused.contains("--oauth-client-secret-file") && refused.contains("regular file"), "{refused}");
    for source in ["file", "passphrase", "recovery"] {
        let source = format!("{source}:{pipe}");
        let refused = person.run(&["--key-source", &source, "serve", "--listen", "127.0.0.1:0"]).refused(78);
        assert!(refused.contains("is not a plain file"), "{source}: {refused}");
    }
}
