//! Just enough XML for what routers say of themselves: elements with text. Strict: what it does not know is refused, not guessed.
//!
//! No document type (so no entities of its own), nothing that is not closed, no more than so deep.

/// Elements inside one another.
const MAX_DEPTH: usize = 32;

/// An element that holds text alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf<'a> {
    /// Its name, without a prefix.
    pub(super) name: &'a str,
    /// What it says.
    pub(super) text: String,
    /// Which element it stands in: the same for all that stand in the same one.
    pub(super) within: usize,
}

/// Every element of a document that holds text alone, in order. `None` if it is not a document of the kind that is understood.
pub(super) fn leaves(document: &str) -> Option<Vec<Leaf<'_>>> {
    let mut rest = document.trim_start_matches('\u{feff}');
    // Those that have begun and not ended, with their numbers.
    let mut open: Vec<(&str, usize)> = Vec::new();
    let (mut found, mut begun, mut is_leaf) = (Vec::new(), 0, false);
    loop {
        let at = rest.find('<').unwrap_or(rest.len());
        let (text, tag) = rest.split_at(at);
        if open.is_empty() && !text.trim().is_empty() {
            return None;
        }
        if tag.is_empty() {
            return (open.is_empty() && begun > 0).then_some(found);
        }
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.split_once("-->")?.1;
            is_leaf = false;
            continue;
        }
        if let Some(instruction) = tag.strip_prefix("<?") {
            rest = instruction.split_once("?>")?.1;
            continue;
        }
        let (inside, after) = tag.get(1..)?.split_once('>')?;
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            let (opened, _) = open
                .pop()
                .filter(|(opened, _)| *opened == name.trim_end())?;
            if std::mem::take(&mut is_leaf) {
                found.push(Leaf {
                    name: opened.rsplit(':').next().unwrap_or(opened),
                    text: unescaped(text.trim())?,
                    within: open.last().map_or(0, |&(_, number)| number),
                });
            }
            continue;
        }
        let (inside, empty) = match inside.strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let name = inside.split_ascii_whitespace().next()?;
        let second_root = open.is_empty() && begun > 0;
        if !is_name(name) || inside.contains('<') || second_root || open.len() >= MAX_DEPTH {
            return None;
        }
        begun += 1;
        is_leaf = !empty;
        if !empty {
            open.push((name, begun));
        }
    }
}

fn is_name(name: &str) -> bool {
    let part = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    name.bytes().all(part) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Text with the five entities that XML knows; any other is refused.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, next) = after.split_once(';')?;
        out.push_str(before);
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => return None,
        });
        rest = next;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Option<Vec<(&str, String, usize)>> {
        let leaves = leaves(document)?;
        Some(
            leaves
                .into_iter()
                .map(|l| (l.name, l.text, l.within))
                .collect(),
        )
    }

    #[test]
    fn elements_with_text_are_found_and_siblings_told_apart() {
        let document = "<?xml version=\"1.0\"?>\n<a x=\"1\"><!-- <b> -->\n<s:b> 1 &amp; 2 </s:b><c><d>x</d><e/><f></f></c><c><d>y</d></c></a>\n";
        let found = read(document).unwrap();
        let named = |name| found.iter().filter(move |(n, ..)| *n == name);
        assert_eq!(found[0], ("b", "1 & 2".into(), 1));
        let d: Vec<_> = named("d")
            .map(|(_, text, within)| (text.as_str(), *within))
            .collect();
        assert!(matches!(d[..], [("x", a), ("y", b)] if a != b));
        assert_eq!(named("f").count(), 1);
        assert_eq!(named("c").count(), 0, "it has others inside");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        for bad in [
            "",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a></a>text",
            "<a>&x;</a>",
            "<a>&#65;</a>",
            "<a>&amp</a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a><![CDATA[x]]></a>",
            "<a <b></b></a>",
            "<1></1>",
            "<></>",
            "<!-- <a></a>",
            &deep,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_document_cut_or_changed_anywhere_is_read_or_refused() {
        let good = "<?x?><a><!-- c --><b k='v'>1&lt;2</b><c/></a>";
        for at in 0..good.len() {
            assert_eq!(read(&good[..at]), None, "{at}");
            for c in (0..=255_u8).map(char::from) {
                let _ = read(&format!("{}{c}{}", &good[..at], &good[at + 1..]));
            }
        }
    }
}
