//! Kubernetes' notation of amounts (`resource.Quantity`).

/// The amount that a quantity stands for: `64Mi` are 67,108,864. `None`: it is none.
pub(crate) fn read(text: &str) -> Option<f64> {
    let digits =
        text.find(|sign: char| !sign.is_ascii_digit() && !"+-.".contains(sign)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 2_f64.powi(10),
        "Mi" => 2_f64.powi(20),
        "Gi" => 2_f64.powi(30),
        "Ti" => 2_f64.powi(40),
        "Pi" => 2_f64.powi(50),
        "Ei" => 2_f64.powi(60),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, amount) in [
            ("256Mi", Some(268_435_456.0)),
            ("1Gi", Some(1_073_741_824.0)),
            ("1G", Some(1e9)),
            ("0.5Ki", Some(512.0)),
            ("134217728", Some(134_217_728.0)),
            ("129e6", Some(129e6)),
            ("1E2", Some(100.0)),
            ("1E", Some(1e18)),
            ("128974848000m", Some(128_974_848.0)),
            ("+5k", Some(5e3)),
            ("", None),
            ("Mi", None),
            ("1GB", None),
            ("1 Gi", None),
            ("lots", None),
        ] {
            assert_eq!(read(text), amount, "{text}");
        }
    }
}
