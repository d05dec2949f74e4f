//! [`Crate`]: the modules of one crate, what each defines, and which names it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::tokens::{Token, tokens};

/// A crate as its files say it. Module 0 is the root.
pub struct Crate {
    pub files: Vec<PathBuf>,
    pub modules: Vec<Module>,
    /// Macros with `#[macro_export]`, which are the root's wherever they stand, and the file that has them.
    pub macros: BTreeMap<String, usize>,
}

/// A module, in a file of its own or inline.
pub struct Module {
    /// Index of its file.
    pub file: usize,
    /// `None` for the root.
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    /// Functions, types, traits, constants, statics and macros of its own.
    pub items: BTreeSet<String>,
    pub uses: Vec<Use>,
    pub mentions: Vec<Mention>,
}

/// One leaf of a `use`.
pub struct Use {
    /// `["super", "b", "Name"]`; without the star of a glob.
    pub path: Vec<String>,
    /// The name that it brings in; `None` for a glob.
    pub name: Option<String>,
    /// Whether it hands the name on: `pub`, `pub(crate)`, `pub(super)`.
    pub public: bool,
    pub line: usize,
}

/// A path elsewhere than in a `use`.
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

impl Crate {
    /// Reads the crate whose root is this file.
    pub fn read(root: &Path) -> Result<Self> {
        Self::load(root, &|path| fs::read_to_string(path).ok())
    }

    /// The same with files from wherever `source` has them.
    pub fn load(root: &Path, source: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let text = source(root).with_context(|| format!("cannot read {}", root.display()))?;
        let mut found = Self { files: Vec::new(), modules: Vec::new(), macros: BTreeMap::new() };
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        found.read_file(root, &text, None, folder, source)?;
        Ok(found)
    }

    /// `folder`: where the files of its child modules are.
    fn read_file(
        &mut self,
        path: &Path,
        text: &str,
        parent: Option<usize>,
        folder: PathBuf,
        source: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let file = self.files.len();
        self.files.push(path.to_owned());
        let module = self.add(file, parent);
        let tokens = tokens(text);
        let mut pending = Vec::new();
        Reader { tokens: &tokens, at: 0, found: self, pending: &mut pending }.module(module, &folder);
        for Pending { module, name, folder, line } in pending {
            let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            let Some((child, text)) = candidates.iter().find_map(|child| Some((child, source(child)?)))
            else {
                bail!("{}:{line}: the module {name} has no file", path.display());
            };
            let id = self.read_file(child, &text, Some(module), folder.join(&name), source)?;
            self.modules[module].children.insert(name, id);
        }
        Ok(module)
    }

    fn add(&mut self, file: usize, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            uses: Vec::new(),
            mentions: Vec::new(),
        });
        self.modules.len() - 1
    }
}

/// `mod name;`, to be read when its parent is.
struct Pending {
    module: usize,
    name: String,
    folder: PathBuf,
    line: usize,
}

fn is_keyword(text: &str) -> bool {
    let keywords = "as async await box break const continue dyn else enum extern false fn for if impl in let loop match \
                    mod move mut pub ref return static struct trait true type unsafe use where while yield _";
    keywords.split(' ').any(|keyword| keyword == text)
}

/// Whether an item may begin so, behind its visibility. What does not is a field, a variant or an argument.
fn begins_item(text: &str) -> bool {
    let words =
        "async const enum extern fn impl let macro_rules mod static struct trait type union unsafe use";
    words.split(' ').any(|word| word == text)
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    found: &'a mut Crate,
    pending: &'a mut Vec<Pending>,
}

