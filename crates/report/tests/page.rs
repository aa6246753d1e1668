//! The page as a whole: well-formed, self-contained, deterministic.

// The lints exempt test functions, but not shared helpers.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use sail_report::{
    Facts, Gallery, GalleryItem, Image, LineChart, Matrix, Panel, Panels, Report, ReportError, Section, Table,
};
use support::sample;
use support::xml::{Element, parse};

const ELEMENTS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "footer",
    "section",
    "div",
    "span",
    "h1",
    "h2",
    "h3",
    "p",
    "pre",
    "dl",
    "dt",
    "dd",
    "ul",
    "ol",
    "li",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "strong",
    "figure",
    "figcaption",
    "details",
    "summary",
    "img",
    "svg",
    "path",
    "text",
    "desc",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "xmlns",
    "charset",
    "name",
    "content",
    "http-equiv",
    "class",
    "scope",
    "colspan",
    "role",
    "tabindex",
    "title",
    "alt",
    "src",
    "style",
    "viewBox",
    "d",
    "x",
    "y",
    "stroke-dasharray",
];

/// Only inert elements and attributes, and no references to other files.
fn assert_inert(page: &Element) {
    for element in page.all() {
        assert!(ELEMENTS.contains(&element.name.as_str()), "element {:?}", element.name);
        for (name, value) in &element.attributes {
            let known = ATTRIBUTES.contains(&name.as_str()) || name.starts_with("aria-");
            assert!(known, "attribute {name:?} of {:?}", element.name);
            match name.as_str() {
                "src" => assert!(value.starts_with("data:image/"), "{value}"),
                "style" => {
                    let width = value.strip_prefix("width:").and_then(|width| width.strip_suffix('%'));
                    let width = width.and_then(|width| width.parse::<f64>().ok());
                    let colour = value.strip_prefix("background:#");
                    let colour =
                        colour.is_some_and(|hex| hex.len() == 6 && u32::from_str_radix(hex, 16).is_ok());
                    let depth = value.strip_prefix("--depth:").and_then(|depth| depth.parse::<f64>().ok());
                    let depth = depth.is_some_and(|depth| (0.0..=1.0).contains(&depth));
                    let valid = colour || depth || width.is_some_and(|width| (0.0..=100.0).contains(&width));
                    assert!(valid, "{value}: neither a width nor a colour nor a depth");
                }
                _ => {}
            }
        }
    }
    let style = page.named("style")[0].text();
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn the_sample_is_well_formed_inert_and_accessible() {
    let report = sample::report();
    // Kept in the build folder for inspection.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample-report.html");
    report.save(&path).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    assert_eq!(html, report.to_html().unwrap());
    let page = parse(&html);
    assert_inert(&page);

    assert_eq!(page.attribute("lang"), Some("en"));
    assert_eq!(page.named("h1").len(), 1);
    assert_eq!(page.named("h2").len(), 7);
    assert!(page.named("th").iter().all(|header| header.attribute("scope").is_some()));
    for svg in page.named("svg") {
        let titled = svg.attribute("role") == Some("img") && !svg.named("title")[0].text().is_empty();
        assert!(titled || svg.attribute("aria-hidden") == Some("true"));
    }
    for image in page.named("img") {
        assert!(!image.attribute("alt").unwrap().is_empty());
    }
    for region in page.all().into_iter().filter(|element| element.attribute("role") == Some("region")) {
        assert!(region.attribute("aria-label").is_some() && region.attribute("tabindex") == Some("0"));
    }
}

#[test]
fn rendering_is_deterministic() {
    let report = sample::report();
    assert_eq!(report.to_html().unwrap(), report.to_html().unwrap());
    assert_eq!(report.to_html().unwrap(), sample::report().to_html().unwrap());
}

/// A report with `text` in every text field.
fn filled_with(text: &str) -> Report {
    let table = || Table::new([text, text]).row([text, text]).higher_is_better([text]);
    let chart = LineChart::new(text, text, text)
        .series(text, [(1.0, 1.0), (2.0, 3.0)])
        .series(text, [(1.0, f64::NAN)])
        .series(text, []);
    let png = Image::encoded(sample::PNG).unwrap();
    let gallery = [Image::text(text), png]
        .into_iter()
        .map(|image| GalleryItem::new(image).title(text).note(text).candidate(text, 0.5, true));
    let panel = Panel::new(text).note(text).image(text, Image::text(text));
    let section = Section::new(text)
        .text(text)
        .preformatted(text)
        .facts(Facts::new().fact(text, text))
        .table(table())
        .table(table().caption(text))
        .chart(chart.clone())
        .charts([chart.clone(), chart.log_y()])
        .gallery(gallery.collect::<Gallery>())
        .matrix(Matrix::new([text]).row(text, [1.0]).corner(text).caption(text))
        .panels(Panels::new().legend(text, [1, 2, 3]).panel(panel));
    Report::new(text).subtitle(text).key_figure(text, text).section(section).footer(text)
}

#[test]
fn hostile_text_is_escaped_everywhere() {
    let attacks = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\" onload=\"alert(1)",
        "</title></style></svg><script>alert(1)</script>",
        "]]><!--<script>-->&lt;script&gt;&#x3c;script&#x3e;&amp;lt;",
        "javascript:alert(1)",
        "<svg/onload=alert(1)>",
        "<foreignObject><iframe srcdoc='x'></iframe></foreignObject>",
        "{{7*7}} ${7*7} `x` <% %>",
    ];
    // A harmless text has the expected number of occurrences and the expected elements.
    let harmless = parse(&filled_with("harmless").to_html().unwrap());
    let shape = |page: &Element| -> Vec<(String, Vec<String>)> {
        let attributes =
            |element: &Element| element.attributes.iter().map(|(name, _)| name.clone()).collect();
        page.all().into_iter().map(|element| (element.name.clone(), attributes(element))).collect()
    };
    // End labels depend on the length of the text and are ignored.
    let is_end_label =
        |element: &&Element| element.attribute("class").is_some_and(|class| class.starts_with("end "));
    let uses = |page: &Element, text: &str| -> usize {
        let values = page.all().into_iter().flat_map(|element| &element.attributes);
        let in_attributes: usize = values.map(|(_, value)| value.matches(text).count()).sum();
        let in_labels = page.all().into_iter().filter(is_end_label);
        let in_labels: usize = in_labels.map(|label| label.text().matches(text).count()).sum();
        in_attributes + page.text().matches(text).count() - in_labels
    };
    for attack in attacks {
        let page = parse(&filled_with(attack).to_html().unwrap());
        assert_inert(&page);
        let same = |page: &Element| {
            let mut shape = shape(page);
            shape.retain(|(name, _)| name != "text" && name != "path");
            shape
        };
        assert_eq!(same(&page), same(&harmless), "{attack}");
        assert_eq!(uses(&page, attack), uses(&harmless, "harmless"), "{attack}");
    }
}

