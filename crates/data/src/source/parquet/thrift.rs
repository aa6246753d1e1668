//! The compact protocol of Thrift, the format of Parquet metadata.
//!
//! See <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Maximum nesting; Parquet metadata has eight levels.
const MAX_DEPTH: usize = 24;

/// A value of a type that occurs in the metadata of columns.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Struct<'a>),
    /// Ignored types: floats and maps.
    Other,
}

/// The fields of a struct by id.
#[derive(Debug)]
pub(super) struct Struct<'a>(Vec<(i16, Value<'a>)>);

impl<'a> Struct<'a> {
    /// Parses a struct at the start of the input and advances it. Returns `None` if it is invalid or truncated.
    pub(super) fn parse(input: &mut &'a [u8]) -> Option<Self> {
        structure(input, MAX_DEPTH)
    }

    fn get(&self, id: i16) -> Option<&Value<'a>> {
        self.0.iter().find(|(field, _)| *field == id).map(|(_, value)| value)
    }

    pub(super) fn integer(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bool(&self, id: i16) -> Option<bool> {
        match self.get(id)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, id: i16) -> Option<&'a [u8]> {
        match self.get(id)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn structure(&self, id: i16) -> Option<&Self> {
        match self.get(id)? {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// Iterates over the structs of a list.
    pub(super) fn structures(&self, id: i16) -> Option<impl Iterator<Item = Option<&Self>>> {
        match self.get(id)? {
            Value::List(values) => Some(values.iter().map(|value| match value {
                Value::Struct(fields) => Some(fields),
                _ => None,
            })),
            _ => None,
        }
    }

    /// Returns whether a field exists, of any type.
    pub(super) fn has(&self, id: i16) -> bool {
        self.get(id).is_some()
    }
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some(first)
}

fn take<'a>(input: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(bytes)?;
    *input = rest;
    Some(taken)
}

/// Parses an unsigned integer in LEB128.
pub(super) fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(input)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(input: &mut &[u8]) -> Option<i64> {
    let value = varint(input)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn structure<'a>(input: &mut &'a [u8], depth: usize) -> Option<Struct<'a>> {
    let mut fields = Vec::new();
    let mut id = 0i16;
    loop {
        let head = byte(input)?;
        if head == 0 {
            return Some(Struct(fields));
        }
        id = match head >> 4 {
            0 => i16::try_from(zigzag(input)?).ok()?,
            step => id.checked_add(i16::from(step))?,
        };
        let value = match head & 0xf {
            1 => Value::Bool(true),
            2 => Value::Bool(false),
            kind => value(input, kind, depth)?,
        };
        fields.push((id, value));
    }
}

fn value<'a>(input: &mut &'a [u8], kind: u8, depth: usize) -> Option<Value<'a>> {
    let depth = depth.checked_sub(1)?;
    Some(match kind {
        // Only in lists; the value of a field is in its header.
        1 | 2 => Value::Bool(byte(input)? == 1),
        3 => Value::Integer(i64::from(byte(input)? as i8)),
        4..=6 => Value::Integer(zigzag(input)?),
        7 => {
            take(input, 8)?;
            Value::Other
        }
        8 => {
            let length = usize::try_from(varint(input)?).ok()?;
            Value::Bytes(take(input, length)?)
        }
        9 | 10 => {
            let head = byte(input)?;
            let length = match head >> 4 {
                15 => varint(input)?,
                length => u64::from(length),
            };
            // No allocation for the stated length, which is not trusted.
            let mut values = Vec::new();
            for _ in 0..length {
                values.push(value(input, head & 0xf, depth)?);
            }
            Value::List(values)
        }
        11 => {
            let length = varint(input)?;
            let kinds = if length > 0 { byte(input)? } else { 0 };
            for _ in 0..length {
                value(input, kinds >> 4, depth)?;
                value(input, kinds & 0xf, depth)?;
            }
            Value::Other
        }
        12 => Value::Struct(structure(input, depth)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_fields_of_all_types() {
        // 1: i32 -3; 2: "ab"; 4: [true, false]; 5: {1: true}; 20 (long form): a list of one struct.
        let bytes = [
            0x15, 5, 0x18, 2, b'a', b'b', 0x29, 0x21, 1, 2, 0x1c, 0x11, 0, 0x09, 40, 0x1c, 0x15, 8, 0, 0, 99,
        ];
        let mut input = bytes.as_slice();
        let fields = Struct::parse(&mut input).unwrap();
        assert_eq!((fields.integer(1), fields.bytes(2)), (Some(-3), Some(&b"ab"[..])));
        assert!(
            matches!(fields.get(4), Some(Value::List(bits)) if matches!(bits[..], [Value::Bool(true), Value::Bool(false)]))
        );
        assert_eq!(fields.structure(5).unwrap().bool(1), Some(true));
        assert_eq!(fields.structures(20).unwrap().next().unwrap().unwrap().integer(1), Some(4));
        assert_eq!(input, [99]);
        for length in 0..bytes.len() - 1 {
            assert!(Struct::parse(&mut &bytes[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn rejects_deep_nesting_and_long_lists() {
        assert!(Struct::parse(&mut [0x1c; 1 << 20].as_slice()).is_none());
        // A list of 2^60 elements, and a string of 2^60 bytes.
        let long = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert!(Struct::parse(&mut [&[0x19, 0xf5], &long[..]].concat().as_slice()).is_none());
        assert!(Struct::parse(&mut [&[0x18], &long[..]].concat().as_slice()).is_none());
    }
}
