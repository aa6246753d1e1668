//! A confusion matrix that can be looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sail_vl::report::{Matrix, Section};

/// So many classes are shown whatever they are.
const FEW: usize = 20;
/// Of more, so many.
const WORST: usize = 15;

/// How often classes were taken for which, in whatever unit: true classes down, found ones across. Of many classes those
/// with most mistakes are shown, made and suffered. A cell that is not given is 0, one that is not finite a dash.
pub(crate) fn section(names: &[&str], cells: &[(usize, usize, f64)], unit: &str) -> Section {
    let section = Section::new("Confusion");
    let all: BTreeSet<usize> = cells.iter().flat_map(|&(truth, found, _)| [truth, found]).collect();
    let count = all.len();
    let shown: BTreeSet<usize> = if count <= FEW { all } else { worst(cells) };
    if shown.is_empty() {
        return section.text(format!("None of the {count} classes that occur was taken for another."));
    }
    let values: HashMap<_, _> = cells.iter().map(|&(truth, found, value)| ((truth, found), value)).collect();
    let caption = match shown.len() {
        shown if shown < count => format!("The {shown} of {count} classes with most mistakes, {unit}."),
        _ => format!("All {count} classes that occur, {unit}."),
    };
    section.matrix(shown.iter().fold(
        Matrix::new(shown.iter().map(|&class| names[class])).corner("true, found").caption(caption),
        |matrix, &truth| {
            let value = |&found: &usize| values.get(&(truth, found)).copied().unwrap_or(0.0);
            matrix.row(names[truth], shown.iter().map(value))
        },
    ))
}

fn worst(cells: &[(usize, usize, f64)]) -> BTreeSet<usize> {
    let mut mistakes = BTreeMap::<usize, f64>::new();
    for &(truth, found, value) in cells.iter().filter(|(truth, found, value)| truth != found && *value > 0.0)
    {
        *mistakes.entry(truth).or_default() += value;
        *mistakes.entry(found).or_default() += value;
    }
    let mut mistakes: Vec<_> = mistakes.into_iter().collect();
    mistakes.sort_by(|a, b| b.1.total_cmp(&a.1));
    mistakes.into_iter().take(WORST).map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_classes_the_worst_are_shown() {
        let names: Vec<String> = (0..30).map(|class| format!("class {class}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // All are right once, and class 29 is taken for class 28 twice.
        let mut cells: Vec<_> = (0..30).map(|class| (class, class, 1.0)).collect();
        cells.push((29, 28, 2.0));
        assert_eq!(worst(&cells), BTreeSet::from([28, 29]));
        let page = |cells: &[_]| {
            let section = section(&names, cells, "in images");
            sail_vl::report::Report::new("x").section(section).to_html().unwrap()
        };
        let found = page(&cells);
        assert!(found.contains("The 2 of 30 classes with most mistakes, in images."), "{found}");
        assert!(found.contains("class 29") && !found.contains("class 27"));
        assert!(page(&cells[..20]).contains("All 20 classes that occur, in images."));
        assert!(page(&cells[..30]).contains("None of the 30 classes that occur was taken for another."));
    }
}
