//! Which concepts a set of images shows.

use std::collections::BTreeMap;

use sail_core::{AlignmentHead, FeatureSource, Progress};
use sail_eval::{BlockSize, Match, class_weights, project_images, project_texts, top_k};
use sail_support::ranges;
use serde::Serialize;

use super::CurationError;

/// Rows that go through the head at once.
const BATCH: usize = 1024;

/// A concept, and the images that fall to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Concept {
    /// Name of the concept.
    pub name: String,
    /// The images that are more similar to this concept than to any other: rows and cosines, the most similar first.
    pub images: Vec<Match>,
}

/// Assigns every image to its nearest concept under a head, by cosine; images whose cosine is below `threshold`, if it is
/// given, to none.
///
/// A concept is one or several texts with the same name, such as prompts, whose unit embeddings are averaged. Concepts are in
/// the order of their first text. An image that shows two concepts falls to one of them: the counts are a partition, and a
/// concept without images is one that is never the most prominent. `progress` counts images.
///
/// # Errors
/// [`CurationError::Concepts`] unless there is a name for each text, and [`CurationError::Eval`] if features cannot be read or
/// have no direction, or the head does not accept them.
///
/// # Examples
/// ```
/// use sail_core::{AlignmentHead, FeatureSource};
/// use sail_search::curation::{CurationError, nearest_concepts};
///
/// /// The concepts that no image shows.
/// fn missing(
///     head: &impl AlignmentHead,
///     images: &dyn FeatureSource,
///     concepts: &dyn FeatureSource,
/// ) -> Result<Vec<String>, CurationError> {
///     let rows: Vec<usize> = (0..concepts.rows()).collect();
///     let names = concepts.keys(&rows)?;
///     let found = nearest_concepts(head, images, concepts, &names, None, |_| {})?;
///     Ok(found.into_iter().filter(|concept| concept.images.is_empty()).map(|concept| concept.name).collect())
/// }
/// ```
pub fn nearest_concepts<H: AlignmentHead>(
    head: &H,
    images: &dyn FeatureSource,
    concepts: &dyn FeatureSource,
    names: &[String],
    threshold: Option<f32>,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<Concept>, CurationError> {
    if names.len() != concepts.rows() {
        return Err(CurationError::Concepts { found: names.len(), expected: concepts.rows() });
    }
    let _span =
        tracing::info_span!("nearest_concepts", images = images.rows(), texts = names.len()).entered();
    let (mut found, mut index_of) = (Vec::new(), BTreeMap::new());
    let mut concept_of_text = Vec::with_capacity(names.len());
    for name in names {
        let index = *index_of.entry(name).or_insert_with(|| {
            found.push(Concept { name: name.clone(), images: Vec::new() });
            found.len() - 1
        });
        concept_of_text.push(index);
    }
    let rows: Vec<usize> = (0..names.len()).collect();
    let texts = project_texts(head, concepts, &rows, BATCH)?;
    let weights = class_weights(texts, &concept_of_text, found.len())?;
    for rows in ranges(images.rows(), BATCH) {
        let (rows, end): (Vec<usize>, usize) = (rows.clone().collect(), rows.end);
        let embeddings = project_images(head, images, &rows, BATCH)?;
        let nearest = top_k(embeddings, weights.clone(), 1, &BlockSize::SEARCH)?;
        for (row, nearest) in rows.into_iter().zip(nearest.iter().flatten()) {
            if threshold.is_none_or(|threshold| nearest.score >= threshold) {
                found[nearest.index].images.push(Match { index: row, score: nearest.score });
            }
        }
        progress(Progress { done: end as u64, total: images.rows() as u64, unit: "images" });
    }
    for concept in &mut found {
        concept.images.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use sail_data::MatrixFeatures;
    use sail_layers::{Head, HeadConfig, ProjectorConfig};

    use super::*;

    #[test]
    fn images_fall_to_the_nearest_concept() {
        let head = Head::new(&HeadConfig::new(2, 2, 2, ProjectorConfig::Identity {}), 0, &Device::flex());
        let head = head.unwrap();
        let images = MatrixFeatures::new(2, vec![1.0, 0.1, 0.2, 1.0, 3.0, 0.0, 1.0, 1.2]).unwrap();
        // `x` has two prompts around the first axis.
        let concepts = MatrixFeatures::new(2, vec![5.0, 1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -0.2]).unwrap();
        let names = ["x", "y", "nothing", "x"].map(str::to_owned);
        let rows = |threshold| -> Vec<(String, Vec<usize>)> {
            let found = nearest_concepts(&head, &images, &concepts, &names, threshold, |_| {}).unwrap();
            let rows = |concept: &Concept| concept.images.iter().map(|image| image.index).collect();
            found.iter().map(|concept| (concept.name.clone(), rows(concept))).collect()
        };
        let expected = |y: &[usize]| {
            vec![("x".to_owned(), vec![2, 0]), ("y".to_owned(), y.to_vec()), ("nothing".to_owned(), vec![])]
        };
        assert_eq!(rows(None), expected(&[1, 3]));
        assert_eq!(rows(Some(0.9)), expected(&[1]));
        let error = nearest_concepts(&head, &images, &concepts, &names[1..], None, |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("found 3 concepts, expected 4"), "{error}");
    }
}
