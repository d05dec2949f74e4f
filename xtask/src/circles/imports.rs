//! [`imports`]: which file of a crate names an item of which other.

use std::collections::BTreeMap;

use super::modules::{Crate, Module};

/// Where a file first imports another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub line: usize,
    /// As it is written: `super::api::timestamp`.
    pub path: String,
}

/// From importing file to imported file, both by index.
pub type Imports = BTreeMap<usize, BTreeMap<usize, Import>>;

/// The imports between different files of a crate.
pub fn imports(found: &Crate) -> Imports {
    let mut imports = Imports::new();
    for (id, module) in found.modules.iter().enumerate() {
        // A name that is only handed on is imported by whoever takes it.
        let uses = module.uses.iter().filter(|leaf| !leaf.public && leaf.name.is_some());
        let paths = uses
            .map(|leaf| (&leaf.path, leaf.line))
            .chain(module.mentions.iter().map(|mention| (&mention.path, mention.line)));
        for (path, line) in paths {
            let target = found.resolve(id, path, &mut Vec::new()).item;
            if let Some(target) = target.filter(|target| *target != module.file) {
                let import = Import { line, path: path.join("::") };
                let first = imports.entry(module.file).or_default().entry(target).or_insert(import.clone());
                if import.line < first.line {
                    *first = import;
                }
            }
        }
    }
    imports
}

/// What a path leads to. A module and an item may have the same name.
#[derive(Clone, Copy, Default)]
struct Target {
    module: Option<usize>,
    /// The file that defines it.
    item: Option<usize>,
}

impl Target {
    fn or(self, other: Self) -> Self {
        Self { module: self.module.or(other.module), item: self.item.or(other.item) }
    }
}

impl Crate {
    /// Follows a path that is written in a module, through re-exports to where the item is defined.
    ///
    /// `underway`: the names that are being looked up, because those of other crates may look like circles of aliases.
    fn resolve(&self, module: usize, path: &[String], underway: &mut Vec<(usize, String)>) -> Target {
        let parent = |module: usize| self.modules[module].parent;
        let Some((first, mut rest)) = path.split_first() else { return Target::default() };
        let mut target = match first.as_str() {
            "crate" => Target { module: Some(0), item: None },
            "self" => Target { module: Some(module), item: None },
            "super" => Target { module: parent(module), item: None },
            name => self.look_up(module, name, underway),
        };
        while let Some((name, after)) = rest.split_first() {
            // Behind an item are its own parts: variants, functions, constants.
            let Some(module) = target.module else { return target };
            let within = match name.as_str() {
                "super" => Target { module: parent(module), item: None },
                name => self.look_up(module, name, underway),
            };
            // A name that the module does not have may be one of the item's.
            target = if within.module.or(within.item).is_none() && target.item.is_some() {
                return Target { module: None, item: target.item };
            } else {
                within
            };
            rest = after;
        }
        target
    }

    /// A name as it is known in a module.
    fn look_up(&self, module: usize, name: &str, underway: &mut Vec<(usize, String)>) -> Target {
        let key = (module, name.to_owned());
        if underway.contains(&key) {
            return Target::default();
        }
        underway.push(key);
        let Module { file, children, items, uses, .. } = &self.modules[module];
        let exported = self.macros.get(name).filter(|_| module == 0).copied();
        let own = Target {
            module: children.get(name).copied(),
            item: if items.contains(name) { Some(*file) } else { exported },
        };
        let named = uses.iter().filter(|leaf| leaf.name.as_deref() == Some(name));
        let mut target =
            named.fold(own, |target, leaf| target.or(self.resolve(module, &leaf.path, underway)));
        if target.module.or(target.item).is_none() {
            for glob in uses.iter().filter(|leaf| leaf.name.is_none()) {
                if let Some(from) = self.resolve(module, &glob.path, underway).module {
                    target = target.or(self.look_up(from, name, underway));
                }
            }
        }
        underway.pop();
        target
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The imports as `a.rs > b.rs:LINE`.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        };
        let found = Crate::load(Path::new("lib.rs"), &source).unwrap();
        let name = |file: &usize| found.files[*file].display().to_string();
        let imports = imports(&found);
        let mut list: Vec<_> = imports
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |(to, import)| (from, to, import.line)))
            .map(|(from, to, line)| format!("{} > {}:{line}", name(from), name(to)))
            .collect();
        list.sort();
        list
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines_the_item() {
        let list = found(&[
            ("lib.rs", "mod a; mod b; pub use b::Thing;"),
            ("a.rs", "\nuse crate::Thing;"),
            ("b/mod.rs", "mod c; pub(crate) use self::c::Inner as Thing;"),
            ("b/c.rs", "pub struct Inner;"),
        ]);
        assert_eq!(list, ["a.rs > b/c.rs:2"]);
    }

    #[test]
    fn a_re_export_that_is_used_in_place_is_an_import() {
        let list = found(&[
            ("lib.rs", "mod a;\npub use a::Thing;\nfn f() -> Thing { Thing::new() }"),
            ("a.rs", "pub struct Thing;"),
        ]);
        assert_eq!(list, ["lib.rs > a.rs:3"]);
    }

    #[test]
    fn a_module_is_imported_where_something_of_it_is_named() {
        let list = found(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b;\n\nfn f() { b::g() }"),
            ("b.rs", "pub fn g() {}"),
        ]);
        assert_eq!(list, ["a.rs > b.rs:3"]);
    }

    #[test]
    fn globs_import_what_is_named() {
        let list = found(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::*;\nuse crate::c::*;\nfn f(_: Thing) {}"),
            ("b.rs", "pub struct Thing;"),
            ("c.rs", "pub struct Other;"),
        ]);
        assert_eq!(list, ["a.rs > b.rs:3"]);
    }

    #[test]
    fn a_macro_is_the_roots_and_is_imported_from_its_file() {
        let list = found(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "#[macro_export]\nmacro_rules! say { () => {} }"),
            ("b.rs", "fn f() { crate::say!() }"),
        ]);
        assert_eq!(list, ["b.rs > a.rs:1"]);
    }

    #[test]
    fn other_crates_and_names_of_their_own_are_no_imports() {
        let list = found(&[
            ("lib.rs", "mod http; mod a;"),
            ("http.rs", "use http::Method; use tokio; fn f() { tokio::spawn() }"),
            ("a.rs", "use std::fmt; struct Http; fn g() -> Http { Http }"),
        ]);
        assert!(list.is_empty(), "{list:?}");
    }
}
