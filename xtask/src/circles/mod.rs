//! `cargo xtask test layers`: no files of a crate import each other in a circle.
//!
//! A file **imports** another when it names an item that the other defines: in a `use`, in a path (`crate::a::f()`,
//! `super::B`, `module::C`), or through a glob. What counts is the file that defines the item, not the one that hands it
//! on: `use crate::Thing` of a `lib.rs` with `pub use a::Thing` imports `a.rs`. So
//!
//! - a `mod.rs` that only declares and re-exports imports nothing, and its children may take from each other through it;
//! - two children that reach each other through it are a circle, although neither names the other's file;
//! - a `mod.rs` that uses what a child defines imports that child, and a child that uses what the `mod.rs` itself defines
//!   imports the `mod.rs`: both together are a circle. What they share belongs into a file of its own.
//!
//! Inline modules belong to their file. What is compiled for tests alone (`#[cfg(test)]`) is left out. Methods do not
//! count: whose they are takes types to know. A lone name with a small letter counts where it is called.

mod graph;
mod imports;
mod modules;
mod tokens;

use std::path::Path;

use anyhow::{Result, bail};

use self::graph::circles;
use self::imports::imports;
use self::modules::Crate;
use crate::say;
use crate::workspace::{members, root};

/// Members of the workspace whose circles are known and not mended yet.
const LEFT_OUT: [&str; 5] = ["agent", "crates/aws", "crates/gst-kvssink", "crates/media", "crates/putmedia"];

/// An error that shows every circle, if there is one.
pub fn check() -> Result<()> {
    let root = root();
    let mut found = Vec::new();
    for member in members()? {
        let mut circles = Vec::new();
        // A library and a program are two crates.
        for target in ["src/lib.rs", "src/main.rs"].map(|target| root.join(&member).join(target)) {
            if target.exists() {
                circles.extend(describe(&Crate::read(&target)?, &root));
            }
        }
        match LEFT_OUT.contains(&member.as_str()) {
            true if circles.is_empty() => say!("{member} has no circles and need not be left out"),
            true => say!("{member} is left out; its circles: {}", circles.len()),
            false => found.extend(circles),
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    say!("{}", found.join("\n"));
    bail!("{} circles of imports", found.len())
}

/// Each circle as `a.rs → b.rs → a.rs`, and a line for each import. Paths are shown from `root` on.
fn describe(found: &Crate, root: &Path) -> Vec<String> {
    let imports = imports(found);
    let name = |file: usize| {
        let path = &found.files[file];
        path.strip_prefix(root).unwrap_or(path).display().to_string()
    };
    circles(&imports)
        .iter()
        .map(|circle| {
            let next = circle.iter().cycle().skip(1);
            let mut text =
                circle.iter().chain(circle.first()).map(|file| name(*file)).collect::<Vec<_>>().join(" → ");
            for (from, to) in circle.iter().zip(next) {
                if let Some(import) = imports.get(from).and_then(|targets| targets.get(to)) {
                    text.push_str(&format!("\n  {}:{}: {}", name(*from), import.line, import.path));
                }
            }
            text
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let source = |path: &Path| {
            let name = path.strip_prefix("/r").unwrap();
            files.iter().find(|(found, _)| Path::new(found) == name).map(|(_, text)| (*text).to_owned())
        };
        describe(&Crate::load(Path::new("/r/lib.rs"), &source).unwrap(), Path::new("/r"))
    }

    #[test]
    fn two_files() {
        let circles = of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "\npub struct B;\nfn f(_: crate::a::A) {}"),
        ]);
        assert_eq!(circles, ["a.rs → b.rs → a.rs\n  a.rs:1: crate::b::B\n  b.rs:3: crate::a::A"]);
    }

    #[test]
    fn three_files() {
        let circles = of(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
        ]);
        assert_eq!(circles.len(), 1);
        assert!(circles[0].starts_with("a.rs → b.rs → c.rs → a.rs\n"), "{}", circles[0]);
    }

    #[test]
    fn a_parent_that_uses_its_child_and_a_child_that_reaches_up() {
        let circles = of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; pub struct A; fn f() { b::g() }"),
            ("a/b.rs", "use super::A; pub fn g() {}"),
        ]);
        assert_eq!(circles.len(), 1);
        assert!(circles[0].starts_with("a/mod.rs → a/b.rs → a/mod.rs\n"), "{}", circles[0]);
    }

    #[test]
    fn siblings_that_reach_each_other_through_re_exports() {
        let circles = of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; pub use b::B; pub use c::C;"),
            ("a/b.rs", "use super::C; pub struct B;"),
            ("a/c.rs", "use super::B; pub struct C;"),
        ]);
        assert_eq!(circles.len(), 1);
        assert!(circles[0].starts_with("a/b.rs → a/c.rs → a/b.rs\n"), "{}", circles[0]);
    }

    #[test]
    fn a_parent_that_only_declares_and_re_exports_is_part_of_none() {
        let circles = of(&[
            ("lib.rs", "mod a; pub use a::{B, C};"),
            ("a/mod.rs", "mod b; mod c; pub use self::b::B; pub use self::c::C;"),
            ("a/b.rs", "use super::C; pub struct B;"),
            ("a/c.rs", "pub struct C;\n#[cfg(test)] mod tests { use crate::B; }"),
        ]);
        assert!(circles.is_empty(), "{circles:?}");
    }
}
