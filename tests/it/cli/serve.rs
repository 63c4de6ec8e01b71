//! A server as a process: its log, and its reactions to signals.

#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Person, files_in, finish};

#[test]
fn a_server_that_logs_json_writes_nothing_else_and_reads_its_certificate_again_when_told() {
    let person = Person::with_alice();
    let (certificate, key) = (person.home().join("cert.pem"), person.home().join("key.pem"));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::write(&certificate, made.cert.pem()).unwrap();
    };
    renew();
    let [certificate_name, key_name] = [&certificate, &key].map(|file| file.to_str().unwrap());
    let arguments = ["--tls-cert", certificate_name, "--tls-key", key_name, "--log-format", "json"];
    let mut command = person.command(&[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut until = |text: &str| loop {
        let line: Value = serde_json::from_str(&lines.next().expect("a line").unwrap()).expect("JSON");
        assert!(line["level"].is_string() && line["timestamp"].is_string() && line["target"].is_string(), "{line}");
        if line["message"].as_str().unwrap().contains(text) {
            return line;
        }
    };
    let process = Pid::from_child(&child);

    assert_eq!(until("listening on https://127.0.0.1:")["level"], "INFO");
    until("countersign key create");
    // No handshake has made the server read the files: only the signal does.
    renew();
    kill_process(process, Signal::HUP).unwrap();
    until("the TLS certificate was read anew");
    fs::write(&certificate, "broken").unwrap();
    kill_process(process, Signal::HUP).unwrap();
    assert_eq!(until("the new TLS certificate does not work; the old one stays")["level"], "ERROR");

    kill_process(process, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_server_that_logs_json_and_cant_start_says_so_in_json() {
    let person = Person::with_alice();
    let refused = person.run(&["--data-dir", "/proc/x", "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    assert_ne!(refused.status, 0);
    for line in refused.err.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line["message"].is_string(), "{line}");
    }
    assert!(refused.err.contains("\"ERROR\""), "{refused:?}");
}

#[test]
fn a_server_takes_over_the_socket_that_systemd_hands_it() {
    use std::io::{Read as _, Write as _};

    let person = Person::with_alice();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The shell is replaced by the server, so that `LISTEN_PID` is the server's process id.
    let program = env!("CARGO_BIN_EXE_countersign");
    let script = format!("exec env LISTEN_FDS=1 LISTEN_PID=$$ {program} serve 3<&0 0</dev/null");
    let command = person.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let fd: std::os::fd::OwnedFd = socket.try_clone().unwrap().into();
    let mut child = shell.stdin(fd).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();

    assert_eq!(lines.next().unwrap().unwrap(), format!("listening on http://{address}"));
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A collector that stores the path and the body of each request.
fn collector() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<(String, Vec<u8>)>) {
    use std::io::{Read as _, Write as _};

    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let mut reader = BufReader::new(connection.unwrap());
            let (mut path, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(rest) = line.strip_prefix("POST ") {
                    rest.split(' ').next().unwrap().clone_into(&mut path);
                }
                if let Some(count) = line.to_lowercase().strip_prefix("content-length:") {
                    length = count.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if tell.send((path, body)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn a_sidecar_sends_a_span_for_each_call_and_its_counters_and_nothing_that_was_sent_or_answered() {
    let person = Person::with_alice();
    let (address, told) = collector();
    let id = person.run(&["secret", "list", "--json"]).json()["totp_secrets"][0]["id"].as_str().unwrap().to_owned();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"teller","version":"1"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"get_totp_code","arguments":{{"secret_id":"{id}","purpose":"nightly job"}},"_meta":{{"traceparent":"00-{trace}-00f067aa0ba902b7-01"}}}}}}"#
        ),
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_seat","arguments":{"seat_id":"nobody"}}}"#.to_owned(),
    ];
    let endpoint = format!("http://{address}");
    let ran = person.fed(&(lines.join("\n") + "\n"), &["stdio", "--otlp-endpoint", &endpoint]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let answers: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let code = answers.iter().find(|answer| answer["id"] == 2).unwrap()["result"]["structuredContent"]["code"].clone();

    let sent: Vec<(String, Vec<u8>)> = told.try_iter().collect();
    let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
    let of =
        |path: &str| sent.iter().filter(|(to, _)| to == path).flat_map(|(_, body)| body.clone()).collect::<Vec<u8>>();
    let (traces, metrics) = (of("/v1/traces"), of("/v1/metrics"));
    for part in ["tools/call get_totp_code", "tools/call get_seat", "gen_ai.tool.name", "not_found", "countersign"] {
        assert!(holds(&traces, part.as_bytes()), "{part}");
    }
    assert!(holds(&traces, &data_encoding::HEXLOWER.decode(trace.as_bytes()).unwrap()));
    for part in ["mcp.server.operation.duration", "countersign.codes.issued", "countersign.limit.refusals"] {
        assert!(holds(&metrics, part.as_bytes()), "{part}");
    }
    for hidden in [code.as_str().unwrap(), &id, "nightly", "nobody", "teller", "alice", "Example"] {
        assert!(!holds(&traces, hidden.as_bytes()) && !holds(&metrics, hidden.as_bytes()), "{hidden}");
    }
}

#[test]
fn what_is_no_collectors_address_is_refused_before_anything_is_made() {
    let person = Person::new();
    for (url, reason) in [
        ("collector", "must be a URL"),
        ("ftp://127.0.0.1:4318", "must be a URL"),
        ("http://127.0.0.1:4318/?x=y", "without a query"),
    ] {
        let refused = person.run(&["serve", "--listen", "127.0.0.1:0", "--otlp-endpoint", url]).refused(2);
        assert!(refused.contains("--otlp-endpoint") && refused.contains(reason), "{refused}");
    }
    assert!(files_in(person.home()).is_empty(), "nothing is made");
    let mut command = person.command(&["stdio", "--otlp-endpoint", "http://collector.example:4318"]);
    let refused = finish(command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=x"), b"");
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.err.contains("in clear"), "{refused:?}");
}
