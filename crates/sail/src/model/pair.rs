//! The register of published pairs: two backbones and the head that aligns them.

use std::sync::Once;

use burn::tensor::Device;
use sail_core::{Provenance, Side};
use sail_encoders::PromptChoice;
use sail_hub::{HubError, HubOptions, RepoId, RepoKind, Repository};
use sail_layers::Head;

use super::{BackboneOptions, SailError, SailModel};

/// A published pair of backbones and its head.
///
/// # Examples
/// ```
/// use sail_vl::Pair;
/// let pair = Pair::find("sail-l-nv2").ok_or("unknown")?;
/// assert_eq!((pair.vision.model, pair.text.model), ("facebook/dinov2-large", "nvidia/NV-Embed-v2"));
/// assert!(pair.text.restriction.is_some(), "its weights may not be used commercially");
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name of the pair.
    pub name: &'static str,
    /// The image side.
    pub vision: PairSide,
    /// The text side.
    pub text: PairSide,
    /// The prompt before every text, if any.
    pub prompt: Option<&'static str>,
    /// The repository of the head on the hub.
    pub repository: &'static str,
    /// The file of the head in the repository, in the layout of the authors' code.
    pub file: &'static str,
}

/// A side of a [`Pair`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairSide {
    /// The id of the backbone on the hub.
    pub model: &'static str,
    /// The name of the pooling, or `None` if it is the model's own with everything that follows it.
    pub pooling: Option<&'static str>,
    /// Dimension of the features.
    pub dim: usize,
    /// What the license of the weights does not permit, if it is not a free one.
    pub restriction: Option<&'static str>,
}

const DINOV2_LARGE: PairSide =
    PairSide { model: "facebook/dinov2-large", pooling: Some("concat"), dim: 2048, restriction: None };

impl Pair {
    /// All pairs: the models of the paper with their authors' heads, trained on 23 million image-text pairs.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "sail-l-gte",
            vision: DINOV2_LARGE,
            text: PairSide {
                model: "Alibaba-NLP/gte-large-en-v1.5",
                pooling: Some("class"),
                dim: 1024,
                restriction: None,
            },
            prompt: None,
            repository: "le723z/sail",
            file: "sail_dinov2l_gte.pt",
        },
        Self {
            name: "sail-l-nv2",
            vision: DINOV2_LARGE,
            text: PairSide {
                model: "nvidia/NV-Embed-v2",
                pooling: None,
                dim: 4096,
                restriction: Some("for non-commercial use only (CC-BY-NC-4.0)"),
            },
            prompt: None,
            repository: "le723z/sail",
            file: "sail_dinov2l_nv2.pt",
        },
    ];

    /// Returns the pair of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|pair| pair.name == name)
    }

    /// Fetches the head unless the cache has it. It records the backbones, so it does not accept others.
    ///
    /// A license that restricts the use of a backbone is logged as a warning, once.
    ///
    /// # Errors
    /// Returns [`SailError::PairHead`] if the file cannot be fetched, and [`SailError::Head`] if it is not the head of these
    /// backbones.
    pub fn head(&self, hub: &HubOptions, device: &Device) -> Result<Head, SailError> {
        self.warn_of_license();
        let failed = |source: HubError| SailError::PairHead { pair: self.name.to_owned(), source };
        let id: RepoId = self.repository.parse().map_err(failed)?;
        let repository = Repository::new(RepoKind::Model, &id, hub).map_err(failed)?;
        let head = Head::import(repository.file(self.file).map_err(failed)?, None, device)?;
        head.accepts(Side::Image, self.vision.dim, None)?;
        head.accepts(Side::Text, self.text.dim, None)?;
        let [vision, text] = [&self.vision, &self.text].map(PairSide::provenance);
        Ok(head.with_provenance(Some(&vision), Some(&text)))
    }

    /// Opens the backbones and the head.
    ///
    /// # Errors
    /// As [`head`](Self::head) and [`SailModel::with_backbones`].
    pub fn open(
        &self,
        options: &BackboneOptions,
        hub: &HubOptions,
        device: &Device,
    ) -> Result<SailModel, SailError> {
        let mut options = options.clone();
        if options.prompt == PromptChoice::Default {
            options.prompt =
                self.prompt.map_or(PromptChoice::None, |text| PromptChoice::Text(text.to_owned()));
        }
        SailModel::with_hub(self.head(hub, device)?, &options, hub, device)
    }

    fn warn_of_license(&self) {
        static SAID: Once = Once::new();
        for PairSide { model, restriction, .. } in [&self.vision, &self.text] {
            if let Some(restriction) = restriction {
                SAID.call_once(|| tracing::warn!("the weights of {model} are licensed {restriction}"));
            }
        }
    }
}

impl PairSide {
    fn provenance(&self) -> Provenance {
        Provenance { pooling: self.pooling.map(str::to_owned), ..Provenance::new(self.model) }
    }
}

impl SailModel {
    /// Opens a published pair, [`Pair::ALL`], by its name: `sail-l-gte` or `sail-l-nv2`. Backbones and head are downloaded
    /// unless they are in the hub's cache.
    ///
    /// # Errors
    /// Returns [`SailError::UnknownPair`], and the errors of [`Pair::open`].
    ///
    /// # Examples
    /// ```no_run
    /// use sail_vl::SailModel;
    /// use sail_vl::burn::tensor::Device;
    ///
    /// let model = SailModel::from_pretrained("sail-l-gte", &Device::flex())?;
    /// let embeddings = model.encode_texts(&["a photo of a cat", "a photo of a dog"])?;
    /// # Ok::<(), sail_vl::SailError>(())
    /// ```
    pub fn from_pretrained(name: &str, device: &Device) -> Result<Self, SailError> {
        let pair = Pair::find(name).ok_or_else(|| SailError::UnknownPair {
            name: name.to_owned(),
            known: Pair::ALL.iter().map(|pair| format!("`{}`", pair.name)).collect::<Vec<_>>().join(", "),
        })?;
        let failed = |source| SailError::PairHead { pair: name.to_owned(), source };
        pair.open(&BackboneOptions::default(), &HubOptions::from_env().map_err(failed)?, device)
    }
}
