//! One committed snapshot for each tool: what a model reads changes in a reviewed commit or not at all.

use std::{fs, path::Path};

use countersign::transport::mcp::{TOOLS, listed};

/// Set this variable to write the snapshots anew.
const UPDATE: &str = "COUNTERSIGN_UPDATE_SNAPSHOTS";

#[test]
fn every_tool_is_as_its_snapshot_says() {
    let folder = Path::new("tests/it/mcp/snapshots");
    let update = std::env::var_os(UPDATE).is_some();
    for tool in listed() {
        let now = serde_json::to_string_pretty(&tool).unwrap() + "\n";
        let file = folder.join(format!("{}.json", tool.name));
        if update {
            fs::create_dir_all(folder).unwrap();
            fs::write(&file, &now).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(now, kept, "{} differs; if that is meant, run with {UPDATE}=1", file.display());
    }
    let snapshots = fs::read_dir(folder).unwrap().count();
    assert_eq!(snapshots, TOOLS.len(), "a snapshot without a tool");
}

#[test]
fn tools_stand_in_the_order_of_their_names() {
    assert!(TOOLS.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn schemas_hold_nothing_that_clients_stumble_over() {
    for tool in listed() {
        let text = serde_json::to_string(&tool).unwrap();
        for trap in ["\"format\":\"uint", "\"format\":\"int", "$ref", "$defs", "\"type\":[", "\"default\":null"] {
            assert!(!text.contains(trap), "{} has {trap}", tool.name);
        }
    }
}
