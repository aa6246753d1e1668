//! Formatting of numbers.

/// Formats a number with up to six significant digits: `0.25`, `12,500`, `3.2×10⁻⁵`, `NaN`.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string().replace('-', "\u{2212}");
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = exponent_of(value);
    if !(-4..6).contains(&exponent) {
        return power_of_ten(value, 5);
    }
    let digits = plain(value, (5 - exponent) as usize);
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.').to_owned() } else { digits }
}

/// Returns the decimal exponent of a value that is rounded to six significant digits.
pub(crate) fn exponent_of(value: f64) -> i32 {
    let scaled = format!("{value:.5e}");
    scaled.split('e').nth(1).and_then(|exponent| exponent.parse().ok()).unwrap_or(0)
}

/// Formats a number with fixed decimals, a minus sign (U+2212), and thousands separators from 10,000 on.
pub(crate) fn plain(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    if whole.len() < 5 {
        return format!("{sign}{whole}{fraction}");
    }
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

/// Formats a number as `2.5×10⁻⁵` with at most `digits` decimals; a mantissa of one is omitted.
pub(crate) fn power_of_ten(value: f64, digits: usize) -> String {
    let scaled = format!("{:.digits$e}", value.abs());
    let (mantissa, exponent) = scaled.split_once('e').unwrap_or((&scaled, "0"));
    let mantissa = if digits > 0 { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    let raised: String = exponent.chars().map(superscript).collect();
    if mantissa == "1" { format!("{sign}10{raised}") } else { format!("{sign}{mantissa}×10{raised}") }
}

fn superscript(character: char) -> char {
    match character {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' | '4'..='9' => char::from_u32(u32::from(character) - 0x30 + 0x2070).unwrap_or(character),
        _ => '⁻',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.25, "0.25"),
            (f64::from(0.3_f32), "0.3"),
            (12_500.0, "12,500"),
            (-1e7, "−10⁷"),
            (3.2e-5, "3.2×10⁻⁵"),
            (999_999.9, "10⁶"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
    }
}
