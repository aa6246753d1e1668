//! Captions and columns.

use std::fs;

use sail_extract::Event;
use sail_search::{Filter, Index, IndexError};

use crate::support::{Lab, files};

#[test]
fn captions_and_columns_follow_their_images() {
    let lab = Lab::new();
    for n in 0..30u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    let table = lab.path_of("table.csv");
    let rows: String = (0..30)
        .flat_map(|n| [(n, "one"), (n, "two")])
        .map(|(n, word)| {
            format!("{n:02}.png,{word} {n},{},{}\n", 2000 + n % 3, if n < 2 { "me" } else { "" })
        })
        .collect();
    fs::write(&table, format!("image,caption,year,author\n{rows}absent.png,nothing,1999,\n")).unwrap();
    let update = |columns: &[&str]| {
        lab.update_with(&lab.index(), Some(&table), columns, &mut |_: Event<'_>| ()).unwrap()
    };
    assert_eq!(update(&["year", "author"]).noted, 30);
    let index = Index::open(lab.index()).unwrap();
    let entry = index.entry(index.row_of_key("20.png").unwrap()).unwrap();
    assert_eq!(entry.captions, ["one 20", "two 20"]);
    assert_eq!(entry.columns.into_iter().collect::<Vec<_>>(), [("year".to_owned(), "2002".to_owned())]);
    let rows = |index: &Index, filter: &str| {
        let filters = filter.split(' ').map(|filter| Filter::parse(filter).unwrap());
        let filter = filters.reduce(|all, filter| all.and(filter).unwrap()).unwrap();
        index.select(&filter).map(|rows| rows.len())
    };
    assert_eq!(rows(&index, "year=2001").unwrap(), 10);
    assert_eq!(rows(&index, "year>=2001").unwrap(), 20);
    assert_eq!(rows(&index, "year<2002 year>2000").unwrap(), 10);
    assert_eq!(rows(&index, "author<1").unwrap(), 0);
    assert_eq!(rows(&index, "year=2000 author=me").unwrap(), 1);
    assert_eq!(rows(&index, "author!=me").unwrap(), 28);
    let error = rows(&index, "caption=x").unwrap_err().to_string();
    assert!(error.contains("one of `key`, `class`, `author`, `year`"), "{error}");

    // The same again changes nothing; without a table, they stay with the key of a changed image.
    let before = files(&lab.index());
    update(&["year", "author"]);
    assert!(files(&lab.index()) == before);
    lab.image("20.png", [200, 200, 9]);
    lab.update().unwrap();
    let index = Index::open(lab.index()).unwrap();
    let row = index.row_of_key("20.png").unwrap();
    assert_eq!((row, index.entry(row).unwrap().captions.len()), (30, 2));
    assert_eq!(rows(&index, "year=2002 key=20*").unwrap(), 1);
    // Columns are replaced as a whole.
    update(&["author"]);
    let index = Index::open(lab.index()).unwrap();
    assert_eq!(index.manifest().columns, ["author"]);
    assert!(rows(&index, "year=2001").is_err());
    assert_eq!(rows(&index, "author=*").unwrap(), 2);
}

#[test]
fn captions_of_other_images_are_refused() {
    let lab = Lab::new();
    lab.image("a.png", [1, 2, 3]);
    let table = lab.path_of("table.csv");
    fs::write(&table, "image,caption\nb.png,something\n").unwrap();
    let error = lab.update_with(&lab.index(), Some(&table), &[], &mut |_: Event<'_>| ()).unwrap_err();
    assert!(
        matches!(&error, IndexError::Unpaired { found, expected, records: 1, .. } if found == "b.png" && expected == "a.png"),
        "{error}"
    );
}
