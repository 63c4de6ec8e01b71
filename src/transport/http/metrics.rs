//! Counters in Prometheus' text format. No label's value comes from a request.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use http::StatusCode;

use super::routes::{self, Route};
use crate::operations::Tally;

/// The statuses with counters of their own; others count as `other`.
const STATUSES: [u16; 19] =
    [200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504];

/// The counters since the start. Counting is one atomic addition.
pub(super) struct Metrics {
    routes: Vec<&'static Route>,
    /// For each route, and for requests without one: the answers by status.
    answers: Vec<[AtomicU64; STATUSES.len() + 1]>,
}

/// Current values.
pub(super) struct Gauges {
    pub(super) connections: usize,
    pub(super) sessions: usize,
    pub(super) sse_streams: usize,
    pub(super) streams: usize,
}

impl Metrics {
    pub(super) fn new(with_sse: bool) -> Self {
        let routes: Vec<_> = routes::all(with_sse).collect();
        let answers = (0..=routes.len()).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        Self { routes, answers }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, route: Option<&'static Route>, status: StatusCode) {
        let row = route.and_then(|route| self.routes.iter().position(|known| std::ptr::eq(*known, route)));
        let column = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        let cell = self.answers.get(row.unwrap_or(self.routes.len())).and_then(|row| row.get(column));
        cell.map(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    /// All metrics as text.
    pub(super) fn text(&self, now: &Gauges, tally: &Tally) -> String {
        let mut text = String::with_capacity(4096);
        head(&mut text, "countersign_http_requests_total", "counter", "Requests answered, by route and status.");
        let nowhere = [("other", "other")];
        let names = self.routes.iter().map(|route| (route.method.as_str(), route.path)).chain(nowhere);
        for ((method, path), row) in names.zip(&self.answers) {
            for (column, count) in row.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                let status = STATUSES.get(column).map_or_else(|| "other".to_owned(), u16::to_string);
                if count > 0 {
                    let labels = format!(r#"method="{method}",route="{path}",status="{status}""#);
                    let _ = writeln!(text, "countersign_http_requests_total{{{labels}}} {count}");
                }
            }
        }
        head(&mut text, "countersign_codes_issued_total", "counter", "Codes handed out, whatever the transport.");
        let _ = writeln!(text, "countersign_codes_issued_total {}", tally.codes_issued);
        head(&mut text, "countersign_refusals_total", "counter", "Calls refused, whatever the transport, by code.");
        for (code, count) in &tally.refused {
            let _ = writeln!(text, "countersign_refusals_total{{code=\"{}\"}} {count}", code.as_str());
        }
        let name = "countersign_limit_refusals_total";
        head(&mut text, name, "counter", "Calls refused because they were above a limit, by limit.");
        for (limit, count) in &tally.limited {
            let _ = writeln!(text, "{name}{{limit=\"{}\"}} {count}", limit.as_str());
        }
        for (name, value, about) in [
            ("countersign_http_connections", now.connections, "Open connections."),
            ("countersign_mcp_sessions", now.sessions, "Sessions of handshake clients over Streamable HTTP."),
            ("countersign_sse_streams", now.sse_streams, "Open HTTP+SSE streams."),
            ("countersign_mcp_streams", now.streams, "Open streams of either transport, those of HTTP+SSE among them."),
            ("countersign_waiting_callers", tally.waiting, "Callers that wait for a code."),
        ] {
            head(&mut text, name, "gauge", about);
            let _ = writeln!(text, "{name} {value}");
        }
        if let Some(at) = tally.last_backup {
            let name = "countersign_last_backup_timestamp_seconds";
            head(&mut text, name, "gauge", "When this process last made a backup by itself.");
            let _ = writeln!(text, "{name} {at}");
        }
        if let Some(ahead) = tally.clock_ahead {
            let name = "countersign_clock_ahead_seconds";
            head(&mut text, name, "gauge", "By how much this machine's clock is ahead of that of the vault's server.");
            let (sign, micros) = (if ahead < 0 { "-" } else { "" }, ahead.unsigned_abs());
            let _ = writeln!(text, "{name} {sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, about: &str) {
    let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
}
