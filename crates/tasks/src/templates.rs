//! What is said of a class.

use std::path::Path;

use crate::TaskError;
use crate::files::read_lines;

/// Where the name of the class goes.
const PLACEHOLDER: &str = "{c}";

/// Prompt templates: `a photo of a {c}.`, `a sketch of a {c}.`, ...
///
/// # Examples
/// ```
/// use sail_tasks::Templates;
/// let templates = Templates::new(["a photo of a {c}.", "art of a {c}."])?;
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
    /// [`TaskError::Template`] for one without `{c}`, where every class would get the same prompt.
    pub fn new<T: Into<String>>(templates: impl IntoIterator<Item = T>) -> Result<Self, TaskError> {
        let templates: Vec<String> = templates.into_iter().map(Into::into).collect();
        match templates.iter().position(|template| !template.contains(PLACEHOLDER)) {
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
        self.0.iter().map(move |template| template.replace(PLACEHOLDER, class))
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
