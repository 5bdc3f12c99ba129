//! The files of a torrent, drawn as the tree that they are.

use std::collections::HashMap;

use crate::app::human;
use crate::proto::metainfo::path::shown;
use crate::proto::metainfo::{FileEntry, Metainfo};

/// Columns for a size, right-aligned: `1023.9 KiB`.
const SIZE: usize = 10;

/// A line for each file and folder, in the torrent's order: its size, then its place in the tree. Padding is never on disk and not drawn;
/// folders that hold nothing but a folder share a line.
pub(super) fn draw(metainfo: &Metainfo) -> String {
    let mut out = String::new();
    if let [only] = metainfo.files.as_slice()
        && metainfo.single
    {
        line(&mut out, only.length, "", &named(&metainfo.name), only);
        return out;
    }
    let tree = Tree::of(metainfo);
    tree.draw(&named(&metainfo.name), &mut out);
    out
}

/// A name as people see it, and where that is not what lies on disk, that too, as a shell takes it.
pub(super) fn named(name: &[u8]) -> String {
    let shown = shown(name);
    if shown.as_bytes() == name {
        shown
    } else {
        format!("{shown} (on disk: $'{}')", name.escape_ascii())
    }
}

/// A file or a folder; the first is the payload.
struct Node<'a> {
    name: &'a [u8],
    size: u64,
    file: Option<&'a FileEntry>,
    inside: Vec<usize>,
}

struct Tree<'a>(Vec<Node<'a>>);

/// What is still to be drawn: a node, how much of the indentation is its own, and whether it is the last of its folder.
struct Task {
    node: usize,
    indent: usize,
    last: bool,
}

impl<'a> Tree<'a> {
    fn of(metainfo: &'a Metainfo) -> Self {
        let folder = |name| Node {
            name,
            size: 0,
            file: None,
            inside: Vec::new(),
        };
        let mut nodes = vec![folder(&metainfo.name)];
        let mut known: HashMap<(usize, &[u8]), usize> = HashMap::new();
        for file in metainfo.files.iter().filter(|file| !file.pad) {
            let mut at = 0;
            nodes[0].size += file.length;
            for name in &file.path {
                let fresh = nodes.len();
                let inside = *known.entry((at, name)).or_insert(fresh);
                if inside == fresh {
                    nodes.push(folder(name));
                    nodes[at].inside.push(inside);
                }
                nodes[inside].size += file.length;
                at = inside;
            }
            nodes[at].file = Some(file);
        }
        Self(nodes)
    }

    /// A list of tasks and not recursion, so that no tree is too deep.
    fn draw(&self, top: &str, out: &mut String) {
        let Some(root) = self.0.first() else { return };
        size(out, root.size);
        out.push_str(top);
        out.push_str("/\n");
        let mut indentation = String::new();
        let mut tasks = Vec::new();
        self.plan(root, 0, &mut tasks);
        while let Some(task) = tasks.pop() {
            indentation.truncate(task.indent);
            let branch = if task.last {
                "└── "
            } else {
                "├── "
            };
            let mut node = &self.0[task.node];
            let lead = format!("{indentation}{branch}");
            if let Some(file) = node.file {
                line(out, node.size, &lead, &named(node.name), file);
                continue;
            }
            size(out, node.size);
            out.push_str(&lead);
            out.push_str(&named(node.name));
            while let [only] = node.inside.as_slice()
                && self.0[*only].file.is_none()
            {
                node = &self.0[*only];
                out.push('/');
                out.push_str(&named(node.name));
            }
            out.push_str("/\n");
            indentation.push_str(if task.last { "    " } else { "│   " });
            self.plan(node, indentation.len(), &mut tasks);
        }
    }

    fn plan(&self, folder: &Node<'_>, indent: usize, tasks: &mut Vec<Task>) {
        let last = folder.inside.last();
        // The list is taken from its end.
        tasks.extend(folder.inside.iter().rev().map(|node| Task {
            node: *node,
            indent,
            last: Some(node) == last,
        }));
    }
}

fn size(out: &mut String, bytes: u64) {
    let text = human::bytes(bytes);
    out.push_str(&format!("{text:>SIZE$}  "));
}

fn line(out: &mut String, bytes: u64, lead: &str, name: &str, file: &FileEntry) {
    size(out, bytes);
    out.push_str(lead);
    out.push_str(name);
    if let Some(sum) = &file.md5sum {
        out.push_str("  md5 ");
        out.push_str(sum);
    }
    out.push('\n');
}
