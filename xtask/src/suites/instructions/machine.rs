//! What makes all machines count alike.
//!
//! Valgrind shows a program a processor of its own, which does not depend on the one that it runs on, but for whether that has
//! AVX2. glibc takes other copies of `memcpy` and the like for other processors, and sizes of caches into account: it is told
//! what to take. Addresses are Valgrind's, and the same each time.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::process::output;
use crate::suites::requirements::missing_commands;

/// What this machine lacks.
pub fn missing() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("the numbers are those of Linux on x86-64".to_owned());
    }
    missing_commands(&["valgrind"]).or_else(|| {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let has_avx2 = cpu.split_whitespace().any(|flag| flag == "avx2");
        (!has_avx2).then(|| "the numbers are those of a processor with AVX2, which this is not".to_owned())
    })
}

/// The whole environment of a program that is counted.
pub fn environment() -> [(&'static str, &'static str); 1] {
    // The copies for any x86-64 (manual of the GNU C Library, "Hardware Capability Tunables"): nothing depends on what is
    // found out of the processor then.
    [(
        "GLIBC_TUNABLES",
        "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-BMI2,-MOVBE,\
         -LZCNT,-POPCNT,-RTM:glibc.cpu.x86_non_temporal_threshold=0x1000000:glibc.cpu.x86_rep_movsb_threshold=0x1000000:\
         glibc.cpu.x86_rep_stosb_threshold=0x1000000",
    )]
}

/// What has a say in the numbers: the compiler, the C library, and who counts.
pub fn tools() -> Result<String> {
    let rustc =
        output(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version"))?;
    // Without its commit and day.
    let rustc = rustc.split(" (").next().unwrap_or_default().trim().to_owned();
    let libc = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let valgrind = output(Command::new("valgrind").arg("--version"))?;
    Ok([rustc.as_str(), libc.trim(), valgrind.trim()].join(", "))
}
