//! Handwritten Parquet files with any values, valid or not.

/// Fields of a struct in the compact protocol of Thrift, each with the increment of the id.
pub(crate) struct Thrift(pub(crate) Vec<u8>);

impl Thrift {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn varint(mut self, mut number: u64) -> Self {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    pub(crate) fn head(mut self, step: u8, kind: u8) -> Self {
        self.0.push(step << 4 | kind);
        self
    }

    pub(crate) fn integer(self, step: u8, number: i64) -> Self {
        self.head(step, 6).varint((number << 1 ^ number >> 63) as u64)
    }

    pub(crate) fn text(mut self, step: u8, text: &str) -> Self {
        self = self.head(step, 8).varint(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn structure(mut self, step: u8, fields: Thrift) -> Self {
        self = self.head(step, 12);
        self.0.extend(fields.end());
        self
    }

    pub(crate) fn list(mut self, step: u8, items: Vec<Thrift>) -> Self {
        self = self.head(step, 9).head(15, 12).varint(items.len() as u64);
        self.0.extend(items.into_iter().flat_map(Thrift::end));
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

/// A file with the single column `caption` of `values` values in `rows` rows. `schema` follows the root.
pub(crate) fn parquet(pages: &[u8], codec: i64, values: i64, rows: i64, schema: Vec<Thrift>) -> Vec<u8> {
    let metadata = Thrift::new().integer(1, 6).integer(3, codec).integer(1, values);
    let metadata = metadata.integer(2, pages.len() as i64).integer(2, 4);
    let group = Thrift::new().list(1, vec![Thrift::new().structure(3, metadata)]).integer(2, rows);
    let root = Thrift::new().text(4, "root").integer(1, 1);
    let schema = [root].into_iter().chain(schema).collect();
    let footer = Thrift::new().integer(1, 1).list(1, schema).integer(1, rows).list(1, vec![group]).end();
    let size = footer.len() as u32;
    [b"PAR1", pages, &footer, &size.to_le_bytes(), b"PAR1"].concat()
}

pub(crate) fn required() -> Vec<Thrift> {
    vec![Thrift::new().integer(1, 6).integer(2, 0).text(1, "caption").integer(2, 0)]
}

/// A data page of version 1.
pub(crate) fn page(body: &[u8], uncompressed: i64, values: i64, encoding: i64) -> Vec<u8> {
    let data = Thrift::new().integer(1, values).integer(1, encoding).integer(1, 3).integer(1, 3);
    let header = Thrift::new().integer(1, 0).integer(1, uncompressed).integer(1, body.len() as i64);
    [&header.structure(2, data).end(), body].concat()
}

/// A dictionary.
pub(crate) fn dictionary(body: &[u8], values: i64) -> Vec<u8> {
    let data = Thrift::new().integer(1, values).integer(1, 0);
    let size = body.len() as i64;
    let header = Thrift::new().integer(1, 2).integer(1, size).integer(1, size);
    [&header.structure(4, data).end(), body].concat()
}
