//! `countersign audit verify`: of the vault's audit log, and of archives of pruned rows.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    Ending, Failure, Session, anchors,
    numbers::{counted, counted_len},
};
use crate::{
    domain::audit::ChainHead,
    operations::{ArchiveReport, AuditReport, VerifyArchive, VerifyAudit, answers::OK},
};

/// Rows of one chain that follow each other, as JSON.
#[derive(Serialize)]
struct ChainRows {
    /// Their chain, if it is not the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u32>,
    first: u64,
    last: u64,
}

/// The result of a verification, as JSON.
#[derive(Serialize)]
struct VerifyAnswer {
    valid: bool,
    /// The first problem.
    finding: Option<String>,
    rows: u64,
    /// The chain of the problem, if it is not the first chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u32>,
    /// The first and the last row of the first chain.
    first: Option<u64>,
    last: Option<u64>,
    /// Rows that a repair fenced off, because they were damaged; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fenced: Vec<ChainRows>,
    /// The number of given anchors.
    anchors: usize,
    /// How many of them name an existing row. The others name rows that were pruned or fenced off.
    anchors_compared: u64,
    /// The number of knots, each a row of a chain that another chain has noted, that were found right; absent if there
    /// are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    knots: Option<u64>,
    /// The end of the first chain.
    head: Option<anchors::Anchor>,
    /// The ends of the other chains; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_heads: Vec<anchors::Anchor>,
    status: &'static str,
}

/// The result of verifying an archive, as JSON.
#[derive(Serialize)]
struct ArchiveAnswer {
    valid: bool,
    /// The first problem.
    finding: Option<String>,
    rows: u64,
    /// The numbers of the first and the last sound row of the first chain.
    first: Option<u64>,
    last: Option<u64>,
    /// The same of the other chains; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_chains: Vec<ChainRows>,
    /// Rows that a repair fenced off, because they were damaged; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fenced: Vec<ChainRows>,
    /// The chain of the problem, if it is not the first chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u32>,
    status: &'static str,
}

/// Verifies the audit log, or archives.
pub(super) async fn verify(args: &anchors::VerifyArgs, session: &mut Session) -> Result<Ending, Failure> {
    if !args.archive.is_empty() {
        return verify_archive(args.archive.clone(), session).await;
    }
    let anchors = anchors::read(args, &mut session.console)?;
    let report = session.perform(VerifyAudit { anchors: anchors.clone() }).await?;
    let AuditReport { rows, spans, anchors: anchors_compared, knots, fenced, finding } = report;
    let now = session.service.now();
    let heads = match (session.service.audit_heads().await, &finding) {
        (Ok(heads), _) => heads,
        // The finding describes the problem.
        (Err(_), Some(_)) => Vec::new(),
        (Err(refusal), None) => return Err(refusal.into()),
    };
    let anchor = |head: &ChainHead| anchors::Anchor::of(*head, now);
    let span = spans.iter().find(|(chain, ..)| *chain == 0);
    let answer = VerifyAnswer {
        valid: finding.is_none(),
        finding: finding.map(|(_, finding)| finding.to_string()),
        rows,
        chain: finding.map(|(chain, _)| chain).filter(|chain| *chain != 0),
        first: span.map(|(_, first, _)| *first),
        last: span.map(|(.., last)| *last),
        fenced: fenced.iter().map(|(chain, first, last)| chain_rows(*chain, *first, *last)).collect(),
        anchors: anchors.len(),
        anchors_compared,
        knots: Some(knots).filter(|knots| *knots > 0),
        head: heads.iter().find(|head| head.chain == 0).map(anchor),
        other_heads: heads.iter().filter(|head| head.chain != 0).map(anchor).collect(),
        status: OK,
    };
    let rows = rows_in_words(rows, &spans);
    session.console.answer(&answer, |console| match &answer.finding {
        None => {
            let knots = answer.knots.map(|knots| format!(", {}", counted(knots, "knot"))).unwrap_or_default();
            let (anchors, fences) = (anchors_in_words(&answer), fences_in_words(&answer.fenced));
            console.line(&format!("sound: {rows}, {anchors}{knots}{fences}"))
        }
        Some(finding) => {
            let place = answer.chain.map(|chain| format!("chain {chain}: ")).unwrap_or_default();
            console.line(&format!("not sound: {place}{finding} (sound before it: {rows})"))
        }
    })?;
    Ok(if answer.valid { Ending::Done } else { Ending::No })
}