#[test]
fn control_characters_and_empty_texts_leave_the_page_well_formed() {
    for text in
        ["", " \n\n ", "\0\u{1}\u{1b}[31m\u{7f}\u{85}\u{fffe}\u{ffff}\r\n", "\u{202e}abc", "e\u{301}🏳️‍🌈"]
    {
        assert_inert(&parse(&filled_with(text).to_html().unwrap()));
    }
    assert_inert(&parse(&Report::new("").to_html().unwrap()));
    let empty = Section::new("")
        .facts(Facts::new())
        .table(Table::new(Vec::<String>::new()))
        .chart(LineChart::new("", "", ""))
        .charts([])
        .gallery(Gallery::new());
    assert_inert(&parse(&Report::new("").section(empty).to_html().unwrap()));
}

#[test]
fn bars_of_all_scores_are_between_empty_and_full() {
    let scores = [0.5, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 0.0, -0.0];
    for highest in [1, scores.len()] {
        let items = scores[..highest]
            .iter()
            .map(|score| GalleryItem::new(Image::text("x")).candidate("y", *score, false));
        let page =
            parse(&Report::new("t").section(Section::new("s").gallery(items.collect())).to_html().unwrap());
        assert_inert(&page);
    }
    let item = GalleryItem::new(Image::text("x")).candidate("a", 0.8, true).candidate("b", 0.2, false);
    let section = Section::new("s").gallery(Gallery::new().item(item));
    let page = parse(&Report::new("t").section(section).to_html().unwrap());
    let widths: Vec<_> = page.all().into_iter().filter_map(|element| element.attribute("style")).collect();
    assert_eq!(widths, ["width:100.0%", "width:25.0%"]);
    let answers: Vec<_> = page.named("ol")[0].named("title").iter().map(|title| title.text()).collect();
    assert_eq!(answers, ["right", "wrong"]);
}

