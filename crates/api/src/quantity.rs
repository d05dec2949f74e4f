//! Kubernetes quantities, `500m` and `256Mi`, as far as two of them have to be compared.

use std::str::FromStr;

/// In billionths, rounded up as Kubernetes does; what is beyond the largest number is that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

/// The text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoQuantity;

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    pub(crate) fn of_mebibytes(mebibytes: u32) -> Self {
        Self(i128::from(mebibytes) * (1 << 20) * BILLION)
    }
}

#[cfg(feature = "crd")]
impl Quantity {
    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub(crate) fn is_whole(self) -> bool {
        self.0 % BILLION == 0
    }
}

impl FromStr for Quantity {
    type Err = NoQuantity;

    /// `SIGN DIGITS [. DIGITS] [SUFFIX]`, as in k8s.io/apimachinery/pkg/api/resource.
    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        let (negative, text) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(NoQuantity);
        }
        let (ten, two) = exponents(suffix).ok_or(NoQuantity)?;
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let scale = i64::from(ten) + 9 - i64::try_from(fraction.len()).map_err(|_| NoQuantity)?;
        let amount = amount(digits, scale, two).unwrap_or(i128::MAX);
        Ok(Self(if negative { -amount } else { amount }))
    }
}

/// Powers of ten and of two.
fn exponents(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse().ok()?, 0),
    })
}

/// `digits · 10^scale · 2^two`, rounded up; `None` beyond what fits.
fn amount(digits: &str, scale: i64, two: u32) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    let number = digits.parse::<i128>().ok()?.checked_mul(1 << two)?;
    let power = u32::try_from(scale.unsigned_abs()).ok().and_then(|scale| 10i128.checked_pow(scale));
    match power {
        Some(power) if scale >= 0 => number.checked_mul(power),
        None if scale >= 0 => None,
        Some(power) => Some(number / power + i128::from(number % power != 0)),
        // Less than a billionth.
        None => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn the_same_amount_is_the_same_however_it_is_written() {
        for (one, other) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E3", "1k"),
            ("1E", "1e18"),
            (".5", "500m"),
            ("5.", "5"),
            ("+1", "1"),
            ("0.1n", "1n"),
            ("1e-30", "1n"),
            ("-0", "0"),
        ] {
            assert_eq!(quantity(one), quantity(other), "{one} {other}");
        }
        assert!(quantity("257Mi") > quantity("256Mi") && quantity("1G") < quantity("1Gi"));
        assert_eq!(quantity("3Mi"), Quantity::of_mebibytes(3));
        assert_eq!(quantity("1e400"), quantity(&"9".repeat(60)), "as large as can be");
    }

    #[cfg(feature = "crd")]
    #[test]
    fn a_sign_and_a_fraction_are_seen() {
        assert!(quantity("-1").is_negative() && !quantity("0").is_negative());
        assert!(quantity("2").is_whole() && !quantity("1500m").is_whole());
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "-", ".", "1 Gi", "1GB", "1gi", "1.2.3", "foo", "0x10", "1e", "1e1.5", "1Gi ", "1µ"]
        {
            assert_eq!(text.parse::<Quantity>(), Err(NoQuantity), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_are_ordered_as_numbers(a in 0u64.., b in 0u64..) {
            prop_assert_eq!(a.cmp(&b), quantity(&a.to_string()).cmp(&quantity(&b.to_string())));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,50}[a-zA-Z]{0,2}[-+]?[0-9]{0,12}|\\PC{0,20}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