async fn verify_archive(files: Vec<PathBuf>, session: &mut Session) -> Result<Ending, Failure> {
    let ArchiveReport { rows, spans, fenced, finding } = session.perform(VerifyArchive { files }).await?;
    let span = spans.iter().find(|(chain, ..)| *chain == 0);
    let of = |(chain, first, last): &(u32, u64, u64)| chain_rows(*chain, *first, *last);
    let answer = ArchiveAnswer {
        valid: finding.is_none(),
        finding: finding.map(|(_, finding)| finding.to_string()),
        rows,
        first: span.map(|(_, first, _)| *first),
        last: span.map(|(.., last)| *last),
        other_chains: spans.iter().filter(|(chain, ..)| *chain != 0).map(of).collect(),
        fenced: fenced.iter().map(of).collect(),
        chain: finding.map(|(chain, _)| chain).filter(|chain| *chain != 0),
        status: OK,
    };
    session.console.answer(&answer, |console| {
        let rows = rows_in_words(rows, &spans);
        match &answer.finding {
            None => {
                let (fences, missing) = (fences_in_words(&answer.fenced), earlier_in_words(&spans));
                console.line(&format!("sound: {rows}, and the audit log goes on from there{fences}{missing}"))
            }
            Some(finding) => {
                let place = answer.chain.map(|chain| format!("chain {chain}: ")).unwrap_or_default();
                console.line(&format!("not sound: {place}{finding} (sound before it: {rows})"))
            }
        }
    })?;
    Ok(if answer.valid { Ending::Done } else { Ending::No })
}

/// The rows before those of an archive, which may be in another one.
fn earlier_in_words(spans: &[(u32, u64, u64)]) -> String {
    let later = spans.iter().filter(|(_, first, _)| *first > 1);
    let earlier = later.map(|(chain, first, _)| chain_rows(*chain, 1, first.saturating_sub(1))).collect::<Vec<_>>();
    if earlier.is_empty() {
        return String::new();
    }
    format!("; not in these files: rows {}", ranges_in_words(&earlier))
}

/// How many rows were sound, and their numbers.
fn rows_in_words(rows: u64, spans: &[(u32, u64, u64)]) -> String {
    match spans {
        [] => "no rows".to_owned(),
        [(0, first, last)] => format!("{}, {first} to {last}", counted(rows, "row")),
        chains => {
            let spans = chains.iter().map(|(chain, first, last)| format!("chain {chain}: {first} to {last}"));
            let spans = spans.collect::<Vec<_>>().join(", ");
            format!("{} in {} ({spans})", counted(rows, "row"), counted_len(chains.len(), "chain"))
        }
    }
}

fn chain_rows(chain: u32, first: u64, last: u64) -> ChainRows {
    ChainRows { chain: Some(chain).filter(|chain| *chain != 0), first, last }
}

/// Which rows are fenced off.
fn fences_in_words(fenced: &[ChainRows]) -> String {
    if fenced.is_empty() {
        return String::new();
    }
    format!("; damaged and fenced off: rows {}", ranges_in_words(fenced))
}

fn ranges_in_words(rows: &[ChainRows]) -> String {
    let range = |ChainRows { chain, first, last }: &ChainRows| {
        let chain = chain.map(|chain| format!("of chain {chain}: ")).unwrap_or_default();
        if first == last { format!("{chain}{first}") } else { format!("{chain}{first} to {last}") }
    };
    rows.iter().map(range).collect::<Vec<_>>().join(", ")
}

fn anchors_in_words(answer: &VerifyAnswer) -> String {
    let given = counted_len(answer.anchors, "anchor");
    match answer.anchors_compared {
        compared if compared < answer.anchors as u64 => {
            format!("{given}, of which {compared} could be compared: the others are of rows that are gone")
        }
        _ => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chain_is_told_by_its_rows_and_several_by_their_number() {
        assert_eq!(rows_in_words(0, &[]), "no rows");
        assert_eq!(rows_in_words(3, &[(0, 7, 9)]), "3 rows, 7 to 9");
        assert_eq!(rows_in_words(5, &[(0, 7, 9), (4, 1, 2)]), "5 rows in 2 chains (chain 0: 7 to 9, chain 4: 1 to 2)");
        assert_eq!(rows_in_words(2, &[(4, 1, 2)]), "2 rows in 1 chain (chain 4: 1 to 2)");
    }

    #[test]
    fn rows_before_those_of_an_archive_are_told() {
        assert_eq!(earlier_in_words(&[(0, 1, 9), (2, 1, 3)]), "");
        assert_eq!(earlier_in_words(&[(0, 7, 9), (2, 2, 3)]), "; not in these files: rows 1 to 6, of chain 2: 1");
    }

    #[test]
    fn rows_that_are_fenced_off_are_told_by_their_numbers() {
        assert_eq!(fences_in_words(&[]), "");
        let fenced = [chain_rows(0, 5, 7), chain_rows(0, 9, 9), chain_rows(2, 1, 4)];
        assert_eq!(fences_in_words(&fenced), "; damaged and fenced off: rows 5 to 7, 9, of chain 2: 1 to 4");
    }
}
