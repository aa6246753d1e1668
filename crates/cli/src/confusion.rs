//! A confusion matrix of readable size.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sail_vl::report::{Matrix, Section};

/// Up to this number, all classes are shown.
const FEW: usize = 20;
/// Of more classes, this number is shown.
const WORST: usize = 15;

/// Builds a section with a confusion matrix in the given unit: true classes in rows, predicted classes in columns. Of many
/// classes those that are confused most often are shown. A missing cell is 0, a cell that is not finite a dash.
pub(crate) fn section(names: &[&str], cells: &[(usize, usize, f64)], unit: &str) -> Section {
    let section = Section::new("Confusion");
    let all: BTreeSet<usize> = cells.iter().flat_map(|&(truth, found, _)| [truth, found]).collect();
    let count = all.len();
    let shown: BTreeSet<usize> = if count <= FEW { all } else { worst(cells) };
    if shown.is_empty() {
        return section.text(format!("None of the {count} classes was confused with another."));
    }
    let values: HashMap<_, _> = cells.iter().map(|&(truth, found, value)| ((truth, found), value)).collect();
    let caption = match shown.len() {
        shown if shown < count => {
            format!("The {shown} of {count} classes that are confused most often, {unit}.")
        }
        _ => format!("All {count} classes, {unit}."),
    };
    section.matrix(shown.iter().fold(
        Matrix::new(shown.iter().map(|&class| names[class])).corner("true, predicted").caption(caption),
        |matrix, &truth| {
            let value = |&found: &usize| values.get(&(truth, found)).copied().unwrap_or(0.0);
            matrix.row(names[truth], shown.iter().map(value))
        },
    ))
}

fn worst(cells: &[(usize, usize, f64)]) -> BTreeSet<usize> {
    let mut errors = BTreeMap::<usize, f64>::new();
    for &(truth, found, value) in cells.iter().filter(|(truth, found, value)| truth != found && *value > 0.0)
    {
        *errors.entry(truth).or_default() += value;
        *errors.entry(found).or_default() += value;
    }
    let mut errors: Vec<_> = errors.into_iter().collect();
    errors.sort_by(|a, b| b.1.total_cmp(&a.1));
    errors.into_iter().take(WORST).map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_most_confused_of_many_classes() {
        let names: Vec<String> = (0..30).map(|class| format!("class {class}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Every class is correct once, and class 29 is confused with class 28 twice.
        let mut cells: Vec<_> = (0..30).map(|class| (class, class, 1.0)).collect();
        cells.push((29, 28, 2.0));
        assert_eq!(worst(&cells), BTreeSet::from([28, 29]));
        let page = |cells: &[_]| {
            let section = section(&names, cells, "in images");
            sail_vl::report::Report::new("x").section(section).to_html().unwrap()
        };
        let found = page(&cells);
        assert!(found.contains("The 2 of 30 classes that are confused most often, in images."), "{found}");
        assert!(found.contains("class 29") && !found.contains("class 27"));
        assert!(page(&cells[..20]).contains("All 20 classes, in images."));
        assert!(page(&cells[..30]).contains("None of the 30 classes was confused with another."));
    }
}
