//! Members of WebDataset tars: their names, and the samples that they form.

use std::collections::{BTreeSet, VecDeque};
use std::iter::Peekable;
use std::path::Path;

use super::image_root::is_image_extension;
use super::listing::is_hidden;
use super::members::{Member, Members};
use super::sidecar::is_text_suffix;
use crate::DataError;

/// Members of a sample that are kept together; further ones are a sample of their own.
const MAX_MEMBERS: usize = 256;

/// The name of a member.
pub(super) struct Name {
    /// The key of the sample: everything before the field.
    pub(super) key: String,
    /// The field of the sample, in lower case, such as `jpg` or `seg.png`; empty for a name without suffix.
    pub(super) field: String,
    /// The name without the part after the last dot.
    stem: String,
    /// The reason if the name is unusable.
    pub(super) fault: Option<&'static str>,
}

impl Name {
    /// Returns `None` for a hidden member.
    ///
    /// As in WebDataset, key and field are separated at the first dot after the last `/`, if the parts behind it are names,
    /// as in `0001.seg.png`. Parts that are not, as in `IMG_2020.01.05.jpg` or `cat.0.jpg`, belong to the key.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let mut fault =
            std::str::from_utf8(name).is_err().then_some("the name of the member is not valid UTF-8");
        let name = String::from_utf8_lossy(name);
        let name = name.strip_prefix("./").unwrap_or(&name);
        let outside = name.starts_with(['/', '\\'])
            || name.split(['/', '\\']).any(|part| part == "..")
            || name.as_bytes().get(1..3).is_some_and(|drive| matches!(drive, b":\\" | b":/"));
        if outside {
            fault = Some("the name of the member is a path outside the archive");
        } else if name.split('/').any(|part| part != "." && is_hidden(part)) {
            return None;
        }
        let file = name.rfind('/').map_or(0, |slash| slash + 1);
        let mut field = None;
        for (dot, _) in name[file..].rmatch_indices('.') {
            let part = &name[file + dot + 1..field.map_or(name.len(), |start: usize| start - 1)];
            // The last part is the suffix, whatever it is.
            if dot == 0 || field.is_some() && !is_field(part) {
                break;
            }
            field = Some(file + dot + 1);
        }
        let key = &name[..field.map_or(name.len(), |start| start - 1)];
        let field = field.map_or("", |start| &name[start..]).to_ascii_lowercase();
        let stem = if field.is_empty() { key } else { name.rsplit_once('.').map_or(key, |(stem, _)| stem) };
        Some(Self { key: key.to_owned(), field, stem: stem.to_owned(), fault })
    }

    /// The part of the field after the last dot, which says what the member is.
    pub(super) fn suffix(&self) -> &str {
        self.field.rsplit('.').next().unwrap_or_default()
    }

    /// Returns whether the field is the wanted one, with or without its suffix.
    pub(super) fn has_field(&self, wanted: &str) -> bool {
        let stem = self.field.rsplit_once('.').map(|(stem, _)| stem);
        [Some(self.field.as_str()), stem]
            .into_iter()
            .flatten()
            .any(|field| field.eq_ignore_ascii_case(wanted))
    }
}

/// Returns whether a part of a name is a name itself.
fn is_field(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphabetic())
        && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// A member and its name.
pub(super) type Named = (Name, Member);

