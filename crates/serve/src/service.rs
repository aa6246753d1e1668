//! Search, embedding and classification, for any number of concurrent requests.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sail_core::{Check, ensure};
use sail_search::{Embedder, EntryId, Hit, Index, ModelIdentity, RowSet, weighted_sum};
use tokio::sync::Semaphore;

use crate::batch::{Batcher, together_or_alone};
use crate::error::{RequestError, ServeError, chain};
use crate::found::{Found, Labeled, found};
use crate::metrics::Metrics;
use crate::model::{Input, embed, prepare};
use crate::options::ServiceOptions;
use crate::query::{Item, Term};
use crate::snapshot::Snapshot;

/// The placeholder for the label in a template.
const PLACEHOLDER: &str = "{}";

/// A model and the index that it made, as a service: its methods are what the routes call.
///
/// The model runs on a thread of its own, which takes the inputs that wait in batches; so do searches. Images are decoded on as
/// many threads as there are CPUs. Every request sees one state of the index, also while a newer one is taken up.
pub struct Service {
    path: PathBuf,
    identity: ModelIdentity,
    model: Arc<dyn Embedder>,
    options: ServiceOptions,
    embeddings: Batcher<Input, Result<Vec<f32>, RequestError>>,
    searches: Batcher<Search, Result<Vec<Hit>, RequestError>>,
    /// Images that may be decoded at a time, which takes much more memory than their files.
    decoders: Arc<Semaphore>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held while the index is opened again.
    reloading: Mutex<()>,
    metrics: Metrics,
}

struct Search {
    snapshot: Arc<Snapshot>,
    query: Vec<f32>,
    k: usize,
    among: Option<Arc<RowSet>>,
}

