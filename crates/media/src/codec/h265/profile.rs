//! The names of profiles (ITU-T H.265 annex A).

/// `profile-12` and the like where it has none here.
pub(crate) fn profile_name(profile_idc: u8) -> String {
    match profile_idc {
        1 => "main".to_owned(),
        2 => "main-10".to_owned(),
        3 => "main-still-picture".to_owned(),
        4 => "format-range-extensions".to_owned(),
        other => format!("profile-{other}"),
    }
}
