//! Contrast of the colours of the style sheet in light and dark mode, and distance between the colours of series for each
//! type of colour vision deficiency.

// The lint exempts test functions, but not shared helpers.
#![allow(clippy::expect_used)]

const STYLE: &str = include_str!("../src/style.css");
const SERIES: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];

/// Simulation matrices for linear RGB at full severity: Machado, Oliveira and Fernandes, "A
/// Physiologically-based Model for Simulation of Color Vision Deficiency", 2009.
const VISION: [(&str, [[f64; 3]; 3]); 4] = [
    ("typical", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protanopia",
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ),
    (
        "deuteranopia",
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ),
    (
        "tritanopia",
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ),
];

/// Linear RGB of variable `name` in the `scheme`-th colour scheme: 0 is light, 1 is dark.
fn colour(name: &str, scheme: usize) -> [f64; 3] {
    let key = format!("--{name}: #");
    let start = STYLE.match_indices(&key).nth(scheme).expect("a colour in both schemes").0 + key.len();
    [0, 2, 4].map(|offset| {
        let digits = &STYLE[start + offset..start + offset + 2];
        let channel = f64::from(u8::from_str_radix(digits, 16).expect("hexadecimal")) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    })
}

fn luminance([red, green, blue]: [f64; 3]) -> f64 {
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// CIE L*a*b* under D65.
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let rows = [
        ([0.4124, 0.3576, 0.1805], 0.95047),
        ([0.2126, 0.7152, 0.0722], 1.0),
        ([0.0193, 0.1192, 0.9505], 1.08883),
    ];
    let [x, y, z] = rows.map(|(row, white)| {
        let value = row.iter().zip(rgb).map(|(a, b)| a * b).sum::<f64>() / white;
        if value > 0.008856 { value.cbrt() } else { 7.787 * value + 16.0 / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[test]
fn text_and_lines_have_wcag_aa_contrast_in_both_modes() {
    for scheme in [0, 1] {
        let series = SERIES.map(|name| (name, "page"));
        let texts = ["ink", "soft"].into_iter().flat_map(|name| [(name, "page"), (name, "wash")]);
        for (name, background) in series.into_iter().chain(texts) {
            let (ink, page) = (luminance(colour(name, scheme)), luminance(colour(background, scheme)));
            let ratio = (page.max(ink) + 0.05) / (page.min(ink) + 0.05);
            assert!(ratio >= 4.5, "{name} on {background}, scheme {scheme}: {ratio:.2}");
        }
    }
}

#[test]
fn series_differ_for_every_type_of_colour_vision() {
    for scheme in [0, 1] {
        for (vision, matrix) in VISION {
            let seen = SERIES.map(|name| {
                let rgb = colour(name, scheme);
                lab(matrix.map(|row| row.iter().zip(rgb).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0)))
            });
            for (index, first) in seen.iter().enumerate() {
                for (other, second) in seen.iter().enumerate().skip(index + 1) {
                    let distance = first.iter().zip(second).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    let (first, second) = (SERIES[index], SERIES[other]);
                    // 2.3 is the just noticeable difference; thin lines need a multiple.
                    assert!(
                        distance > 15.0,
                        "{vision}, scheme {scheme}: {first} and {second} by {distance:.1}"
                    );
                }
            }
        }
    }
}