impl Service {
    /// Opens an index and starts the threads.
    ///
    /// # Errors
    /// [`ServeError::Config`] for invalid options, [`ServeError::Index`] if the index cannot be opened or another model made
    /// it, and [`ServeError::Thread`].
    pub fn new(
        index: impl Into<PathBuf>,
        model: Arc<dyn Embedder>,
        options: ServiceOptions,
    ) -> Result<Self, ServeError> {
        options.check()?;
        let path = index.into();
        let identity = model.identity()?;
        let snapshot = open(&path, &identity)?;
        let metrics = Metrics::new();
        metrics.set_rows(snapshot.index.live().len());
        let (embedder, dim) = (model.clone(), snapshot.searcher.dim());
        let ServiceOptions { queue, batch, .. } = options;
        let embed = move |inputs| embed(&*embedder, dim, inputs);
        let embeddings = Batcher::start(metrics.model(), queue, batch, embed).map_err(ServeError::Thread)?;
        let searches = Batcher::start(metrics.search(), queue, batch, search).map_err(ServeError::Thread)?;
        let decoders = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            path,
            identity,
            model,
            options,
            embeddings,
            searches,
            decoders: Arc::new(Semaphore::new(decoders)),
            snapshot: RwLock::new(Arc::new(snapshot)),
            reloading: Mutex::default(),
            metrics,
        })
    }

    /// Returns the settings.
    #[must_use]
    pub fn options(&self) -> &ServiceOptions {
        &self.options
    }

    /// Embeds texts.
    ///
    /// # Shapes
    /// - result: one row of unit length per text
    ///
    /// # Errors
    /// [`RequestError`], also for no text and for an empty one.
    pub async fn embed_texts(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, RequestError> {
        self.embed(texts.into_iter().map(Item::text).collect::<Result<_, _>>()?).await
    }

    /// Embeds images, from the bytes of their files.
    ///
    /// # Shapes
    /// - result: one row of unit length per image
    ///
    /// # Errors
    /// [`RequestError`], also for no image.
    pub async fn embed_images(&self, images: Vec<Vec<u8>>) -> Result<Vec<Vec<f32>>, RequestError> {
        self.embed(images.into_iter().map(Item::Image).collect()).await
    }

    /// Returns the `k` entries that are most similar to the weighted sum of the parts of a query, among those that satisfy all
    /// filters (see [`sail_search::Filter`]). Entries that the query names are not in the result.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn search(
        &self,
        query: Vec<Term>,
        k: usize,
        filters: Vec<String>,
    ) -> Result<Vec<Found>, RequestError> {
        ensure(
            (1..=self.options.max_results).contains(&k),
            "k",
            k,
            format!("1 to {}", self.options.max_results),
        )
        .map_err(|error| RequestError::Invalid(error.to_string()))?;
        let snapshot = self.snapshot();
        let (weights, items): (Vec<f32>, Vec<Item>) =
            query.into_iter().map(|term| (term.weight, term.item)).unzip();
        let named: Vec<EntryId> = items
            .iter()
            .filter_map(|item| if let Item::Entry(id) = item { Some(*id) } else { None })
            .collect();
        let is_embedded = named.len() < items.len();
        let rows = self.embed_in(&snapshot, items).await?;
        let parts = weights.into_iter().zip(rows.iter().map(Vec::as_slice));
        let query = weighted_sum(parts).ok_or_else(|| {
            RequestError::Invalid("the parts of the query cancel each other: change the weights".to_owned())
        })?;
        let among = {
            let snapshot = snapshot.clone();
            blocking(move || snapshot.among(&filters)).await?
        };
        let search = Search { snapshot: snapshot.clone(), query, k: k + named.len(), among };
        let hits = match is_embedded {
            true => self.searches.run_accepted(vec![search]).await?,
            false => self.searches.run(vec![search]).await?,
        };
        let hits = only(hits)??;
        blocking(move || {
            let named =
                named.iter().map(|id| live_row(&snapshot.index, id)).collect::<Result<Vec<_>, _>>()?;
            let hits = hits.into_iter().filter(|hit| !named.contains(&hit.row)).take(k);
            hits.map(|hit| found(&snapshot.index, hit)).collect()
        })
        .await
    }

    /// Returns the labels in the order of their probability for an image or an entry.
    ///
    /// A template is a prompt with `{}` in the place of the label. The weight of a label is the normalized sum of the embeddings
    /// of its prompts, as in CLIP's zero-shot classification.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn zero_shot(
        &self,
        image: Item,
        labels: Vec<String>,
        templates: Vec<String>,
    ) -> Result<Vec<Labeled>, RequestError> {
        if matches!(image, Item::Text(_)) {
            return Err(RequestError::Invalid(
                "expected an image or an entry to label, found a text".to_owned(),
            ));
        }
        if let Some(template) = templates.iter().find(|template| !template.contains(PLACEHOLDER)) {
            return Err(RequestError::Invalid(format!(
                "the template `{template}` has no `{{}}` for the label"
            )));
        }
        let prompts = labels.iter().flat_map(|label| templates.iter().map(move |t| (label, t)));
        let prompts = prompts.map(|(label, template)| match label.trim() {
            "" => Err(RequestError::Invalid("a label is empty, expected words".to_owned())),
            _ => Item::text(template.replace(PLACEHOLDER, label)),
        });
        let items: Vec<Item> = std::iter::once(Ok(image)).chain(prompts).collect::<Result<_, _>>()?;
        if items.len() == 1 {
            return Err(RequestError::Invalid("expected at least one label and one template".to_owned()));
        }
        let snapshot = self.snapshot();
        let rows = self.embed_in(&snapshot, items).await?;
        let scale = f64::from(snapshot.index.manifest().log_scale).exp();
        let weight = |prompts: &[Vec<f32>]| {
            weighted_sum(prompts.iter().map(|row| (1.0, row.as_slice()))).ok_or_else(|| {
                RequestError::Input("the embeddings of a label's prompts cancel each other".to_owned())
            })
        };
        let weights = rows[1..].chunks(templates.len()).map(weight).collect::<Result<Vec<_>, _>>()?;
        let scores: Vec<f64> = weights.iter().map(|weight| cosine(&rows[0], weight)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> = scores.iter().map(|score| ((score - highest) * scale).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let mut labeled: Vec<Labeled> = labels
            .into_iter()
            .zip(scores.iter().zip(&exponentials))
            .map(|(label, (&score, exponential))| Labeled {
                label,
                score: score as f32,
                probability: (exponential / sum) as f32,
            })
            .collect();
        // By scores, since small probabilities round to the same number.
        labeled.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(labeled)
    }

    /// Takes up the index as it is now, if it has changed. Returns whether it has.
    ///
    /// # Errors
    /// As [`new`](Self::new); the service goes on with the state that it has.
    pub fn reload(&self) -> Result<bool, ServeError> {
        let _only_one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.snapshot().index.is_current()? {
            return Ok(false);
        }
        let snapshot = Arc::new(open(&self.path, &self.identity)?);
        self.metrics.set_rows(snapshot.index.live().len());
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(true)
    }

    /// Calls [`reload`](Self::reload) at intervals, forever. What fails is logged and tried again.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let service = self.clone();
            match tokio::task::spawn_blocking(move || service.reload()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("the index has changed: {} images", self.rows()),
                Ok(Err(error)) => tracing::warn!("cannot take up the changed index: {}", chain(&error)),
                Err(error) => tracing::error!("cannot take up the changed index: {error}"),
            }
        }
    }

    /// Returns the number of images that can be found.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.snapshot().index.live().len()
    }

    /// Returns the model that made the index.
    #[must_use]
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// Returns the dimension of the embeddings.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.snapshot().searcher.dim()
    }

    pub(crate) fn model(&self) -> &dyn Embedder {
        &*self.model
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        let waiting = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.model().waiting.set(waiting(self.embeddings.waiting()));
        self.metrics.search().waiting.set(waiting(self.searches.waiting()));
        &self.metrics
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn embed(&self, items: Vec<Item>) -> Result<Vec<Vec<f32>>, RequestError> {
        self.embed_in(&self.snapshot(), items).await
    }

    /// Embeds items in their order: what the model embeds, and rows of the index.
    async fn embed_in(
        &self,
        snapshot: &Arc<Snapshot>,
        items: Vec<Item>,
    ) -> Result<Vec<Vec<f32>>, RequestError> {
        let limit = self.options.max_inputs;
        if !(1..=limit).contains(&items.len()) {
            let message = format!("the request has {} inputs, expected 1 to {limit}", items.len());
            return Err(RequestError::Invalid(message));
        }
        let mut rows = vec![Vec::new(); items.len()];
        let (mut places, mut inputs) = (Vec::new(), Vec::new());
        for (place, item) in items.into_iter().enumerate() {
            match item {
                Item::Text(text) => inputs.push(Input::Text(text)),
                Item::Image(bytes) => inputs.push(self.prepare(bytes).await?),
                Item::Entry(id) => {
                    rows[place] = stored(snapshot.clone(), id).await?;
                    continue;
                }
            }
            places.push(place);
        }
        for (place, row) in places.into_iter().zip(self.embeddings.run(inputs).await?) {
            rows[place] = row?;
        }
        Ok(rows)
    }

    async fn prepare(&self, bytes: Vec<u8>) -> Result<Input, RequestError> {
        let permit = self.decoders.clone().acquire_owned().await.map_err(RequestError::failed)?;
        let (model, max_pixels) = (self.model.clone(), self.options.max_pixels);
        blocking(move || {
            // Decoding cannot be interrupted, so the permit lives as long as it, also if the request is given up.
            let _permit = permit;
            prepare(&*model, &bytes, max_pixels)
        })
        .await
    }
}

