//! What is said of a class.

use std::path::Path;

use crate::TaskError;
use crate::files::read_lines;

/// Where the name of the class goes: as CLIP-benchmark writes it, and as the rest of this workspace does.
const PLACEHOLDERS: [&str; 2] = ["{c}", "{}"];

/// Prompt templates: `a photo of a {c}.`, `a sketch of a {c}.`, ... A `{}` is a placeholder as well.
///
/// # Examples
/// ```
/// use sail_tasks::Templates;
/// let templates = Templates::new(["a photo of a {c}.", "art of a {}."])?;
/// assert_eq!(templates.prompts("cat").collect::<Vec<_>>(), ["a photo of a cat.", "art of a cat."]);
/// assert!(Templates::new(["a photo of a cat."]).is_err());
/// # Ok::<(), sail_tasks::TaskError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates(Vec<String>);

impl Default for Templates {
    /// `a photo of a {c}.` alone.
    fn default() -> Self {
        Self(vec!["a photo of a {c}.".to_owned()])
    }
}

impl Templates {
    /// These templates.
    ///
    /// # Errors
    /// [`TaskError::Template`] for one without a placeholder, where every class would get the same prompt.
    pub fn new<T: Into<String>>(templates: impl IntoIterator<Item = T>) -> Result<Self, TaskError> {
        let templates: Vec<String> = templates.into_iter().map(Into::into).collect();
        match templates.iter().position(|template| !PLACEHOLDERS.iter().any(|place| template.contains(place)))
        {
            Some(place) => {
                let template = templates[place].clone();
                Err(TaskError::Template { number: place + 1, template })
            }
            None => Ok(Self(templates)),
        }
    }

    /// Those of a file, one a line.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`TaskError::Empty`] for a file without a line; [`TaskError::Io`],
    /// [`TaskError::TooLarge`] and [`TaskError::Malformed`].
    pub fn open(path: &Path) -> Result<Self, TaskError> {
        let lines = read_lines(path, "prompt templates, one a line")?;
        if lines.is_empty() {
            return Err(TaskError::Empty { path: path.to_owned(), what: "template" });
        }
        Self::new(lines)
    }

    /// The prompts of a class.
    pub fn prompts<'a>(&'a self, class: &'a str) -> impl Iterator<Item = String> + 'a {
        // One pass, so that a class whose name looks like a placeholder stays what it is.
        self.0.iter().map(move |template| {
            let place = PLACEHOLDERS.into_iter().find(|place| template.contains(place));
            place.map_or_else(|| template.clone(), |place| template.replace(place, class))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
