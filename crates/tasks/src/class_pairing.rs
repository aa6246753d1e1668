//! Pairing class folders with class names.

use std::collections::{HashMap, HashSet};
use std::fmt;

/// How class folders were paired with class names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassOrder {
    /// A folder has the name of its class.
    Name,
    /// The folders are numbered, and follow each other in the order of the numbers: `2` before `10`.
    Number,
    /// The folders follow each other in the order of the bytes of their names.
    Text,
}

impl fmt::Display for ClassOrder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Name => "by name",
            Self::Number => "in the order of the numbers of the folders",
            Self::Text => "in the order of the folder names",
        })
    }
}

/// Folders and names that cannot be paired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// There is not one name for each folder.
    #[error(
        "found {names} class names for {folders} class folders, expected one for each in the order of the folders, \
         or folders named by their classes"
    )]
    Count {
        /// Number of names.
        names: usize,
        /// Number of folders.
        folders: usize,
    },
    /// A folder would be paired with another class than the one of its name.
    #[error(
        "the order of the folders pairs the folder `{folder}` with the class `{class}`, although another class has \
         its name: name every folder by its class"
    )]
    Order {
        /// The folder.
        folder: String,
        /// The class of its position.
        class: String,
    },
}

/// The classes of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPairing {
    /// Class index of every folder.
    pub class_of_folder: Vec<usize>,
    /// Names of the classes, without the folder names that some lists begin their lines with.
    pub names: Vec<String>,
    /// How they were paired.
    pub order: ClassOrder,
}

/// Pairs class folders with a list of class names.
///
/// The first of these rules that applies to all folders decides:
///
/// 1. Every folder has the name of a class, up to case, `_` and `-`.
/// 2. Every folder is the identifier that a line begins with: `n01440764 tench`.
/// 3. The folders are numbered (`7`, `class_7`, `7.dog`): they take the names in the order of the numbers. If there are
///    more names than folders, a number is the index of its name, from 0 or from 1 if either end is among the folders.
/// 4. The folders take the names in the order of the bytes of their names, as WordNet ids do.
///
/// # Errors
/// [`PairingError`] if the numbers of folders and names differ, or if the order contradicts the names.
///
/// # Examples
/// ```
/// use sail_tasks::{ClassOrder, pair_classes};
/// let pairing = pair_classes(&["0", "1", "10", "2"], &["tench", "shark", "ray", "hen"])?;
/// assert_eq!((pairing.class_of_folder, pairing.order), (vec![0, 1, 3, 2], ClassOrder::Number));
/// let pairing = pair_classes(&["hen", "great_shark"], &["great shark", "ray", "hen"])?;
/// assert_eq!((pairing.class_of_folder, pairing.order), (vec![2, 0], ClassOrder::Name));
/// # Ok::<(), sail_tasks::PairingError>(())
/// ```
pub fn pair_classes<F: AsRef<str>, N: AsRef<str>>(
    folders: &[F],
    names: &[N],
) -> Result<ClassPairing, PairingError> {
    let folders: Vec<&str> = folders.iter().map(AsRef::as_ref).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let normalized: Vec<String> = names.iter().map(|name| normalize(name)).collect();
    let wanted: Vec<String> = folders.iter().map(|folder| normalize(folder)).collect();
    let (exact, similar) = (find(&folders, &names), find(&wanted, &normalized));
    let named = exact.into_iter().zip(similar).map(|(exact, similar)| exact.or(similar));
    if let Some(class_of_folder) = named.collect() {
        return Ok(pairing(class_of_folder, &names, ClassOrder::Name));
    }
    if let Some((ids, names)) = labelled_lines(&names)
        && let Some(class_of_folder) = find(&folders, &ids).into_iter().collect()
    {
        return Ok(pairing(class_of_folder, &names, ClassOrder::Name));
    }
    let (class_of_folder, order) = in_order(&folders, names.len())?;
    let known: HashSet<&String> = normalized.iter().collect();
    for ((&folder, wanted), &class) in folders.iter().zip(&wanted).zip(&class_of_folder) {
        if known.contains(wanted) && normalized[class] != *wanted {
            return Err(PairingError::Order { folder: folder.to_owned(), class: names[class].to_owned() });
        }
    }
    Ok(pairing(class_of_folder, &names, order))
}

