//! Prompt templates.

use std::path::Path;

use crate::error::TaskError;
use crate::files::read_lines;

/// The placeholders of CLIP-benchmark and of the rest of this workspace.
const PLACEHOLDERS: [&str; 2] = ["{c}", "{}"];

/// Prompt templates, such as `a photo of a {c}.` and `a sketch of a {c}.`. `{}` is a placeholder too.
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
    /// The single template `a photo of a {c}.`.
    fn default() -> Self {
        Self(vec!["a photo of a {c}.".to_owned()])
    }
}

impl Templates {
    /// Creates templates.
    ///
    /// # Errors
    /// [`TaskError::Template`] for a template without a placeholder, which would be the same prompt for every class.
    pub fn new<T: Into<String>>(templates: impl IntoIterator<Item = T>) -> Result<Self, TaskError> {
        let templates: Vec<String> = templates.into_iter().map(Into::into).collect();
        match templates.iter().position(|template| !PLACEHOLDERS.iter().any(|name| template.contains(name))) {
            Some(index) => {
                let template = templates[index].clone();
                Err(TaskError::Template { number: index + 1, template })
            }
            None => Ok(Self(templates)),
        }
    }

    /// Reads templates from a file, one per line.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`TaskError::Empty`] for an empty file; [`TaskError::Io`],
    /// [`TaskError::TooLarge`] and [`TaskError::Malformed`].
    pub fn open(path: &Path) -> Result<Self, TaskError> {
        let lines = read_lines(path, "prompt templates, one per line")?;
        if lines.is_empty() {
            return Err(TaskError::Empty { path: path.to_owned(), what: "template" });
        }
        Self::new(lines)
    }

    /// Returns the prompts of a class.
    pub fn prompts<'a>(&'a self, class: &'a str) -> impl Iterator<Item = String> + 'a {
        // In one pass, so that a placeholder in the class name is not replaced.
        self.0.iter().map(move |template| {
            let placeholder = PLACEHOLDERS.into_iter().find(|name| template.contains(name));
            placeholder.map_or_else(|| template.clone(), |name| template.replace(name, class))
        })
    }

    /// Returns the number of templates.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there are no templates.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
