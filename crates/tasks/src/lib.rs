//! Published evaluation tasks: their files read as they are, their pictures and texts embedded once and kept, their
//! scores as they are defined.