fn pairing(class_of_folder: Vec<usize>, names: &[&str], order: ClassOrder) -> ClassPairing {
    ClassPairing { class_of_folder, names: names.iter().map(|&name| name.to_owned()).collect(), order }
}

/// Returns the index of every folder among the names.
fn find<T: AsRef<str>>(folders: &[T], names: &[T]) -> Vec<Option<usize>> {
    let mut indices = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        indices.entry(name.as_ref()).or_insert(index);
    }
    folders.iter().map(|folder| indices.get(folder.as_ref()).copied()).collect()
}

/// Splits lines such as `n01440764 tench` or `0: tench` into identifiers, which contain a digit, and names.
fn labelled_lines<'a>(lines: &[&'a str]) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    let split = lines.iter().map(|line| {
        let (id, name) = line.split_once(char::is_whitespace)?;
        let is_id = id.contains(|c: char| c.is_ascii_digit());
        is_id.then(|| (id.trim_end_matches([':', ',']), name.trim()))
    });
    split.collect()
}

/// Pairs folders with as many names in order, or numbered folders with the names of their numbers.
fn in_order(folders: &[&str], names: usize) -> Result<(Vec<usize>, ClassOrder), PairingError> {
    let count = PairingError::Count { names, folders: folders.len() };
    let by_text = ranks(folders);
    let Some(numbers) = numbers(folders) else {
        return if folders.len() == names { Ok((by_text, ClassOrder::Text)) } else { Err(count) };
    };
    if folders.len() == names {
        let by_number = ranks(&numbers);
        let order = if by_number == by_text { ClassOrder::Text } else { ClassOrder::Number };
        return Ok((by_number, order));
    }
    let [first, last] = [numbers.iter().min(), numbers.iter().max()].map(|end| end.copied().unwrap_or(0));
    let end = names as u64;
    let start = match (first, last) {
        (0, last) if last < end => 0,
        (1.., last) if last == end => 1,
        _ => return Err(count),
    };
    Ok((numbers.iter().map(|number| (number - start) as usize).collect(), ClassOrder::Number))
}

/// Returns the place of every value in sorted order.
fn ranks<T: Ord>(values: &[T]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| &values[index]);
    let mut ranks = vec![0; values.len()];
    order.into_iter().zip(0..).for_each(|(index, rank)| ranks[index] = rank);
    ranks
}

/// Returns whether folders are numbered.
pub(crate) fn are_numbered<F: AsRef<str>>(folders: &[F]) -> bool {
    numbers(folders).is_some()
}

/// Returns the numbers of folders that are numbered: the same text, then different numbers, then anything.
fn numbers<F: AsRef<str>>(folders: &[F]) -> Option<Vec<u64>> {
    let is_digit = |c: char| c.is_ascii_digit();
    let first = folders.first()?.as_ref();
    let prefix = &first[..first.find(is_digit)?];
    let number = |folder: &F| {
        let rest = folder.as_ref().strip_prefix(prefix)?;
        let digits = rest.split_once(|c| !is_digit(c)).map_or(rest, |(digits, _)| digits);
        digits.parse().ok()
    };
    let numbers: Vec<u64> = folders.iter().map(number).collect::<Option<_>>()?;
    let distinct: HashSet<u64> = numbers.iter().copied().collect();
    (distinct.len() == numbers.len()).then_some(numbers)
}