fn open(path: &Path, identity: &ModelIdentity) -> Result<Snapshot, ServeError> {
    let index = Index::open(path)?;
    index.check_model(identity)?;
    Ok(Snapshot::new(index)?)
}

/// Runs work that blocks, on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    tokio::task::spawn_blocking(work).await.map_err(RequestError::failed)?
}

async fn stored(snapshot: Arc<Snapshot>, id: EntryId) -> Result<Vec<f32>, RequestError> {
    blocking(move || {
        let row = live_row(&snapshot.index, &id)?;
        Ok(snapshot.index.embedding(row)?)
    })
    .await
}

/// Returns the row of an entry that is not removed.
pub(crate) fn live_row(index: &Index, id: &EntryId) -> Result<usize, RequestError> {
    index.find(id)?.ok_or_else(|| RequestError::NotFound(format!("the index has no entry with the id {id}")))
}

/// Searches for a batch of queries: those among the same rows in one pass.
fn search(searches: Vec<Search>) -> Vec<Result<Vec<Hit>, RequestError>> {
    let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
    for (place, search) in searches.iter().enumerate() {
        let group = (Arc::as_ptr(&search.snapshot), search.among.as_ref().map(Arc::as_ptr));
        groups.entry(group).or_default().push(place);
    }
    let mut outputs: Vec<Option<_>> = searches.iter().map(|_| None).collect();
    for places in groups.into_values() {
        let first = &searches[places[0]];
        let hits = together_or_alone(&places, |places| {
            let queries: Vec<f32> =
                places.iter().flat_map(|&place| searches[place].query.iter().copied()).collect();
            let k = places.iter().map(|&place| searches[place].k).max().unwrap_or_default();
            let mut hits = first.snapshot.searcher.search(&queries, k, first.among.as_deref())?;
            hits.iter_mut().zip(places).for_each(|(hits, &place)| hits.truncate(searches[place].k));
            Ok(hits)
        });
        places.into_iter().zip(hits).for_each(|(place, hits)| outputs[place] = Some(hits));
    }
    outputs.into_iter().flatten().collect()
}

fn only<T>(outputs: Vec<T>) -> Result<T, RequestError> {
    outputs.into_iter().next().ok_or_else(|| RequestError::failed("no output"))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
