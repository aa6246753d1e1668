//! Spellings under which keys that differ would match.

use std::fmt;

use sail_core::{FeatureError, FeatureSource};
use sail_support::KeyTable;

use crate::keys::for_each_key;
use crate::pairing::Matched;

/// A change to the keys of both sides under which more of them match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRewrite {
    /// The change, such as `without file extensions`.
    pub change: String,
    /// Images that would have a caption.
    pub images: Matched,
    /// Captions that would have an image.
    pub captions: Matched,
    /// Images that would have the key of another image.
    pub shared: usize,
}

impl fmt::Display for KeyRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, images, captions, shared } = self;
        write!(f, "{change}, {images} images and {captions} captions would pair")?;
        match shared {
            0 => Ok(()),
            1 => f.write_str(" (1 image would share its key with another)"),
            shared => write!(f, " ({shared} images would share their key with another)"),
        }
    }
}

/// What is left of the folders in a key.
#[derive(Clone, Copy, PartialEq)]
enum Folders {
    Kept,
    /// Without those that all keys of the side begin with.
    NotCommon,
    Removed,
}

#[derive(Clone, Copy)]
struct Change {
    folders: Folders,
    /// `cat.jpg` to `cat`.
    extension: bool,
    /// `cat#2` to `cat`.
    number: bool,
    /// `007` to `7`.
    zeros: bool,
    /// `Cat` to `cat`.
    case: bool,
    /// `COCO_val_7` to `7`: the last number alone.
    digits: bool,
}

/// Everything at once, except for the folders.
const ALL: Change =
    Change { folders: Folders::Kept, extension: true, number: true, zeros: true, case: true, digits: false };

/// The changes to try. What a change does without effect is left out of its description.
const CHANGES: [Change; 4] = [
    ALL,
    Change { folders: Folders::NotCommon, ..ALL },
    Change { folders: Folders::Removed, ..ALL },
    Change { folders: Folders::Removed, digits: true, ..ALL },
];

impl Change {
    /// Rewrites a key; `common` is the length of the folders that all keys of its side begin with.
    fn apply(self, key: &str, common: usize) -> String {
        let mut key = match self.folders {
            Folders::Kept => key,
            Folders::NotCommon => key.get(common..).unwrap_or(key),
            Folders::Removed => key.rsplit(['/', '\\']).next().unwrap_or(key),
        };
        if self.number
            && let Some((name, number)) = key.rsplit_once('#')
            && is_number(number)
        {
            key = name;
        }
        if self.extension
            && let Some((name, extension)) = key.rsplit_once('.')
            && !name.is_empty()
            && (1..=5).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && !is_number(extension)
        {
            key = name;
        }
        if self.digits
            && let Some(end) = key.rfind(|letter: char| letter.is_ascii_digit())
        {
            let start = key[..end].rfind(|letter: char| !letter.is_ascii_digit());
            let start = start.map_or(0, |at| at + key[at..].chars().next().map_or(1, char::len_utf8));
            key = &key[start..=end];
        }
        let mut key = key.to_owned();
        if self.zeros {
            key = without_leading_zeros(&key);
        }
        if self.case { key.to_lowercase() } else { key }
    }

    /// The same change without one of its parts.
    fn simpler(self) -> impl Iterator<Item = fn(&mut Self)> {
        let parts: [fn(&mut Self); 6] = [
            |change| change.case = false,
            |change| change.zeros = false,
            |change| change.number = false,
            |change| change.extension = false,
            |change| change.folders = Folders::NotCommon,
            |change| change.folders = Folders::Kept,
        ];
        let applies = [
            self.case,
            self.zeros,
            self.number,
            self.extension,
            self.folders == Folders::Removed,
            self.folders != Folders::Kept,
        ];
        parts.into_iter().zip(applies).filter_map(|(part, applies)| applies.then_some(part))
    }