fn normalize(name: &str) -> String {
    let name = name.to_lowercase().replace(['_', '-'], " ");
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Classes without those that have the name of an earlier one.
pub(crate) struct MergedClasses<T> {
    pub(crate) classes: Vec<T>,
    /// The class of every index before.
    pub(crate) class: Vec<usize>,
    /// The names that occurred again, once for each time.
    pub(crate) repeated: Vec<String>,
}

/// Merges classes of one name, up to case and space: they have the same prompts, so no model can tell them apart.
pub(crate) fn merge_same_names<T>(classes: Vec<T>, name: impl Fn(&T) -> String) -> MergedClasses<T> {
    let mut merged = MergedClasses { classes: Vec::new(), class: Vec::new(), repeated: Vec::new() };
    let mut indices = HashMap::new();
    for class in classes {
        let name = name(&class);
        let key = name.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let next = merged.classes.len();
        let index = *indices.entry(key).or_insert(next);
        merged.class.push(index);
        match index == next {
            true => merged.classes.push(class),
            false => merged.repeated.push(name),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(folders: &[&str], names: &[&str]) -> (Vec<usize>, ClassOrder) {
        let found = pair_classes(folders, names).unwrap();
        (found.class_of_folder, found.order)
    }

    #[test]
    fn numbered_folders_are_in_the_order_of_their_numbers() {
        let names: Vec<String> = (0..12).map(|class| format!("thing {class}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for [before, after] in [["", ""], ["class_", ""], ["c", ".a thing"], ["", " - x2"]] {
            for first in [0, 1, 40] {
                let mut folders: Vec<(String, usize)> =
                    (0..12).map(|class| (format!("{before}{}{after}", class + first), class)).collect();
                folders.sort();
                let (folders, expected): (Vec<String>, Vec<usize>) = folders.into_iter().unzip();
                let found = pair_classes(&folders, &names).unwrap();
                assert_eq!(found.class_of_folder, expected, "{folders:?}");
                // From 40 on, all numbers have two digits.
                let order = if first == 40 { ClassOrder::Text } else { ClassOrder::Number };
                assert_eq!(found.order, order, "{folders:?}");
            }
        }
    }

    #[test]
    fn a_part_of_the_numbers_is_placed_by_number() {
        let names = ["a", "b", "c", "d"];
        assert_eq!(classes(&["0", "3"], &names), (vec![0, 3], ClassOrder::Number));
        assert_eq!(classes(&["02", "04"], &names), (vec![1, 3], ClassOrder::Number));
        // Are the numbers from 0 or from 1?
        let count = |folders| Err(PairingError::Count { names: 4, folders });
        assert_eq!(pair_classes(&["1", "3"], &names), count(2));
        assert_eq!(pair_classes(&["0", "4"], &names), count(2));
        assert_eq!(pair_classes(&["1", "01", "2"], &names), count(3));
        assert_eq!(pair_classes(&["x", "y"], &names), count(2));
        assert_eq!(pair_classes(&["99999999999999999999", "1"], &names), count(2));
    }

    #[test]
    fn wordnet_ids_are_in_the_order_of_their_bytes() {
        let ids = ["n02", "n10", "n01"];
        assert_eq!(classes(&ids, &["a", "b", "c"]), (vec![1, 2, 0], ClassOrder::Text));
    }

    #[test]
    fn folders_with_the_name_of_a_class_are_that_class() {
        let names = ["great white shark", "hen", "T-shirt", "hen"];
        let folders = ["hen", "t_shirt", "Great_White_Shark"];
        assert_eq!(classes(&folders, &names), (vec![1, 2, 0], ClassOrder::Name));
        assert_eq!(classes(&["t shirt", "t-shirt"], &["t-shirt", "t shirt"]), (vec![1, 0], ClassOrder::Name));
        // The first words of names are no identifiers.
        let sharks = ["great shark", "tiger shark"];
        assert_eq!(pair_classes(&["great", "tiger"], &sharks).unwrap().names, sharks);
        // Digits that are named by digits.
        assert_eq!(classes(&["1", "0"], &["1", "0"]), (vec![0, 1], ClassOrder::Name));
        let error = pair_classes(&["cat", "dgo", "hen"], &["hen", "cat", "dog"]).unwrap_err();
        assert_eq!(error, PairingError::Order { folder: "cat".into(), class: "hen".into() });
    }

    #[test]
    fn lines_may_begin_with_the_folder() {
        let lines = ["n02 a tench", "n01\tgoldfish", "n03  hen"];
        let found = pair_classes(&["n01", "n03"], &lines).unwrap();
        assert_eq!((found.class_of_folder, found.order), (vec![1, 2], ClassOrder::Name));
        assert_eq!(found.names, ["a tench", "goldfish", "hen"]);
        let found = pair_classes(&["0", "1"], &["1: goldfish", "0: a tench"]).unwrap();
        assert_eq!(
            (found.class_of_folder, found.names),
            (vec![1, 0], vec!["goldfish".into(), "a tench".into()])
        );
    }

    #[test]
    fn classes_of_one_name_are_merged() {
        let names = ["crane", "kite", "Crane", "hen", "kite "].map(str::to_owned).to_vec();
        let merged = merge_same_names(names, String::clone);
        assert_eq!(merged.classes, ["crane", "kite", "hen"]);
        assert_eq!(merged.class, [0, 1, 0, 2, 1]);
        assert_eq!(merged.repeated, ["Crane", "kite "]);
    }
}
