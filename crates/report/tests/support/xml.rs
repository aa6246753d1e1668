//! A small, strict XML reader: anything that a browser would have to repair is an error here.

/// An element with its attributes and everything inside it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Node>,
}

#[derive(Debug)]
pub(crate) enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// This element and all below it, in document order.
    pub(crate) fn all(&self) -> Vec<&Element> {
        let mut found = vec![self];
        for child in &self.children {
            if let Node::Element(child) = child {
                found.extend(child.all());
            }
        }
        found
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&Element> {
        self.all().into_iter().filter(|element| element.name == name).collect()
    }

    /// All character data, decoded.
    pub(crate) fn text(&self) -> String {
        let texts = self.children.iter().map(|child| match child {
            Node::Element(child) => child.text(),
            Node::Text(text) => text.clone(),
        });
        texts.collect()
    }
}

/// Reads a page; panics with the place of the first fault.
pub(crate) fn parse(page: &str) -> Element {
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype first");
    let mut stack = vec![Element::default()];
    let mut rest = body;
    while !rest.is_empty() {
        let place: String = rest.chars().take(60).collect();
        if let Some(after) = rest.strip_prefix("</") {
            let (name, after) = after.split_once('>').expect("an end tag is closed");
            let element = stack.pop().expect("an element is open");
            assert_eq!(element.name, name, "mismatched end tag at {place:?}");
            stack.last_mut().expect("an end tag inside the root").children.push(Node::Element(element));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('<') {
            let (element, closed, after) = start_tag(after, &place);
            if closed {
                stack.last_mut().unwrap().children.push(Node::Element(element));
            } else {
                stack.push(element);
            }
            rest = after;
        } else {
            let end = rest.find('<').unwrap_or(rest.len());
            stack.last_mut().unwrap().children.push(Node::Text(decode(&rest[..end], &place)));
            rest = &rest[end..];
        }
    }
    let mut root = stack.pop().unwrap();
    assert!(stack.is_empty(), "unclosed element {:?}", root.name);
    root.children.retain(|child| !matches!(child, Node::Text(text) if text.trim().is_empty()));
    assert_eq!(root.children.len(), 1, "one root element");
    match root.children.remove(0) {
        Node::Element(html) => html,
        Node::Text(text) => panic!("text outside the root: {text:?}"),
    }
}

fn start_tag<'a>(mut rest: &'a str, place: &str) -> (Element, bool, &'a str) {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).expect("a tag is closed");
    let mut element = Element { name: rest[..end].to_owned(), ..Element::default() };
    assert!(!element.name.is_empty(), "a bare < at {place:?}");
    rest = &rest[end..];
    loop {
        if let Some(after) = rest.strip_prefix("/>") {
            return (element, true, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (element, false, after);
        }
        rest = rest.strip_prefix(' ').unwrap_or_else(|| panic!("one space before an attribute at {place:?}"));
        let (name, after) = rest.split_once("=\"").expect("a quoted attribute");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "attribute {name:?}");
        assert!(element.attribute(name).is_none(), "attribute {name:?} twice at {place:?}");
        let (value, after) = after.split_once('"').expect("a closed attribute");
        assert!(!value.contains('<'), "< in attribute {name:?}");
        element.attributes.push((name.to_owned(), decode(value, place)));
        rest = after;
    }
}

fn decode(text: &str, place: &str) -> String {
    let mut parts = text.split('&');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';').unwrap_or_else(|| panic!("a bare & at {place:?}"));
        decoded.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            _ => panic!("unknown entity {entity:?} at {place:?}"),
        });
        decoded.push_str(after);
    }
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}');
    assert!(decoded.chars().all(legal), "a character that XML cannot carry at {place:?}");
    decoded
}