    fn describe(self) -> String {
        if self.digits {
            return "by the last number in each key".to_owned();
        }
        let mut parts = Vec::new();
        match self.folders {
            Folders::Kept => {}
            Folders::NotCommon => parts.push("the folders that all keys begin with"),
            Folders::Removed => parts.push("folders"),
        }
        let others = [
            (self.extension, "file extensions"),
            (self.number, "numbers after `#`"),
            (self.zeros, "leading zeros"),
        ];
        parts.extend(others.into_iter().filter_map(|(set, what)| set.then_some(what)));
        let without = match parts.as_slice() {
            [] => return "in lower case".to_owned(),
            [one] => format!("without {one}"),
            [rest @ .., last] => format!("without {} and {last}", rest.join(", ")),
        };
        if self.case { format!("{without}, in lower case") } else { without }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Removes the zeros before every number.
fn without_leading_zeros(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    let mut letters = key.chars().peekable();
    let mut in_number = false;
    while let Some(letter) = letters.next() {
        let next_is_digit = letters.peek().is_some_and(char::is_ascii_digit);
        if letter == '0' && !in_number && next_is_digit {
            continue;
        }
        in_number = letter.is_ascii_digit();
        text.push(letter);
    }
    text
}

/// Returns the change under which most captions find an image, if it is more than without. Reads all keys once for every
/// change, so it is for errors.
///
/// A change under which more than a tenth of the images share a key is not proposed.
pub(crate) fn suggest(
    images: &dyn FeatureSource,
    captions: &dyn FeatureSource,
    matched: usize,
) -> Result<Option<KeyRewrite>, FeatureError> {
    let common = [common_folders(images)?, common_folders(captions)?];
    let mut best: Option<(Change, KeyRewrite)> = None;
    for change in CHANGES {
        let found = count(change, images, captions, common)?;
        let least = best.as_ref().map_or(matched, |(_, best)| best.captions.matched);
        if found.captions.matched > least && found.shared <= images.rows() / 10 {
            best = Some((change, found));
        }
    }
    let Some((mut change, mut best)) = best else { return Ok(None) };
    if !change.digits {
        for simplify in change.simpler() {
            let mut simpler = change;
            simplify(&mut simpler);
            let found = count(simpler, images, captions, common)?;
            if found.captions.matched >= best.captions.matched {
                (change, best) = (simpler, found);
            }
        }
    }
    Ok(Some(best))
}

fn count(
    change: Change,
    images: &dyn FeatureSource,
    captions: &dyn FeatureSource,
    common: [usize; 2],
) -> Result<KeyRewrite, FeatureError> {
    let mut rows = KeyTable::with_capacity(images.rows());
    let hasher = rows.hasher();
    let (mut shared, mut seen) = (0, vec![false; images.rows()]);
    for_each_key(
        images,
        images.rows(),
        |row| row,
        |key| hasher.hash(&change.apply(key, common[0])),
        |row, key| {
            shared += usize::from(rows.insert(key, row as u32).is_some());
            Ok(())
        },
    )?;
    let mut matched = 0;
    for_each_key(
        captions,
        captions.rows(),
        |row| row,
        |key| rows.get(&change.apply(key, common[1])),
        |_, image| {
            if let Some(image) = image {
                matched += 1;
                seen[image as usize] = true;
            }
            Ok(())
        },
    )?;
    let paired = seen.into_iter().filter(|seen| *seen).count();
    Ok(KeyRewrite {
        change: change.describe(),
        images: Matched { matched: paired, rows: images.rows() },
        captions: Matched { matched, rows: captions.rows() },
        shared,
    })
}

/// The length of the folders that all keys begin with, with the slash after them.
fn common_folders(source: &dyn FeatureSource) -> Result<usize, FeatureError> {
    let mut common: Option<String> = None;
    let folder = |key: &str| key[..key.rfind('/').map_or(0, |at| at + 1)].to_owned();
    for_each_key(
        source,
        source.rows(),
        |row| row,
        folder,
        |_, folder| {
            let common = common.get_or_insert_with(|| folder.clone());
            if !folder.starts_with(common.as_str()) {
                let same = common.bytes().zip(folder.bytes()).take_while(|(a, b)| a == b).count();
                // A slash is one byte of UTF-8, and part of no other letter.
                let end = common.as_bytes()[..same].iter().rposition(|byte| *byte == b'/');
                common.truncate(end.map_or(0, |at| at + 1));
            }
            Ok(())
        },
    )?;
    Ok(common.map_or(0, |folders| folders.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn source(keys: &[&str]) -> MatrixFeatures {
        MatrixFeatures::new(1, vec![1.0; keys.len()]).unwrap().with_keys(keys.iter().copied()).unwrap()
    }

    fn suggested(images: &[&str], captions: &[&str]) -> Option<String> {
        suggest(&source(images), &source(captions), 0).unwrap().map(|rewrite| rewrite.to_string())
    }

    #[test]
    fn names_the_smallest_change_under_which_keys_match() {
        let cases: [(&[&str], &[&str], &str); 11] = [
            (&["a.jpg", "b.PNG"], &["a", "b"], "without file extensions"),
            (&["Cat", "DOG"], &["cat", "dog"], "in lower case"),
            (&["0007", "img_010"], &["7", "img_10"], "without leading zeros"),
            (&["a.jpg", "b.jpg"], &["a.jpg#0", "b.jpg#1"], "without numbers after `#`"),
            (
                &["train/cat/1.jpg", "train/dog/1.jpg"],
                &["cat/1.jpg", "dog/1.jpg"],
                "without the folders that all keys begin with",
            ),
            (&["x/a", "y/b"], &["a", "b"], "without folders"),
            (&["x\\a", "y\\b"], &["a", "b"], "without folders"),
            (&["0007.jpg", "0008.jpg"], &["7", "8"], "without file extensions and leading zeros"),
            (
                &["images/x/A.jpg", "images/y/B.jpg"],
                &["x/A#0", "y/B#0"],
                "without the folders that all keys begin with, file extensions and numbers after `#`",
            ),
            (
                &["v/A07.jpg", "w/B08.jpg"],
                &["a7", "b8"],
                "without folders, file extensions and leading zeros, in lower case",
            ),
            (
                &["COCO_val2014_000000000042.jpg", "COCO_val2014_000000000009.jpg"],
                &["42", "9"],
                "by the last number in each key",
            ),
        ];
        for (images, captions, change) in cases {
            let expected = format!("{change}, 2 of 2 images and 2 of 2 captions would pair");
            assert_eq!(suggested(images, captions).as_deref(), Some(expected.as_str()));
        }
    }

    #[test]
    fn proposes_nothing_that_mixes_images_up() {
        assert_eq!(suggested(&["a", "b"], &["x", "y"]), None);
        // Base names that repeat in every folder.
        assert_eq!(suggested(&["cat/1", "dog/1", "eel/1"], &["1", "1", "1"]), None);
        let images: Vec<String> = (0..20).map(|i| format!("f{}/{}", i % 3, i.min(18))).collect();
        let captions: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let [images, captions] =
            [&images, &captions].map(|keys| keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            suggested(&images, &captions).as_deref(),
            Some(
                "without folders, 10 of 20 images and 10 of 10 captions would pair \
                 (1 image would share its key with another)"
            )
        );
    }

    #[test]
    fn a_numeric_suffix_is_no_extension() {
        let kept = Change { extension: false, number: false, zeros: false, case: false, ..ALL };
        let change = Change { extension: true, ..kept };
        assert_eq!(
            ["2020.01", "a.jpeg", ".x", "a.b c"].map(|key| change.apply(key, 0)),
            ["2020.01", "a", ".x", "a.b c"]
        );
        let digits = Change { digits: true, ..kept };
        assert_eq!(["é12é", "x", "7"].map(|key| digits.apply(key, 0)), ["12", "x", "7"]);
    }
}
