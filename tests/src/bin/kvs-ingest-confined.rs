//! `kvs-ingest-confined PROFILE PROGRAM [ARGUMENT…]`: becomes the program, under a seccomp profile as container runtimes read it
//! (OCI runtime specification, `linux.seccomp`). A call that the profile does not name ends the process with SIGSYS, where a
//! runtime would only refuse it: so that a test finds it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use seccompiler::{BpfProgram, TargetArch, apply_filter, compile_from_json};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Calls of x86-64 that other architectures never had.
const X86_64: [&str; 22] = [
    "access",
    "arch_prctl",
    "chmod",
    "dup2",
    "epoll_wait",
    "lstat",
    "mkdir",
    "open",
    "pipe",
    "poll",
    "readlink",
    "rename",
    "rmdir",
    "select",
    "stat",
    "unlink",
    "fork",
    "vfork",
    "epoll_create",
    "eventfd",
    "getdents",
    "time",
];

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = "expected: kvs-ingest-confined PROFILE PROGRAM [ARGUMENT…]";
    let (profile, program) = (arguments.next().context(usage)?, arguments.next().context(usage)?);
    for filter in filters(Path::new(&profile))? {
        apply_filter(&filter)?;
    }
    Err(Command::new(program).args(arguments).exec()).context("the program does not start")
}

/// Of several filters the strictest answer counts: one for the calls that are refused, one for those that are allowed.
fn filters(path: &Path) -> Result<[BpfProgram; 2]> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    let profile: Profile = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    ensure!(profile.default_action == "SCMP_ACT_ERRNO", "what is not named must be refused");
    let (mut refused, mut known) = (Vec::new(), Vec::new());
    let mut errno = 1;
    for rule in &profile.syscalls {
        let rules = rule.entries()?;
        match rule.action.as_str() {
            "SCMP_ACT_ALLOW" => {}
            "SCMP_ACT_ERRNO" => {
                errno = rule.errno_ret.context("errnoRet")?;
                refused.extend(rules.clone());
            }
            other => bail!("action {other}"),
        }
        known.extend(rules);
    }
    Ok([
        compile(
            json!({ "mismatch_action": "allow", "match_action": { "errno": errno }, "filter": refused }),
        )?,
        compile(json!({ "mismatch_action": "kill_process", "match_action": "allow", "filter": known }))?,
    ])
}

impl Rule {
    /// In the words of the compiler.
    fn entries(&self) -> Result<Vec<Value>> {
        let arguments: Vec<_> = self.args.iter().map(Argument::condition).collect::<Result<_>>()?;
        let here = |name: &&String| cfg!(target_arch = "x86_64") || !X86_64.contains(&name.as_str());
        let entry = |name: &String| match arguments.is_empty() {
            true => json!({ "syscall": name }),
            false => json!({ "syscall": name, "args": arguments }),
        };
        Ok(self.names.iter().filter(here).map(entry).collect())
    }
}

impl Argument {
    fn condition(&self) -> Result<Value> {
        let (op, value) = match self.op.as_str() {
            "SCMP_CMP_EQ" => (json!("eq"), self.value),
            "SCMP_CMP_MASKED_EQ" => (json!({ "masked_eq": self.value }), self.value_two),
            other => bail!("comparison {other}"),
        };
        Ok(json!({ "index": self.index, "type": "dword", "op": op, "val": value }))
    }
}

fn compile(filter: Value) -> Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let text = json!({ "filter": filter }).to_string();
    let mut programs: HashMap<String, BpfProgram> = compile_from_json(text.as_bytes(), architecture)?;
    programs.remove("filter").context("no filter")
}
