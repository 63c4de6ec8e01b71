//! The skill: how an agent logs in with a second factor, as a file that hosts load when it is needed (MCP's skills extension).

use rmcp::model::{Resource, ResourceContents, Skill, SkillFrontmatter, SkillResource, SkillResources};

const NAME: &str = "log-in-with-a-second-factor";
/// The address of its file.
const URI: &str = "skill://log-in-with-a-second-factor/SKILL.md";
const TEXT: &str = include_str!("skill.md");
const MEDIA_TYPE: &str = "text/markdown";

/// The skill as it is listed.
pub(super) fn skill() -> Skill {
    let file = SkillResource::from_bytes(URI, TEXT.as_bytes());
    Skill::new(URI, SkillFrontmatter::new(NAME, description()), SkillResources::Files(vec![file]))
}

/// Its file as a resource.
pub(super) fn resource() -> Resource {
    Resource::new(URI, NAME)
        .with_title("Log in with a second factor")
        .with_description(description())
        .with_mime_type(MEDIA_TYPE)
        .with_size(TEXT.len() as u64)
}

/// The file, if this is its address.
pub(super) fn read(uri: &str) -> Option<ResourceContents> {
    (uri == URI).then(|| ResourceContents::text(TEXT, URI).with_mime_type(MEDIA_TYPE))
}

/// Whether this is the skill's address.
pub(super) fn is_at(uri: &str) -> bool {
    uri == URI
}

/// The description in the head of the file.
fn description() -> &'static str {
    let line = TEXT.lines().find_map(|line| line.strip_prefix("description: "));
    line.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::Entry;

    #[test]
    fn the_skill_is_as_the_extension_wants_it_and_its_head_says_the_same() {
        skill().validate().unwrap();
        assert!(TEXT.starts_with(&format!("---\nname: {NAME}\ndescription: {}\n---\n", description())));
        assert!((100..1024).contains(&description().len()));
    }

    #[test]
    fn the_skill_names_tools_that_are_there() {
        let named = TEXT.split('`').skip(1).step_by(2);
        let tools: Vec<_> = named
            .filter(|name| name.ends_with("_totp_secret") || name.starts_with("list_") || name.starts_with("get_"))
            .collect();
        assert!(tools.len() >= 3 && tools.iter().all(|name| Entry::tool(name).is_some()), "{tools:?}");
    }
}
