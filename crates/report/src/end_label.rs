//! Names of series next to the ends of their lines.

/// Size of the font and height of a line in pixels.
pub(crate) const FONT: f64 = 12.5;
const LINE: f64 = 16.0;

/// The name of a series next to the end of its line.
pub(crate) struct EndLabel {
    pub(crate) series: usize,
    /// Vertical positions of the end of the line, and of the label after separation from other labels.
    pub(crate) end: f64,
    pub(crate) y: f64,
}

/// Separates overlapping labels with small shifts; returns `false` if there is not enough space.
pub(crate) fn spread(labels: &mut [EndLabel], top: f64, bottom: f64) -> bool {
    if labels.len() as f64 * LINE > bottom - top {
        return false;
    }
    labels.sort_by(|a, b| a.end.total_cmp(&b.end));
    let mut free = top;
    for label in labels.iter_mut() {
        label.y = label.end.max(free);
        free = label.y + LINE;
    }
    let mut free = bottom;
    for label in labels.iter_mut().rev() {
        label.y = label.y.min(free);
        free = label.y - LINE;
    }
    true
}

/// A conservative estimate of the width of text in pixels, since the font is unknown.
pub(crate) fn width_of(text: &str) -> f64 {
    let ems = |character: char| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ' ' | '\'' | ':' | ';' | '|' | '!' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' => 0.72,
        '\u{0}'..='\u{10ff}' | '\u{2000}'..='\u{22ff}' => 0.58,
        _ => 1.3,
    };
    FONT * text.chars().map(ems).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_labels_keep_their_distance_and_order() {
        let label = |series, end| EndLabel { series, end, y: end };
        let mut labels =
            vec![label(0, 100.0), label(1, 98.0), label(2, 300.0), label(3, 299.0), label(4, 30.0)];
        assert!(spread(&mut labels, 30.0, 300.0));
        assert_eq!(labels.iter().map(|label| label.series).collect::<Vec<_>>(), [4, 1, 0, 3, 2]);
        assert!(labels.windows(2).all(|pair| pair[1].y - pair[0].y >= LINE - 1e-9));
        assert!(labels.iter().all(|label| (30.0..=300.0).contains(&label.y)));
        let mut crowd: Vec<EndLabel> = (0..100).map(|index| label(index, 50.0)).collect();
        assert!(!spread(&mut crowd, 30.0, 300.0));
    }
}
