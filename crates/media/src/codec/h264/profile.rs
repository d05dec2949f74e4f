//! The names of profiles (ITU-T H.264 annex A).

/// `profile-66` and the like where it has none here.
pub(crate) fn profile_name(profile_idc: u8, constraint_flags: u8) -> String {
    match (profile_idc, constraint_flags & 0x40 != 0) {
        (66, true) => "constrained-baseline".to_owned(),
        (66, false) => "baseline".to_owned(),
        (77, _) => "main".to_owned(),
        (100, _) => "high".to_owned(),
        (other, _) => format!("profile-{other}"),
    }
}
