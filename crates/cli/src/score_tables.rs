//! Scores as text, for the commands that share them.

use std::io::{self, Write};

use sail_vl::eval::{Retrieval, ZeroShot};

/// Writes the scores of a retrieval as a table.
pub(crate) fn write_retrieval(out: &mut impl Write, result: &Retrieval) -> io::Result<()> {
    writeln!(out, "{} images, {} texts", result.n_images, result.n_texts)?;
    writeln!(out, "{:<15}{:>7}{:>7}{:>7}{:>11}{:>13}", "", "R@1", "R@5", "R@10", "mean rank", "median rank")?;
    for (direction, scores) in [("image to text", &result.i2t), ("text to image", &result.t2i)] {
        writeln!(
            out,
            "{direction:<15}{:>7.2}{:>7.2}{:>7.2}{:>11.1}{:>13.1}",
            scores.r1, scores.r5, scores.r10, scores.mean_rank, scores.median_rank
        )?;
    }
    Ok(())
}

/// Writes the recalls of a retrieval, a line for each direction.
pub(crate) fn write_recalls(out: &mut impl Write, result: &Retrieval) -> io::Result<()> {
    for (direction, scores) in [("image to text", &result.i2t), ("text to image", &result.t2i)] {
        writeln!(out, "{direction}  R@1 {:5.2}  R@5 {:5.2}  R@10 {:5.2}", scores.r1, scores.r5, scores.r10)?;
    }
    Ok(())
}

/// Writes the scores of a zero-shot classification.
pub(crate) fn write_zero_shot(out: &mut impl Write, result: &ZeroShot) -> io::Result<()> {
    writeln!(out, "{} images, {} classes", result.n_images, result.n_classes)?;
    writeln!(out, "top-1           {:>7.2}", result.top1)?;
    writeln!(out, "top-5           {:>7.2}", result.top5)?;
    writeln!(out, "per-class mean  {:>7.2}", result.per_class_mean)
}
