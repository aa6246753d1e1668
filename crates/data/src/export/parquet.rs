//! Parquet files with a column of keys and a column of vectors.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{Rows, WriteError};

/// A list has three levels, as the format demands of writers.
const SCHEMA: &str = "message embeddings {
    required binary key (UTF8);
    required group embedding (LIST) { repeated group list { required float element; } }
}";

pub(super) fn write(rows: &mut Rows<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(failed)?);
    // Neither compression nor statistics have a use for embeddings.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let (source, dim) = (rows.source, rows.source.dim());
    // A row group at a time is in memory.
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).map_err(failed)?;
    rows.each_block(|rows, values| {
        let keys: Vec<ByteArray> =
            source.keys(rows)?.into_iter().map(|key| key.into_bytes().into()).collect();
        // Every value is there, and all but the first of a row continue its list.
        let definition = vec![1; values.len()];
        let repetition: Vec<i16> = (0..values.len()).map(|index| i16::from(index % dim != 0)).collect();
        let mut group = writer.next_row_group().map_err(failed)?;
        column::<ByteArrayType>(&mut group, &keys, None, None).map_err(failed)?;
        column::<FloatType>(&mut group, values, Some(&definition), Some(&repetition)).map_err(failed)?;
        group.close().map_err(failed)?;
        writer.flush()?;
        out.write_all(writer.inner())?;
        writer.inner_mut().clear();
        Ok(())
    })?;
    Ok(out.write_all(&writer.into_inner().map_err(failed)?)?)
}

/// Writes the next column of a row group.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".to_owned()));
    };
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

fn failed(error: ParquetError) -> WriteError {
    WriteError::File(io::Error::other(error))
}