#[test]
fn images_round_trip_through_the_page() {
    use base64::Engine;
    let jpeg: Vec<u8> = b"\xff\xd8\xff\xe0".iter().copied().chain(0..=255).collect();
    for (bytes, media_type) in [(sample::PNG.to_vec(), "image/png"), (jpeg, "image/jpeg")] {
        let item = GalleryItem::new(Image::encoded(bytes.clone()).unwrap());
        let section = Section::new("s").gallery(Gallery::new().item(item));
        let page = parse(&Report::new("t").section(section).to_html().unwrap());
        let source = page.named("img")[0].attribute("src").unwrap();
        let data = source.strip_prefix(&format!("data:{media_type};base64,")).unwrap();
        assert_eq!(base64::engine::general_purpose::STANDARD.decode(data).unwrap(), bytes);
    }
    for unsupported in [&b""[..], b"GIF89a", b"<svg onload='x'/>", b"\x89PNG", b"RIFF....WEBP"] {
        let error = Image::encoded(unsupported).unwrap_err();
        assert!(matches!(error, ReportError::ImageFormat { .. }), "{error}");
    }
}

#[test]
fn invalid_tables_are_rejected_before_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let save = |table| Report::new("t").section(Section::new("s").table(table)).save(&path).unwrap_err();
    let error = save(Table::new(["a", "b"]).row(["1", "2"]).row(["1"]));
    assert!(matches!(error, ReportError::RowLength { row: 2, expected: 2, found: 1, .. }), "{error}");
    let error = save(Table::new(["a", "b"]).lower_is_better(["c"]));
    assert!(matches!(error, ReportError::UnknownColumn { ref found, .. } if found == "c"), "{error}");
    assert!(!path.exists());
    let missing = folder.path().join("none").join("report.html");
    let error = Report::new("t").save(&missing).unwrap_err();
    assert!(matches!(error, ReportError::Save { ref path, .. } if *path == missing), "{error}");
}

#[test]
fn the_parts_keep_the_order_they_were_added_in() {
    let section = Section::new("s").text("one\n\ntwo").facts(Facts::new().fact("three", "four")).text("five");
    let page = parse(&Report::new("t").section(section).to_html().unwrap());
    let words: Vec<String> = page.named("main")[0].text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["s", "one", "two", "threefour", "five"]);
    assert_eq!(page.named("p").len(), 3);
}

#[test]
fn the_test_parser_rejects_malformed_pages() {
    let faults = [
        "<p><b></p></b>",
        "<p>a & b</p>",
        "<p a=b></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p>",
        "<p>a < b</p>",
        "x<p></p>",
    ];
    for fault in faults {
        let page = format!("<!DOCTYPE html>\n{fault}");
        assert!(std::panic::catch_unwind(|| parse(&page)).is_err(), "{fault}");
    }
    let distinct: BTreeSet<&str> = ELEMENTS.iter().copied().collect();
    assert!(
        ["script", "iframe", "object", "link", "a", "form", "base"]
            .iter()
            .all(|name| !distinct.contains(name))
    );
}
