//! Updates and what is read afterwards.

use std::fs;
use std::sync::atomic::Ordering;

use sail_core::FeatureSource;
use sail_data::EmbeddingStore;
use sail_search::{EntryId, Filter, Index, IndexError, Updated};

use crate::support::{Colours, DIM, Lab, files, set_modified};

fn counts(updated: &Updated) -> [u64; 6] {
    let Updated { unchanged, added, changed, moved, removed, skipped, .. } = *updated;
    [unchanged, added, changed, moved, removed, skipped]
}

fn keys(index: &Index) -> Vec<String> {
    let mut keys: Vec<String> = index.live().iter().map(|row| index.key(row).unwrap()).collect();
    keys.sort();
    keys
}

fn many(lab: &Lab) {
    for n in 0..50u8 {
        lab.image(&format!("{}/{n:02}.png", ["cat", "dog"][n as usize % 2]), [n, 255 - n, 3 * n]);
    }
}

#[test]
fn everything_is_found_again() {
    let lab = Lab::new();
    many(&lab);
    lab.image("red.png", [250, 2, 4]);
    fs::write(lab.path("broken.png"), "no image").unwrap();
    let updated = lab.update().unwrap();
    assert_eq!(counts(&updated), [0, 51, 0, 0, 0, 1]);
    assert_eq!((updated.images, updated.embedded), (51, 51));

    let index = Index::open(lab.index()).unwrap();
    let manifest = index.manifest();
    assert!(manifest.complete);
    assert_eq!((manifest.dim, manifest.log_scale, manifest.bias), (DIM, 2.0, -1.0));
    assert_eq!(manifest.segments.iter().map(|segment| segment.rows).collect::<Vec<_>>(), [18, 18, 15]);
    assert_eq!((index.rows(), index.live().len(), manifest.images()), (51, 51, 51));
    assert_eq!(fs::read(index.head_path()).unwrap(), b"a head");

    for row in [0, 17, 18, 50] {
        let entry = index.entry(row).unwrap();
        assert_eq!(
            (entry.id, entry.key.as_str()),
            (EntryId::of(&entry.key), index.key(row).unwrap().as_str())
        );
        assert_eq!(entry.file.as_deref(), Some(lab.path(&entry.key).as_path()));
        assert!(entry.captions.is_empty() && entry.columns.is_empty() && entry.url.is_none());
        assert_eq!((index.row_of(&entry.id), index.row_of_key(&entry.key)), (Some(row), Some(row)));
        let norm: f32 = index.embedding(row).unwrap().iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-3, "{norm}");
        let jpeg = index.thumbnail(row).unwrap().unwrap();
        let thumbnail = sail_data::decode_image(&jpeg, &sail_data::DecodeLimits::default()).unwrap();
        assert_eq!(thumbnail.dimensions(), (8, 6));
    }
    assert_eq!((index.row_of_key("broken.png"), index.row_of_key("")), (None, None));
    assert!(matches!(index.entry(51), Err(IndexError::Row { row: 51, rows: 51 })));
    let skipped = fs::read_to_string(lab.index().join("skipped.jsonl")).unwrap();
    assert!(skipped.starts_with(r#"{"key":"broken.png","reason":"#), "{skipped}");

    let rows = |filter: &str| index.select(&Filter::parse(filter).unwrap()).unwrap().len();
    assert_eq!((rows("class=cat"), rows("class!=cat"), rows("class="), rows("key=cat/0*")), (25, 26, 1, 5));
    let unknown = index.select(&Filter::parse("colour=red").unwrap()).unwrap_err();
    assert!(
        unknown.to_string().contains("unknown column `colour`, expected one of `key`, `class`"),
        "{unknown}"
    );

    let search = index.searcher().unwrap();
    let hits = search.search(&[1.0, 0.0, 0.0, 0.0], 2, Some(index.live())).unwrap();
    assert_eq!(index.key(hits[0][0].row).unwrap(), "red.png");

    // A segment is an ordinary store, which says that a head was applied.
    let store = EmbeddingStore::open(lab.index().join("segments/000001")).unwrap();
    store.verify(|_| ()).unwrap();
    assert!(store.provenance().unwrap().modules[0]["head_sha256"].is_string());
}

#[test]
fn an_update_without_changes_changes_nothing() {
    let lab = Lab::new();
    many(&lab);
    lab.update().unwrap();
    let before = files(&lab.index());
    let updated = lab.update().unwrap();
    assert_eq!((counts(&updated), updated.embedded), ([50, 0, 0, 0, 0, 0], 0));
    assert!(files(&lab.index()) == before);
    assert!(!before.keys().any(|name| name.ends_with("rows.jsonl") || name.contains("partial")));
}

#[test]
fn changes_of_the_source_are_followed() {
    let mut lab = Lab::new();
    many(&lab);
    lab.update().unwrap();
    let opened = Index::open(lab.index()).unwrap();
    let moved = opened.embedding(opened.row_of_key("cat/00.png").unwrap()).unwrap();

    fs::rename(lab.path("cat/00.png"), lab.path("cat/moved.png")).unwrap();
    fs::copy(lab.path("cat/02.png"), lab.path("cat/copied.png")).unwrap();
    set_modified(&lab.path("cat/04.png"), 1_700_000_000);
    lab.image("dog/01.png", [9, 200, 9]);
    fs::remove_file(lab.path("dog/03.png")).unwrap();
    fs::write(lab.path("dog/05.png"), "truncated").unwrap();
    lab.image("new.png", [1, 2, 3]);
    lab.colours.embedded = 0.into();
    let updated = lab.update().unwrap();
    // Added: the copy and the new one.
    assert_eq!(counts(&updated), [46, 2, 1, 1, 2, 1]);
    assert_eq!((updated.images, updated.embedded), (50, 2));
    assert_eq!(lab.colours.embedded.load(Ordering::Relaxed), 2);

    let index = Index::open(lab.index()).unwrap();
    let row = index.row_of_key("cat/moved.png").unwrap();
    assert_eq!(index.embedding(row).unwrap(), moved);
    assert!(index.thumbnail(row).unwrap().is_some_and(|jpeg| !jpeg.is_empty()));
    assert_eq!(index.row_of_key("cat/00.png"), None);
    assert_eq!(index.row_of_key("dog/05.png"), None);
    let changed = index.row_of_key("dog/01.png").unwrap();
    assert!(changed >= 50 && index.embedding(changed).unwrap()[1] > 0.99);
    let mut expected: Vec<String> = keys(&opened);
    expected.retain(|key| !["cat/00.png", "dog/03.png", "dog/05.png"].contains(&key.as_str()));
    expected.extend(["cat/copied.png", "cat/moved.png", "new.png"].map(str::to_owned));
    expected.sort();
    assert_eq!(keys(&index), expected);

    // The one that was opened before reads its own state still.
    assert_eq!(opened.live().len(), 50);
    assert_eq!(opened.entry(0).unwrap().key, "cat/00.png");
    assert!(opened.thumbnail(0).unwrap().is_some());
    let again = lab.update().unwrap();
    assert_eq!((counts(&again), again.embedded), ([50, 0, 0, 0, 0, 1], 0));
}

#[test]
fn most_images_are_not_removed_by_mistake() {
    let mut lab = Lab::new();
    many(&lab);
    lab.update().unwrap();
    fs::remove_dir_all(lab.path("cat")).unwrap();
    fs::remove_file(lab.path("dog/01.png")).unwrap();
    let error = lab.update().unwrap_err();
    assert!(
        matches!(&error, IndexError::Missing { missing: 26, rows: 50, first } if first == "cat/00.png"),
        "{error}"
    );
    assert_eq!(Index::open(lab.index()).unwrap().live().len(), 50);
    lab.options.prune = true;
    assert_eq!(counts(&lab.update().unwrap()), [24, 0, 0, 0, 26, 0]);
    // All of them under other names are no loss.
    lab.options.prune = false;
    fs::rename(lab.path("dog"), lab.path("wolf")).unwrap();
    assert_eq!(counts(&lab.update().unwrap()), [0, 0, 0, 24, 0, 0]);
}

#[test]
fn another_model_another_setting_and_another_folder_are_refused() {
    let mut lab = Lab::new();
    assert!(matches!(lab.update(), Err(IndexError::Source(_))));
    many(&lab);
    lab.update().unwrap();
    lab.colours = Colours { name: "other".to_owned(), ..Colours::default() };
    let error = lab.update().unwrap_err();
    assert!(
        error.to_string().contains("`model` of the vision model is colours, that of this model is other"),
        "{error}"
    );
    lab.colours = Colours::default();
    lab.options.thumbnails = Some(16);
    assert!(matches!(lab.update(), Err(IndexError::Setting { option: "thumbnails", .. })));
    lab.options.thumbnails = None;
    lab.update().unwrap();

    let lock = fs::File::options().write(true).open(lab.index().join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(lab.update(), Err(IndexError::Busy { .. })));
    Index::open(lab.index()).unwrap();
    drop(lock);

    assert!(matches!(lab.update_at(&lab.images()), Err(IndexError::Exists { .. })));
    assert!(matches!(Index::open(lab.images()), Err(IndexError::NotAnIndex { .. })));
    fs::write(lab.path_of("file"), "").unwrap();
    assert!(lab.update_at(&lab.path_of("file")).is_err());
}

#[test]
fn unusable_images_alone_are_an_error() {
    let lab = Lab::new();
    fs::write(lab.path("a.png"), "").unwrap();
    let error = lab.update().unwrap_err();
    assert!(matches!(error, IndexError::AllSkipped { records: 1, .. }), "{error}");
    assert!(matches!(Index::open(lab.index()), Err(IndexError::NoImages { .. })));
    // It is begun with the first image that is none.
    lab.image("b.png", [1, 2, 3]);
    assert_eq!(counts(&lab.update().unwrap()), [0, 1, 0, 0, 0, 1]);
}

#[test]
fn without_thumbnails_there_are_none() {
    let mut lab = Lab::new();
    lab.image("a.png", [1, 2, 3]);
    lab.options.thumbnails = Some(0);
    lab.update().unwrap();
    assert_eq!(Index::open(lab.index()).unwrap().thumbnail(0).unwrap(), None);
    assert!(!files(&lab.index()).keys().any(|name| name.contains("thumbnails")));
}