impl<'a> Reader<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(Token::is_word)
    }

    /// The rest of a module, up to its closing brace, which stays.
    fn module(&mut self, module: usize, folder: &Path) {
        let mut depth = 0_usize;
        let (mut public, mut exported) = (false, false);
        while let Some(token) = self.tokens.get(self.at) {
            let top = depth == 0;
            match token.text {
                "#" if self.is_attribute() => {
                    exported |= self.attribute_has(&["macro_export"]);
                    match self.attribute_is_of_tests() {
                        true => self.skip_item(),
                        // What it names counts.
                        false => self.at += 1,
                    }
                    continue;
                }
                "{" => depth += 1,
                "}" if top => return,
                "}" => depth -= 1,
                "pub" => {
                    public = true;
                    self.at += 1;
                    if self.text(self.at) == "("
                        && matches!(self.text(self.at + 1), "crate" | "super" | "self" | "in")
                    {
                        self.skip_group();
                    }
                    continue;
                }
                // Not that of `impl Trait + use<'a>`.
                "use" if self.text(self.at + 1) != "<" => {
                    self.at += 1;
                    let mut prefix = Vec::new();
                    self.use_tree(module, public, &mut prefix);
                }
                "mod" if self.is_word(self.at + 1) => self.child(module, folder),
                "macro_rules" if self.text(self.at + 1) == "!" => {
                    let name = self.text(self.at + 2).to_owned();
                    if std::mem::take(&mut exported) {
                        let file = self.found.modules[module].file;
                        self.found.macros.insert(name.clone(), file);
                    }
                    self.found.modules[module].items.insert(name);
                    self.at += 2;
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"
                    if self.defines_name() =>
                {
                    let name = if self.text(self.at + 1) == "mut" { self.at + 2 } else { self.at + 1 };
                    if top {
                        let name = self.text(name).to_owned();
                        self.found.modules[module].items.insert(name);
                    }
                    self.at = name;
                }
                text if token.is_word() && !is_keyword(text) => {
                    self.mention(module);
                    public = false;
                    continue;
                }
                _ => {}
            }
            public = false;
            self.at += 1;
        }
    }

    /// `union` is a keyword in front of a name only.
    fn defines_name(&self) -> bool {
        let next = self.text(self.at + 1);
        self.is_word(self.at + 1)
            && (next == "mut" || !is_keyword(next))
            && (self.text(self.at) != "union" || matches!(self.text(self.at + 2), "{" | "<"))
    }

    fn child(&mut self, module: usize, folder: &Path) {
        let name = self.text(self.at + 1).to_owned();
        let line = self.tokens[self.at].line;
        self.at += 2;
        let folder = folder.to_owned();
        if self.text(self.at) != "{" {
            self.pending.push(Pending { module, name, folder, line });
            return;
        }
        self.at += 1;
        let file = self.found.modules[module].file;
        let child = self.found.add(file, Some(module));
        let inner = folder.join(&name);
        self.found.modules[module].children.insert(name, child);
        self.module(child, &inner);
    }

    /// What stands between `use` and `;`, or a part of it: one leaf or a group.
    fn use_tree(&mut self, module: usize, public: bool, prefix: &mut Vec<String>) {
        let depth = prefix.len();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        // `::name` is another crate.
        if self.text(self.at) == "::" && depth == 0 {
            prefix.push(String::new());
            self.at += 1;
        }
        loop {
            match self.text(self.at) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(self.at), "}" | "") {
                        self.use_tree(module, public, prefix);
                        self.at += usize::from(self.text(self.at) == ",");
                    }
                    self.at += 1;
                    break;
                }
                "*" => {
                    self.at += 1;
                    let path = prefix.clone();
                    self.found.modules[module].uses.push(Use { path, name: None, public, line });
                    break;
                }
                text if self.is_word(self.at) => {
                    let mut name = text;
                    if text != "self" || prefix.is_empty() {
                        prefix.push(text.to_owned());
                    } else if let Some(last) = prefix.last() {
                        name = last;
                    }
                    let mut name = name.to_owned();
                    self.at += 1;
                    if self.text(self.at) == "::" {
                        self.at += 1;
                        continue;
                    }
                    if self.text(self.at) == "as" {
                        name = self.text(self.at + 1).to_owned();
                        self.at += 2;
                    }
                    let path = prefix.clone();
                    self.found.modules[module].uses.push(Use { path, name: Some(name), public, line });
                    break;
                }
                _ => {
                    self.at += 1;
                    break;
                }
            }
        }
        prefix.truncate(depth);
    }

    /// A path, or a single name that may be one.
    fn mention(&mut self, module: usize) {
        let start = self.at;
        let mut path = vec![self.text(start).to_owned()];
        while self.text(self.at + 1) == "::" && self.is_word(self.at + 2) {
            self.at += 2;
            path.push(self.text(self.at).to_owned());
        }
        self.at += 1;
        let before = |count: usize| start.checked_sub(count).map_or("", |before| self.text(before));
        // A field or a method, but not the end of a range, and the variable of a macro, but not `$crate`.
        let method = before(1) == "." && before(2) != ".";
        if before(1) == "::" || method || (before(1) == "$" && path[0] != "crate") {
            return;
        }
        // A lone name with a small letter is a variable, a field or a parameter, unless it is called.
        let lone = path.len() == 1 && !path[0].starts_with(char::is_uppercase);
        if lone && !matches!(self.text(self.at), "(" | "!") {
            return;
        }
        self.found.modules[module].mentions.push(Mention { path, line: self.tokens[start].line });
    }

    fn is_attribute(&self) -> bool {
        self.text(self.at + 1) == "[" || (self.text(self.at + 1) == "!" && self.text(self.at + 2) == "[")
    }

    /// Whether the words of the attribute at this place begin with these.
    fn attribute_has(&self, words: &[&str]) -> bool {
        let inside = self.tokens[self.at + 1..].iter().take_while(|token| token.text != "]");
        let found: Vec<_> =
            inside.filter(|token| token.is_word()).map(|token| token.text).take(words.len()).collect();
        found == words
    }

    fn attribute_is_of_tests(&self) -> bool {
        self.text(self.at + 1) == "["
            && (self.attribute_has(&["cfg", "test"]) || self.attribute_has(&["cfg", "all", "test"]))
    }

    /// From an opening bracket to behind the closing one.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// From an attribute to behind what it is about: an item, a statement, or a field, a variant or an argument.
    fn skip_item(&mut self) {
        while self.text(self.at) == "#" {
            self.at += 1;
            self.skip_group();
        }
        if self.text(self.at) == "pub" {
            self.at += 1;
            if self.text(self.at) == "(" {
                self.skip_group();
            }
        }
        let first = self.text(self.at);
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                ";" => {
                    self.at += 1;
                    return;
                }
                "," if !begins_item(first) => {
                    self.at += 1;
                    return;
                }
                ")" | "]" | "}" => return,
                "{" => {
                    self.skip_group();
                    if first != "use" {
                        return;
                    }
                }
                "(" | "[" => self.skip_group(),
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Crate {
        let source = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        };
        Crate::load(Path::new("lib.rs"), &source).unwrap()
    }

    fn uses(module: &Module) -> Vec<String> {
        let leaf =
            |leaf: &Use| format!("{} as {}", leaf.path.join("::"), leaf.name.as_deref().unwrap_or("*"));
        module.uses.iter().map(leaf).collect()
    }

    #[test]
    fn modules_are_files_folders_and_inline() {
        let found = load(&[
            ("lib.rs", "mod a; pub mod b; mod c { mod d; }"),
            ("a.rs", "mod inner;"),
            ("a/inner.rs", ""),
            ("b/mod.rs", "mod inner;"),
            ("b/inner.rs", ""),
            ("c/d.rs", ""),
        ]);
        let mut files: Vec<_> = found.files.iter().map(|path| path.display().to_string()).collect();
        files.sort();
        assert_eq!(files, ["a.rs", "a/inner.rs", "b/inner.rs", "b/mod.rs", "c/d.rs", "lib.rs"]);
    }

    #[test]
    fn a_use_is_its_leaves() {
        let found = load(&[("lib.rs", "use a::{self, b::{C as D, *}, e}; pub(crate) use ::f::G;")]);
        let root = &found.modules[0];
        assert_eq!(uses(root), ["a as a", "a::b::C as D", "a::b as *", "a::e as e", "::f::G as G"]);
        assert_eq!(root.uses.iter().filter(|leaf| leaf.public).count(), 1);
    }

    #[test]
    fn items_are_those_of_the_module_itself() {
        let text = "pub const fn a() { struct Inner; fn inner() {} } static mut B: u8 = 0; union C { d: u8 } \
                    impl C { fn method() {} } macro_rules! e { () => {} } type F = u8; const _: () = ();";
        let found = load(&[("lib.rs", text)]);
        let names: Vec<_> = found.modules[0].items.iter().map(String::as_str).collect();
        assert_eq!(names, ["B", "C", "F", "a", "e"]);
    }

    #[test]
    fn what_is_compiled_for_tests_alone_is_left_out() {
        let text = "#[cfg(test)] mod tests { use super::a; } #[cfg(test)] mod file; \
                    #[cfg(test)] use b::{c, d}; #[cfg(all(test, unix))] #[allow(x)] pub(crate) fn e<T, U>() { f::g() } \
                    struct H { #[cfg(test)] i: j::K, l: m::N } use o::P;";
        let found = load(&[("lib.rs", text)]);
        assert_eq!(found.modules.len(), 1);
        assert_eq!(uses(&found.modules[0]), ["o::P as P"]);
        let paths: Vec<_> = found.modules[0].mentions.iter().map(|mention| mention.path.join("::")).collect();
        assert_eq!(paths, ["m::N"]);
    }

    #[test]
    fn paths_in_code_are_mentioned_and_methods_are_not() {
        let text = "fn f(x: a::B) -> C { x.d::<E>(); crate::g::h(); let i = j; k(i); say!(super::L) }";
        let found = load(&[("lib.rs", text)]);
        let paths: Vec<_> = found.modules[0].mentions.iter().map(|mention| mention.path.join("::")).collect();
        assert_eq!(paths, ["a::B", "C", "E", "crate::g::h", "k", "say", "super::L"]);
    }
}