/// Iterates over the members of an archive that are not hidden.
pub(super) fn members(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Named, DataError>> + use<>, DataError> {
    Ok(Members::open(path)?.filter_map(|member| match member {
        Ok(member) => Some(Ok((Name::parse(&member.name)?, member))),
        Err(error) => Some(Err(error)),
    }))
}

/// Iterates over the samples: adjacent members with the same key.
///
/// Where several images behind a key have captions of their own, as in `www.cats_1.jpg`, `www.cats_1.txt`, `www.cats_2.jpg`,
/// `www.cats_2.txt`, their fields are parts of the key. Images and captions see all members, so they agree.
pub(super) struct Samples<I: Iterator> {
    members: Peekable<I>,
    /// Whether keys may be divided; not where a field is chosen.
    divide: bool,
    /// The last key that was divided; there may be more of its members than are kept together.
    divided: Option<String>,
    ready: VecDeque<Vec<Named>>,
}

impl<I: Iterator<Item = Result<Named, DataError>>> Samples<I> {
    pub(super) fn new(members: I, divide: bool) -> Self {
        Self { members: members.peekable(), divide, divided: None, ready: VecDeque::new() }
    }

    /// Appends members with the same key as one sample, or as several.
    fn add(&mut self, sample: Vec<Named>) {
        let key = &sample[0].0.key;
        let again = self.divided.as_ref() == Some(key);
        if !self.divide || !again && paired_stems(&sample) < 2 {
            return self.ready.push_back(sample);
        }
        self.divided = Some(key.clone());
        let mut samples: Vec<Vec<Named>> = Vec::new();
        for (mut name, member) in sample {
            (name.key, name.field) = (name.stem.clone(), name.suffix().to_owned());
            match samples.iter_mut().find(|sample| sample[0].0.key == name.key) {
                Some(sample) => sample.push((name, member)),
                None => samples.push(vec![(name, member)]),
            }
        }
        self.ready.extend(samples);
    }
}

/// Returns how many names without suffix have both an image and a caption.
fn paired_stems(sample: &[Named]) -> usize {
    let stems = |wanted: fn(&str) -> bool| -> BTreeSet<&str> {
        sample.iter().filter(|(name, _)| wanted(name.suffix())).map(|(name, _)| name.stem.as_str()).collect()
    };
    let captions = stems(|suffix| is_text_suffix(suffix) || suffix == "json");
    stems(is_image_extension).intersection(&captions).count()
}

impl<I: Iterator<Item = Result<Named, DataError>>> Iterator for Samples<I> {
    type Item = Result<Vec<Named>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            let first = match self.members.next()? {
                Ok(first) => first,
                Err(error) => return Some(Err(error)),
            };
            let mut sample = vec![first];
            while sample.len() < MAX_MEMBERS {
                let same = |next: &Result<Named, DataError>| {
                    next.as_ref().is_ok_and(|(name, _)| name.key == sample[0].0.key)
                };
                match self.members.next_if(same) {
                    Some(Ok(member)) => sample.push(member),
                    _ => break,
                }
            }
            self.add(sample);
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Returns the member to use of those that are wanted: the first with a plain suffix, else the first.
pub(super) fn choose(sample: &[Named], wanted: impl Fn(&Name) -> bool) -> Option<usize> {
    let usable = |(name, member): &Named| wanted(name) && name.fault.is_none() && member.fault.is_none();
    let plain = |named: &Named| usable(named) && !named.0.field.contains('.');
    sample.iter().position(plain).or_else(|| sample.iter().position(usable))
}

/// The reason for skipping a member although it is wanted. `option` chooses one of several fields.
pub(super) fn not_chosen(index: usize, sample: &[Named], chosen: Option<usize>, option: &str) -> String {
    let (name, member) = &sample[index];
    if let Some(fault) = name.fault.or(member.fault) {
        return fault.to_owned();
    }
    match chosen.map(|chosen| &sample[chosen].0.field) {
        Some(field) if *field != name.field => format!(
            "the sample has another member of its kind, `{field}`: choose one by its field, as in `{option} {}`",
            name.field
        ),
        _ => "the archive has an earlier member of this name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_key_and_field() {
        for (name, key, field) in [
            ("000000001.jpg", "000000001", "jpg"),
            ("./a/b.JPG", "a/b", "jpg"),
            ("a.b/c.d/e.txt", "a.b/c.d/e", "txt"),
            ("sample.input.jpg", "sample", "input.jpg"),
            ("sample.input_2.mask.png", "sample", "input_2.mask.png"),
            ("IMG_2020.01.05.jpg", "IMG_2020.01.05", "jpg"),
            ("IMG_2020.01.05.seg.png", "IMG_2020.01.05", "seg.png"),
            ("cat.0.jpg", "cat.0", "jpg"),
            ("cat.v2.0.jpg", "cat.v2.0", "jpg"),
            ("v1.5 (final).jpg", "v1.5 (final)", "jpg"),
            ("a..jpg", "a.", "jpg"),
            ("a.", "a", ""),
            ("README", "README", ""),
            ("archive.7z", "archive", "7z"),
            ("a/README", "a/README", ""),
            ("folder/", "folder/", ""),
        ] {
            let name = Name::parse(name.as_bytes()).unwrap();
            assert_eq!((name.key.as_str(), name.field.as_str()), (key, field));
        }
        for hidden in [".jpg", "a/.b.jpg", "._a.jpg", "__MACOSX/a.jpg", ".git/a.jpg", "./.a.txt"] {
            assert!(Name::parse(hidden.as_bytes()).is_none(), "{hidden}");
        }
        assert!(Name::parse(b"../a.jpg").unwrap().fault.is_some());
    }

    #[test]
    fn fields_are_chosen_with_or_without_suffix() {
        let name = Name::parse(b"a.Input.PNG").unwrap();
        assert!(name.has_field("input.png") && name.has_field("Input") && !name.has_field("png"));
        assert!(Name::parse(b"a.png").unwrap().has_field("png"));
    }
}
